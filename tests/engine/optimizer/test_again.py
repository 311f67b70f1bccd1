"""What validation leaves open is read again, where the model may answer otherwise each time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from textgrad_mcp.engine.optimizer.repeats import RUNS
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose

from ...helpers import ME, Facts, Scripted, an_engine
from .test_minibatch_check import on_questions

START, NEW = "Write.", "Write all"
SOLVED = {START: [{0, 1, 2, 3}] * RUNS, NEW: [{0, 1, 2, 3, 4}, {0, 1, 2, 3, 4, 5, 6}, {0, 1, 2, 3}]}
"""The validation examples that a text solves, in each run."""


class Wavering(Scripted):
    """Solves in each run what SOLVED says, and on training examples what the new text is there
    for; writes the new text, and then others that do nothing."""

    def __init__(self, solved: dict[str, list[set[int]]], temperature: float | None) -> None:
        super().__init__(self._replied)
        self._solved, self._temperature, self._written = solved, temperature, 0

    @property
    def params(self) -> dict[str, object]:
        """The temperature, if one is set."""
        return {} if self._temperature is None else {"temperature": self._temperature}

    def _replied(self, request: CompletionRequest) -> str:
        if request.purpose is not Purpose.FORWARD:
            self._written += 1
            new = NEW if self._written == 1 else f"Write {self._written}"
            return json.dumps({"diagnosis": "d", "hypothesis": "h", "value": new})
        split, n = request.prompt.split()
        runs = self._solved.get(request.system or "", [set()] * RUNS)
        right = n in "123" and request.system == NEW
        if split == "validation":
            right = int(n) in runs[request.sample]
        return request.prompt.upper() if right else request.prompt


async def read(
    solved: dict[str, list[set[int]]] | None = None,
    temperature: float | None = None,
    calls: int | None = 240,
    **arguments: Any,
) -> tuple[Facts, Counter[tuple[str, int]]]:
    """The first step's proposal, and how often each text was run on validation, by run."""
    model = Wavering(solved or SOLVED, temperature)
    async with an_engine(model) as engine:
        s = await on_questions(engine, START)
        for split, size in (("train", 4), ("validation", 10)):
            rows = [{"q": f"{split} {n}", "a": f"{split} {n}".upper()} for n in range(size)]
            await engine.add_examples(ME, session_id=s, split=split, examples=rows)
        budget = {"budget": {"calls": calls}} if calls else {}
        await engine.optimize(ME, session_id=s, candidates=1, **{"steps": 1, **budget, **arguments})
        found = await engine.inspect(ME, session_id=s, what="steps")
        forward = [r for r in model.asked if r.purpose is Purpose.FORWARD]
        runs = [(r.system or "", r.sample) for r in forward if r.prompt.startswith("validation")]
        return found.view["proposals"][-1], Counter(runs)


@pytest.mark.requirement("repeats-as-needed")
def test_a_gain_within_noise_is_decided_by_further_runs() -> None:
    proposal, runs = asyncio.run(read())
    assert proposal["verdict"] == "accepted", proposal["reason"]
    assert proposal["reason"].startswith(
        "0.40 -> 0.50 on 10 validation examples did not decide; by the means of 2 runs each: "
        "validation 0.40 -> 0.60"
    )
    assert (proposal["parent_score"], proposal["score"]) == (0.4, 0.6)
    assert runs == {(text, run): 10 for text in (START, NEW) for run in (0, 1)}


@pytest.mark.requirement("repeats-as-needed")
def test_what_stays_open_is_read_three_times_at_most_and_refused() -> None:
    luck = [{0, 1, 2, 3, 4}, {0, 1, 2, 4, 5}, {0, 1, 2, 4, 6}]
    proposal, runs = asyncio.run(read({**SOLVED, NEW: luck}))
    assert proposal["verdict"] == "refused"
    assert f"by the means of {RUNS} runs each" in proposal["reason"]
    assert set(runs.values()) == {10}
    assert len(runs) == 2 * RUNS


@pytest.mark.requirement("repeats-as-needed")
def test_a_model_that_answers_alike_is_asked_again_once_and_no_more() -> None:
    steady = {START: [{0, 1, 2, 3}] * RUNS, NEW: [{0, 1, 2, 3, 4}] * RUNS}
    steady["Write 2"] = [{0, 1, 2, 3, 5}] * RUNS
    proposal, runs = asyncio.run(read(steady, steps=2, calls=480))
    assert "did not decide" not in proposal["reason"]
    assert runs[NEW, 1] == 10
    assert sum(n for (_, run), n in runs.items() if run) == 10


@pytest.mark.requirement("repeats-as-needed")
@pytest.mark.parametrize(
    "less",
    [{"temperature": 0.0}, {"calls": 120}, {"repeats": 2}],
    ids=["at temperature 0", "with a small budget", "where the caller says how often"],
)
def test_otherwise_nothing_is_read_again(less: Facts) -> None:
    proposal, runs = asyncio.run(read(**less))
    assert "did not decide" not in proposal["reason"]
    assert max(run for _, run in runs) == less.get("repeats", 1) - 1
