"""The check on the minibatch is read no further than it takes; few are run where nothing scores."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.optimizer.minibatch_check import Reading, first_of
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.results import OptimizeResult

from ...helpers import ME, Scripted, Tools, an_engine, assisted, drive
from ..runs.test_reflect import START, Critic, ready, reflected, texts

SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@st.composite
def checks(draw: st.DrawFn) -> tuple[list[Reading], list[list[float]]]:
    """Candidates that nothing is read of yet, and what they would score."""
    size = draw(st.integers(1, 5))
    scores = st.lists(SCORES, min_size=size, max_size=size)
    before, after = draw(scores), draw(st.lists(scores, min_size=1, max_size=4))
    found, theirs = [], []
    for index, own in enumerate(after):
        counts = [n for n in range(size) if draw(st.integers(0, 5))]
        longer = draw(st.integers(-1, 1))
        excused = len(counts) < size and draw(st.booleans())
        scores_of = [before[n] for n in counts]
        found.append(Reading(index, longer, counts, scores_of, excused=excused))
        theirs.append(own)
    return found, theirs


def best_of_all(readings: list[Reading], scores: list[list[float]]) -> int | None:
    """The best candidate, when each is read on all examples that count for it."""
    for one in readings:
        one.after = [scores[one.index][n] for n in one.examples]
    passing = [one for one in readings if one.may_pass]
    return max(passing, key=lambda one: one.rank).index if passing else None


@pytest.mark.requirement("frugal-check")
@settings(deadline=None)
@given(checks())
def test_what_is_not_read_would_have_changed_nothing(
    given_: tuple[list[Reading], list[list[float]]],
) -> None:
    readings, scores = given_
    asked: list[tuple[int, int]] = []

    async def read(one: Reading, part: list[int]) -> None:
        asked.extend((one.index, n) for n in part[len(one.after) :])
        one.after = [scores[one.index][n] for n in part]

    best = asyncio.run(first_of(readings, read))
    assert len(asked) == len(set(asked))
    assert (best.index if best else None) == best_of_all(readings, scores)


def test_a_text_that_solves_all_is_the_last_to_be_read() -> None:
    readings = [Reading(n, longer, [1, 2, 3], [0.0] * 3) for n, longer in enumerate((9, 4, 7))]
    order: list[int] = []

    async def read(one: Reading, part: list[int]) -> None:
        order.append(one.index)
        one.after = [1.0 if one.index == 2 else 0.5] * len(part)

    best = asyncio.run(first_of(readings, read))
    assert best is readings[2]
    assert order == [1, 2, 2]  # the shortest, then the next: the longest cannot pass it


def capitals(new: list[str]) -> Any:
    """A model that answers in capitals where its prompt says so, with a critic that writes texts
    like these, others each time."""
    written: list[str] = []

    def reply(request: CompletionRequest) -> str:
        if request.purpose is Purpose.FORWARD:
            told = (request.system or "").split()
            return request.prompt.upper() if "all" in told else request.prompt
        written.append("")
        return json.dumps(texts(*(f"{one} {'.' * len(written)}" for one in new)))

    return reply


def row(split: str, n: int) -> str:
    """The input of an example."""
    return f"{split} {n} of the long list of things that are known"


def quoting(others: int) -> Any:
    """A model like that of `capitals`, with a critic whose first text is right and quotes all
    training examples that were run and failed, and so many `others`, and whose second one does
    nothing."""
    run: list[str] = []
    answered = capitals([])

    def reply(request: CompletionRequest) -> str:
        if request.purpose is Purpose.FORWARD:
            run.extend([request.prompt] if request.prompt.startswith("train") else [])
            return str(answered(request))
        rest = [one for n in range(24) if (one := row("train", n)) not in run]
        shown = [f"{one} gives {one.upper()}" for one in [*run, *rest[:others]]]
        return json.dumps(texts("\n".join(["For all", *shown]), "Do so"))

    return reply


async def on_questions(engine: Engine, prompt: str) -> str:
    """A session of a prompt v1 on questions v2 (`q`) whose answers v3 (`a`) must be met exactly."""
    made = await engine.create_variable(ME, role="system prompt", value=prompt)
    s = str(made.session_id)
    for name, right in (("q", False), ("a", True)):
        await engine.create_variable(
            ME, role=name, example_field=name, reference=right, session_id=s
        )
    llm = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
    await engine.forward(ME, session_id=s, **llm)
    inputs = {"output": "v4", "answer": "v3"}
    loss = {"kind": "metric", "metric": "exact_match", "inputs": inputs}
    await engine.compute_loss(ME, session_id=s, **loss)
    return s


async def spent(new: list[str], solved: int = 0, **arguments: Any) -> list[str]:
    """The purposes of what was asked by one step, with 24 training and 10 validation examples, of
    ten of which so many are `solved` from the start."""
    return [one.purpose.value for one in (await asked_of(capitals(new), solved, **arguments))[0]]


async def asked_of(
    reply: Any, solved: int = 0, **arguments: Any
) -> tuple[list[CompletionRequest], OptimizeResult]:
    """What was asked by one step with such a model, where `solved` of ten examples are right from
    the start, and what came of it."""
    async with an_engine(Scripted(reply)) as engine:
        s = await on_questions(engine, START)
        for split, size in (("train", 24), ("validation", 10)):
            rows = [{"q": row(split, n), "a": row(split, n).upper()} for n in range(size)]
            known = solved * size // 10
            rows[:known] = [{**one, "q": one["a"]} for one in rows[:known]]
            await engine.add_examples(ME, session_id=s, split=split, examples=rows)
        answerer = engine.ledger.answerers["forward"]
        assert isinstance(answerer, Scripted)
        answerer.asked.clear()
        budget = {"calls": 240}
        done = await engine.optimize(ME, session_id=s, budget=budget, steps=1, **arguments)
        assert isinstance(done, OptimizeResult)
        return answerer.asked, done


START_SCORED, REFLECTION, VALIDATED = 10, 1, 10


@pytest.mark.requirement("frugal-check", "frugal-reflection")
@pytest.mark.parametrize(
    ("new", "checked"),
    [
        (["For all", "In all of them", "Now for all"], 2),
        (["In all of them", "Now for all", "For all"], 2),
        (["Do", "For all", "In all of them"], 1 + 2),
    ],
)
def test_a_first_step_from_nothing_takes_26_calls_where_its_first_text_is_right(
    new: list[str], checked: int
) -> None:
    run = 3
    found = asyncio.run(spent(new))
    assert found.count("update") == REFLECTION
    assert len(found) == START_SCORED + run + REFLECTION + checked + VALIDATED
    if checked == 2:
        assert len(found) == 26


@pytest.mark.requirement("frugal-check")
def test_of_texts_that_gain_as_much_the_one_goes_on_that_its_writer_put_first() -> None:
    asked, done = asyncio.run(asked_of(capitals(["Now for all of them", "For all", "Do"])))
    assert [p.verdict for p in done.proposals] == ["accepted", "not taken", "not taken"]
    assert "its writer put it before this one: by 1.00" in done.proposals[1].reason
    assert not [r for r in asked if (r.system or "").startswith("For all")]


@pytest.mark.requirement("frugal-check")
def test_texts_that_do_not_help_are_read_on_all_that_they_are_checked_on() -> None:
    assert len(asyncio.run(spent(["Do", "Do it", "Do so now"]))) == START_SCORED + 3 + 1 + 3 * 2


@pytest.mark.requirement("frugal-check")
def test_few_are_run_while_the_text_solves_less_than_half() -> None:
    few = START_SCORED + 3 + REFLECTION + 2 + VALIDATED
    usual = START_SCORED + 6 + REFLECTION + 3 + VALIDATED
    assert [len(asyncio.run(spent(["For all"] * 3, n))) for n in (4, 5)] == [few, usual]


@pytest.mark.requirement("quoted-rows")
def test_a_text_that_quotes_all_that_failed_goes_on_if_it_keeps_what_was_solved() -> None:
    asked, done = asyncio.run(asked_of(quoting(0), solved=8, candidates=2))
    assert done.accepted == 1, [p.reason for p in done.proposals]
    first = [r.prompt for r in asked if "For all" in (r.system or "")]
    assert [one for one in first if one.startswith("train")] == []
    assert len([one for one in first if one.startswith("TRAIN")]) == 2


@pytest.mark.requirement("frugal-check", "quoted-rows")
@pytest.mark.parametrize(("others", "free"), [(0, 2), (20, 1), (21, 0)])
def test_a_text_that_quotes_what_was_run_is_checked_on_what_no_text_quotes(
    others: int, free: int
) -> None:
    asked, done = asyncio.run(asked_of(quoting(others), candidates=2))
    assert done.accepted == 1, [p.reason for p in done.proposals]
    checked = [r for r in asked if r.prompt.startswith("train") and r.system != START]
    fresh = [r.prompt for r in checked if "For all" in (r.system or "")]
    assert len(fresh) == len(set(fresh)) == free
    assert all(f"{one} gives" not in str(checked[0].system) for one in fresh)


def test_where_the_caller_says_how_many_all_are_run() -> None:
    usual = START_SCORED + 6 + REFLECTION + 3 + VALIDATED
    assert len(asyncio.run(spent(["For all"] * 3, batch_size=6))) == usual


def test_no_example_is_lost_to_the_critic_that_is_not_run(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call)
        rows = [{"q": f"train more {n}", "a": f"TRAIN more {n}"} for n in range(12)]
        await call("add_examples", session_id=s, split="train", examples=rows)
        critic = Critic(texts("For all"))
        done = await reflected(call, s, critic, steps=1)
        [asked] = critic.asked
        assert len(set(re.findall(r"TRAIN \w+ \d+", asked))) == 6 + 12
        assert any("(3 and 2 while the text scores below 0.5)" in note for note in done["notes"])

    drive(main, assisted(tmp_path / "t.db"))


def test_somebody_outside_is_asked_for_all_of_the_check_in_one_round(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call)
        done = await call("optimize", session_id=s, strategy="reflect", steps=1)
        critic, rounds = Critic(texts("For all", "Do", "Do it so")), []
        while done["status"] == "needs_completions":
            rounds.append(len(done["pending"]))
            said = {p["id"]: critic(p) for p in done["pending"]}
            done = await call("resume", session_id=s, completions=said)
        assert rounds == [6, 3, 1, 3 * 2, 6]

    drive(main, assisted(tmp_path / "t.db"))
