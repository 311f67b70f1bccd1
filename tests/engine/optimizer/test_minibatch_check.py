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
from textgrad_mcp.engine.optimizer.minibatch_check import Reading, first_of
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose

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
        found.append(Reading(index, longer, counts, [before[n] for n in counts]))
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


async def spent(new: list[str], solved: int = 0, **arguments: Any) -> list[str]:
    """The purposes of what was asked by one step, with 24 training and 10 validation examples, of
    which so many are `solved` from the start."""
    async with an_engine(Scripted(capitals(new))) as engine:
        made = await engine.create_variable(ME, role="system prompt", value=START)
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
        for split, size in (("train", 24), ("validation", 10)):
            rows = [{"q": f"{split} {n}", "a": f"{split} {n}".upper()} for n in range(size)]
            rows[:solved] = [{**row, "q": row["a"]} for row in rows[:solved]]
            await engine.add_examples(ME, session_id=s, split=split, examples=rows)
        answerer = engine.ledger.answerers["forward"]
        assert isinstance(answerer, Scripted)
        answerer.asked.clear()
        await engine.optimize(ME, session_id=s, budget={"calls": 240}, steps=1, **arguments)
        return [request.purpose.value for request in answerer.asked]


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
def test_a_first_step_from_nothing_takes_26_calls_where_its_shortest_text_is_right(
    new: list[str], checked: int
) -> None:
    run = 3
    found = asyncio.run(spent(new))
    assert found.count("update") == REFLECTION
    assert len(found) == START_SCORED + run + REFLECTION + checked + VALIDATED
    if checked == 2:
        assert len(found) == 26


@pytest.mark.requirement("frugal-check")
def test_texts_that_do_not_help_are_read_on_all_that_they_are_checked_on() -> None:
    assert len(asyncio.run(spent(["Do", "Do it", "Do so now"]))) == START_SCORED + 3 + 1 + 3 * 2


@pytest.mark.requirement("frugal-check")
def test_few_are_run_while_the_text_solves_less_than_half() -> None:
    few = START_SCORED + 3 + REFLECTION + 2 + VALIDATED
    usual = START_SCORED + 6 + REFLECTION + 3 + VALIDATED
    assert [len(asyncio.run(spent(["For all"] * 3, n))) for n in (4, 5)] == [few, usual]


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
