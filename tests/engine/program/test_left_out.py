"""An example whose right answer cannot be read is left out, named and counted; the others go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.errors import ExampleError
from textgrad_mcp.schemas.results import (
    BackwardResult,
    EvaluateResult,
    ForwardResult,
    OptimizeResult,
    StepResult,
)

from ...helpers import ME, Scripted, an_engine

BAD = {
    "numeric": "N/A",
    "multiple_choice": "see the notes",
    "json_match": "no JSON",
    "contains": "",
}
GOOD = {"numeric": "42", "multiple_choice": "B", "json_match": "[42]", "contains": "42"}


def rows(answers: Sequence[str], start: str = "q") -> list[dict[str, str]]:
    return [{"q": f"{start}{n}", "a": answer} for n, answer in enumerate(answers)]


async def program(engine: Engine, metric: str, **splits: Sequence[str]) -> str:
    """A prompt v1 on questions v2; v4 is compared with the answers v3 by `metric` in v5."""
    made = await engine.create_variable(ME, role="system prompt", value="Answer.")
    s = str(made.session_id)
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    for split, answers in splits.items():
        await engine.add_examples(ME, session_id=s, split=split, examples=rows(answers, split))
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    inputs = {"output": "v4", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="metric", metric=metric, inputs=inputs)
    return s


def improving(request: CompletionRequest) -> str:
    """A model that is right once its prompt says `well`, and a critic that says so."""
    if request.purpose is Purpose.GRADIENT:
        return json.dumps({"v1": "Say: well."})
    if request.purpose is Purpose.UPDATE:
        return json.dumps({"value": "Answer well."})
    return "42" if "well" in (request.system or "") else "7"


@pytest.mark.requirement("left-out")
@pytest.mark.parametrize("metric", BAD)
def test_an_evaluation_goes_on_without_it_and_asks_nothing_for_it(metric: str) -> None:
    async def main() -> None:
        model = Scripted(lambda _: GOOD[metric])
        async with an_engine(model) as engine:
            good, bad = GOOD[metric], BAD[metric]
            s = await program(engine, metric, train=[good], validation=[good, bad, good])
            found = await engine.evaluate(ME, session_id=s)
            assert isinstance(found, EvaluateResult)
            assert (found.mean_score, found.examples) == (1.0, 2)
            [note] = found.notes
            assert note.startswith("Left out, as they cannot be scored: 1. e3: The right answer ")
            assert "validation1" not in [r.prompt for r in model.asked]

    asyncio.run(main())


@pytest.mark.requirement("left-out")
def test_what_nobody_can_score_is_an_error_that_says_why() -> None:
    async def main() -> None:
        async with an_engine(Scripted()) as engine:
            s = await program(engine, "numeric", train=["1"], validation=["N/A", "none"])
            with pytest.raises(ExampleError, match=r"can be scored\. e2: The right answer 'N/A'"):
                await engine.evaluate(ME, session_id=s)
            found = await engine.evaluate(ME, session_id=s, split="train")
            assert found.status == "done"

    asyncio.run(main())


@pytest.mark.requirement("left-out")
def test_a_loss_is_computed_for_the_others_and_its_mean_is_theirs() -> None:
    async def main() -> None:
        model = Scripted(improving)
        async with an_engine(model) as engine:
            s = await program(engine, "numeric", train=["7", "N/A", "41"])
            again = await engine.forward(ME, session_id=s, examples="train")
            assert isinstance(again, ForwardResult)
            assert again.mean_score == 0.5
            assert again.examples == ["e1", "e3"]
            assert "e2: The right answer 'N/A'" in again.notes[0]
            back = await engine.backward(ME, session_id=s)
            assert isinstance(back, BackwardResult)
            assert (back.examples, back.mean_score) == (["e1", "e3"], 0.5)
            assert "e2: The right answer 'N/A'" in back.notes[0]
            voted = await engine.evaluate(ME, session_id=s, split="train", votes=3)
            assert isinstance(voted, EvaluateResult)
            assert (voted.mean_score, voted.examples) == (0.5, 2)

    asyncio.run(main())


@pytest.mark.requirement("left-out")
def test_an_optimisation_learns_and_compares_on_the_others_and_names_both(tmp_path: Path) -> None:
    async def main() -> None:
        model = Scripted(improving)
        async with an_engine(model, tmp_path / "t.db") as engine:
            answers = ["42", "N/A", "42"]
            s = await program(engine, "numeric", train=answers, validation=answers)
            best: dict[str, Any] = {"batch_size": 1, "candidates": 1, "patience": 9}
            found = await engine.optimize(ME, session_id=s, strategy="gradient", steps=3, **best)
            assert isinstance(found, OptimizeResult)
            assert (found.status, found.stopped) == ("done", "goal")
            assert (found.score_before, found.score_after) == (0.0, 1.0)
            assert all(p.examples == 2 for p in found.proposals if p.score is not None)
            assert "e5: The right answer 'N/A'" in found.notes[0]
            assert "validation1" not in [r.prompt for r in model.asked]

    asyncio.run(main())


@pytest.mark.requirement("left-out")
def test_a_run_that_goes_on_in_another_process_still_leaves_it_out(tmp_path: Path) -> None:
    """Nobody answers the first rewrite before the process ends."""

    class Ending(Scripted):
        async def answer(self, request: CompletionRequest, *rest: Any) -> Any:
            if request.purpose is Purpose.UPDATE:
                await asyncio.Event().wait()
            return await super().answer(request, *rest)

    async def main() -> None:
        answers = ["42", "N/A", "42"]
        async with an_engine(Ending(improving), tmp_path / "t.db") as engine:
            s = await program(engine, "numeric", train=answers, validation=answers)
            brief = Caller(deadline=1.0)
            running = await engine.optimize(
                brief, session_id=s, strategy="gradient", steps=3, batch_size=3
            )
            assert running.status == "running"
        async with an_engine(Scripted(improving), tmp_path / "t.db") as engine:
            found = await engine.resume(ME, session_id=s)
            assert isinstance(found, OptimizeResult)
            assert (found.score_before, found.score_after) == (0.0, 1.0)
            assert "2. e2: The right answer 'N/A' holds no number. e5: The" in found.notes[0]

    asyncio.run(main())


@pytest.mark.requirement("left-out")
def test_a_minibatch_of_such_examples_alone_is_passed_over_and_named() -> None:
    async def main() -> None:
        async with an_engine(Scripted(improving)) as engine:
            s = await program(engine, "numeric", train=["N/A", "none"], validation=["42", "42"])
            found = await engine.optimize(
                ME, session_id=s, strategy="gradient", steps=2, batch_size=1, patience=2
            )
            assert isinstance(found, OptimizeResult)
            assert found.stopped == "the last training examples gave nothing to improve on"
            assert "2. e1: The right answer 'N/A'" in found.notes[0]
            assert "e2: The right answer 'none'" in found.notes[0]

    asyncio.run(main())


@pytest.mark.requirement("left-out", "referees")
@pytest.mark.parametrize("others", ["N/A", "42"])
def test_where_no_referee_can_be_scored_the_verdict_of_validation_stands(others: str) -> None:
    def now_and_then(request: CompletionRequest) -> str:
        asked = request.messages[-1].content
        helped = asked.startswith("train") or asked.endswith("0")
        return improving(request) if request.purpose is not Purpose.FORWARD or helped else "7"

    async def main() -> None:
        async with an_engine(Scripted(now_and_then)) as engine:
            train = ["42", *[others] * 8]
            s = await program(engine, "numeric", train=train, validation=["42"] * 6)
            how: dict[str, Any] = {"strategy": "gradient", "batch_size": 5, "candidates": 1}
            found = await engine.optimize(ME, session_id=s, steps=1, patience=9, **how)
            assert isinstance(found, OptimizeResult)
            assert found.status == "done"
            [reason] = {p.reason for p in found.proposals if "validation" in p.reason}
            assert ("did not decide" in reason) == (others == "42")
            assert found.accepted == (others == "42")

    asyncio.run(main())


@pytest.mark.requirement("left-out")
def test_a_gated_step_compares_on_the_others_and_says_so() -> None:
    async def main() -> None:
        async with an_engine(Scripted(improving)) as engine:
            s = await program(engine, "numeric", train=["42"], validation=["42", "N/A", "42"])
            await engine.backward(ME, session_id=s)
            step = await engine.step(ME, session_id=s, accept="if_better")
            assert isinstance(step, StepResult)
            assert step.accepted
            assert step.proposals[0].examples == 2
            assert any("e3: The right answer 'N/A'" in note for note in step.notes)

    asyncio.run(main())


@pytest.mark.requirement("left-out")
def test_a_right_answer_that_is_computed_is_left_out_when_it_is_there() -> None:
    async def main() -> None:
        async with an_engine(Scripted(lambda _: "42")) as engine:
            s = await program(engine, "exact_match", train=["42"], validation=["42", "N/A"])
            told: dict[str, Any] = {"template": "it is {a}", "inputs": {"a": "v3"}}
            await engine.forward(ME, session_id=s, operation="format", **told)
            loss: dict[str, Any] = {"metric": "numeric", "inputs": {"output": "v4", "answer": "v6"}}
            await engine.compute_loss(ME, session_id=s, kind="metric", **loss)
            found = await engine.evaluate(ME, session_id=s, loss="v7")
            assert isinstance(found, EvaluateResult)
            assert (found.mean_score, found.examples) == (1.0, 1)
            assert "e3: The right answer 'it is N/A'" in found.notes[0]

    asyncio.run(main())
