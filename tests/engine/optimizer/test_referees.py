"""Training examples beside the minibatch: shown without being run, or kept to decide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.optimizer.batches import varied
from textgrad_mcp.engine.optimizer.training import ENOUGH, FEW, LISTED, MOST, wanted

from ...helpers import Facts, Tools, assisted, drive
from ..runs.test_reflect import COLOURS, Critic, ready, reflected, texts

PIECES = st.dictionaries(st.integers(1, 20), st.frozensets(st.sampled_from("abcdef"), min_size=1))


def coloured(*colours: str) -> list[Facts]:
    """A training row for each colour."""
    return [{"q": f"more {c} {n}", "a": f"MORE {c} {n}"} for n, c in enumerate(colours)]


async def with_training(call: Tools, rows: list[Facts]) -> str:
    """The program of `ready`, which has 12 training rows and 6 to validate on, with more."""
    s = await ready(call, "Capitals for red.")
    await call("add_examples", session_id=s, split="train", examples=rows)
    return s


@pytest.mark.requirement("referees")
def test_a_gain_within_noise_is_decided_by_examples_that_no_writer_was_shown(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        s = await with_training(call, coloured(*COLOURS * 6))
        critic = Critic(texts("Capitals for red and blue."))
        done = await reflected(call, s, critic, steps=1, batch_size=12)
        [reason] = [p["reason"] for p in done["proposals"]]
        assert done["accepted"] == 1, reason
        assert reason.startswith("0.17 -> 0.33 on 6 validation examples did not decide; with 8 tr")
        assert "more than 0.5 standard errors" in reason
        assert any("leave open, up to 8 training examples decide" in n for n in done["notes"])
        run = {q for q in critic.forward if not q.startswith("held")}
        assert len([q for q in run if f"\n{q}\n" not in critic.asked[0]]) == MOST

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("referees")
def test_a_gain_on_validation_that_referees_do_not_see_is_refused(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await with_training(call, coloured(*["red"] * 90))
        critic = Critic(texts("Capitals for blue and green."))
        done = await reflected(call, s, critic, steps=1, batch_size=60, candidates=1)
        [reason] = [p["reason"] for p in done["proposals"]]
        assert done["accepted"] == 0
        assert "0.17 -> 0.33 on 6 validation examples did not decide; with 8 tr" in reason
        assert "only a gain above 0 is kept" in reason

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("referees", "gate")
def test_where_the_budget_pays_for_no_referees_the_better_text_is_named(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await with_training(call, coloured(*COLOURS * 6))
        critic, how = Critic(texts("Capitals for red and blue.")), {"batch_size": 12}
        done = await reflected(call, s, critic, candidates=1, budget={"calls": 30}, **how)
        assert done["stopped"] == "budget"
        [proposal] = done["proposals"]
        assert "not more than 1 standard error" in proposal["reason"]
        assert done["refused_higher"] == proposal["id"]

    drive(main, assisted(tmp_path / "t.db"))


def test_other_training_examples_are_shown_with_what_is_right_and_not_run(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await with_training(call, coloured(*COLOURS * 4))
        critic = Critic(texts("Capitals for blue."))
        await reflected(call, s, critic, steps=1, candidates=1, batch_size=6)
        [asked] = critic.asked
        listed = asked.partition(f"{LISTED} more examples, which were not run")[2]
        assert listed.count("<input-") == listed.count("<expected-") == LISTED
        rows = set(re.findall(r"(?:train|more) \w+ \d+", listed))
        assert not rows & set(critic.forward)

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize(
    ("validation", "count"), [(1, MOST), (ENOUGH - MOST, MOST), (ENOUGH - FEW + 1, 0), (90, 0)]
)
def test_referees_are_called_where_validation_is_small(validation: int, count: int) -> None:
    assert wanted(validation) == count


@given(PIECES, st.integers(1, 20), st.sets(st.integers(1, 20)))
def test_what_is_chosen_shows_all_that_so_many_could(
    pieces: dict[int, frozenset[str]], size: int, before: set[int]
) -> None:
    chosen = varied(sorted(pieces), pieces, size, sorted(before))
    assert len(chosen) == len(set(chosen)) == min(size, len(pieces))
    assert chosen == varied(sorted(pieces), pieces, size, sorted(before))
    shown = {p for n in before for p in pieces.get(n, ())}
    for n in chosen:
        shared = {p for p in "abcdef" if sum(p in said for said in pieces.values()) > 1}
        news = (pieces[n] & shared) - shown
        missing = [m for m in pieces if (pieces[m] & shared) - shown]
        assert news or not missing
        shown |= pieces[n]
