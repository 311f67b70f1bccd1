"""What is chosen for a step: sizes by the budget, examples by their scores, and edits applied."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.optimizer import sizes
from textgrad_mcp.engine.optimizer.batches import mixed, pieces_of, spread, to_check
from textgrad_mcp.engine.optimizer.edits import MOST, edited
from textgrad_mcp.engine.replies.reply import Malformed

OPEN: dict[str, Any] = dict.fromkeys(("batch_size", "candidates", "parents", "patience"))


def asked(calls: float | None = None, **given: Any) -> dict[str, Any]:
    """The arguments of `optimize`, with what is not given left open."""
    budget = {} if calls is None else {"calls": calls}
    return OPEN | {"strategy": "reflect", "budget": budget, "seed": 0} | given


def made_of(args: dict[str, Any]) -> tuple[int, int, int]:
    """Examples, those checked on, and rewrites."""
    return args["batch_size"], args["check"], args["candidates"]


@pytest.mark.parametrize(
    ("calls", "made"), [(None, (6, 3, 3)), (120, (6, 3, 3)), (33, (6, 3, 2)), (22, (4, 3, 1))]
)
def test_a_step_is_as_large_as_the_budget_pays_for(
    calls: float | None, made: tuple[int, int, int]
) -> None:
    assert made_of(sizes.chosen(asked(calls), 1, 8, "gradient")) == made


def test_what_is_given_is_kept_and_only_the_rest_is_chosen() -> None:
    found = sizes.chosen(asked(30, batch_size=16, parents="newest", patience=2), 1, 10, "gradient")
    assert made_of(found) == (16, 3, 1)
    assert (found["parents"], found["patience"], found["early"]) == ("newest", 2, False)
    assert found["open"] == ["candidates"]
    by_feedback = sizes.chosen(asked(strategy="gradient"), 1, 10, "gradient")
    assert made_of(by_feedback) == (4, 4, 3)
    assert (by_feedback["parents"], by_feedback["early"]) == ("pareto", True)


@given(st.integers(1, 5000), st.integers(1, 4), st.integers(1, 500))
def test_scoring_the_start_takes_a_quarter_of_the_budget_at_most(
    calls: int, per_example: int, places: int
) -> None:
    found = sizes.chosen(asked(calls), per_example, places, "gradient")
    measured = sizes.drawn(range(1, places + 1), found)
    assert len(measured) == found["measured"] == len(set(measured))
    assert len(measured) * per_example * sizes.SHARE <= calls or len(measured) <= sizes.LEAST
    assert measured == sizes.drawn(range(1, places + 1), found)


def test_a_run_of_an_older_version_measures_on_all() -> None:
    assert sizes.drawn([3, 4, 5], {"seed": 0}) == [3, 4, 5]


SCORES = st.dictionaries(st.integers(1, 30).map(str), st.sampled_from([0.0, 0.5, 1.0]))


@given(SCORES, SCORES, st.integers(1, 12), st.integers(5, 30))
def test_a_batch_has_failed_solved_and_new_examples(
    here: dict[str, float], other: dict[str, float], size: int, count: int
) -> None:
    train = list(range(1, count + 1))
    batch = mixed(train, {"here": here, "other": other}, "here", size, "0")
    assert len(batch) == len(set(batch)) == min(size, count)
    assert batch == mixed(train, {"here": here, "other": other}, "here", size, "0")
    failed = {p for p in train if here.get(str(p), 1.0) < 1}
    solved = {p for p in train if here.get(str(p), 0.0) >= 1}
    fresh = set(train) - failed - solved
    assert len(failed & set(batch)) >= min(len(failed), max(1, size // 2 - 1))
    if solved and size > 1:
        assert solved & set(batch)
    if len(fresh) >= size:
        assert len(fresh & set(batch)) >= size - size // 2 - 1


def test_wavering_and_stubborn_failures_are_taken_in_turn() -> None:
    here = dict.fromkeys("12345678", 0.0)
    batch = mixed(range(1, 9), {"here": here, "b": {"1": 1.0, "2": 1.0}}, "here", 4, "x")
    assert {1, 2} & set(batch)


def test_new_examples_come_with_each_right_answer_in_turn() -> None:
    labels = {n: "ABCD"[min(n // 10, 3)] for n in range(1, 41)}
    pieces = {n: pieces_of(label, "a question") for n, label in labels.items()}
    for draw in "0123456789":
        batch = mixed(range(1, 41), {}, "here", 6, draw, pieces)
        assert {labels[n] for n in batch} == set("ABCD")
    distinct = {n: pieces_of(str(n), "") for n in labels}
    assert mixed(range(1, 41), {}, "x", 6, "0", distinct) == mixed(range(1, 41), {}, "x", 6, "0")


def test_new_examples_show_every_code_that_right_answers_share() -> None:
    codes = ["PAP", "TON", "LMP", "CHR", "NBK", "STP"]
    answers = {n: f'{{"sku": "{codes[n % 6]}", "prio": {1 + n % 2}}}' for n in range(1, 25)}
    pieces = {n: pieces_of(answer, "two of it by May") for n, answer in answers.items()}
    for draw in "0123456789":
        batch = mixed(range(1, 25), {}, "here", 6, draw, pieces)
        assert {codes[n % 6] for n in batch} == set(codes)


def test_what_an_answer_takes_from_its_input_is_no_news() -> None:
    assert pieces_of("Send 40 to <ACCT>.", "Send 40 to DE11.") == {"<", "ACCT", ">"}
    assert pieces_of("yes", "yes or no?") == {"yes"}


def test_texts_are_checked_on_the_worst_and_on_one_that_is_solved() -> None:
    shown = {1: 1.0, 2: 0.0, 3: 0.5, 4: 0.25, 5: 1.0}
    assert to_check(shown, [], 3) == [1, 2, 4]
    assert to_check(shown, [2], 3) == [1, 3, 4]
    assert to_check(shown, [1, 2, 3, 4, 5], 2) == [2, 4]


def test_edits_put_delete_and_add() -> None:
    text = "Answer briefly.\nUse words."
    put = {"find": "briefly", "put": "in digits"}
    assert edited(text, [put]) == "Answer in digits.\nUse words."
    assert edited(text, [{"find": "\nUse words.", "put": ""}]) == "Answer briefly."
    assert edited(text, [put, {"find": "", "put": "\nNo more."}]).endswith("words.\nNo more.")


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ([{"find": "nowhere", "put": "x"}], "'nowhere' is not in the text"),
        ([{"find": "a", "put": "x"}], "'a' stands in it 4 times"),
        ([{"find": "b", "put": "b"}] * (MOST + 1), f"at most {MOST} are possible"),
    ],
)
def test_an_edit_that_leaves_doubt_is_sent_back(edits: list[dict[str, str]], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        edited("a, a, a and b", edits)


@given(st.text(alphabet="abc ", min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_an_edit_changes_nothing_else(text: str, chance: random.Random) -> None:
    at = chance.randrange(len(text))
    piece = text[at : at + 3]
    if text.count(piece) == 1:
        assert edited(text, [{"find": piece, "put": "Z"}]) == text.replace(piece, "Z")


@given(st.permutations(list(range(24))))
def test_no_minibatch_of_an_epoch_lacks_a_label_that_there_is_enough_of(order: list[int]) -> None:
    answers = {n: "a" if n % 4 else "b" for n in range(24)}  # three to one
    found = spread(order, answers)
    assert sorted(found) == sorted(order)
    for first in range(0, 24, 6):
        assert {answers[n] for n in found[first : first + 6]} == {"a", "b"}
    assert spread(order, {n: str(n) for n in order}) == order
    assert spread(order, {}) == order
