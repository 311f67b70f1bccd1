"""Few-shot demonstrations: a parameter that is chosen from the training split, not written."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.errors import BadInput, Conflict
from textgrad_mcp.schemas.results import OptimizeResult, StepResult

from ...helpers import ME, Scripted, an_engine


def answer(question: str) -> str:
    """The house's way to answer."""
    return f"<{question.upper()}>"


def learner(request: CompletionRequest) -> str:
    """A model that follows a worked example if it is shown two, and one word in five anyway."""
    if request.purpose is Purpose.GRADIENT:
        return json.dumps(dict.fromkeys((request.reply or {})["properties"], "Be precise."))
    if request.purpose is Purpose.UPDATE:
        return '{"value": "Answer well."}'
    shown = (request.system or "").count("\na: <")
    right = shown >= 2 or request.prompt.endswith(("0", "5"))
    return answer(request.prompt) if right else "no idea"


async def program(engine: Engine, shots: int = 2, splits: tuple[str, ...] = ("train",)) -> str:
    """Instructions v1, demonstrations v4, both in the system prompt v5; the output is v6."""
    s = str((await engine.create_variable(ME, role="instructions", value="Answer.")).session_id)
    await engine.create_variable(ME, role="q", example_field="q", session_id=s)
    await engine.create_variable(ME, role="a", example_field="a", reference=True, session_id=s)
    await engine.create_variable(ME, role="worked examples", demonstrations=shots, session_id=s)
    await engine.forward(
        ME,
        session_id=s,
        operation="format",
        template="{instructions}\n\n{examples}",
        inputs={"instructions": "v1", "examples": "v4"},
    )
    for split in splits:
        rows = [{"q": f"{split} word {n}", "a": answer(f"{split} word {n}")} for n in range(20)]
        await engine.add_examples(ME, session_id=s, split=split, examples=rows)
    await engine.forward(ME, session_id=s, operation="llm", system="v5", inputs={"q": "v2"})
    inputs = {"output": "v6", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="metric", metric="exact_match", inputs=inputs)
    return s


async def chosen(engine: Engine, s: str) -> str:
    """The demonstrations that are installed."""
    session = await engine.store.sessions.get(s, "local")
    return str((await engine.store.graph.variables(session.pk, ["v4"]))["v4"].value)


async def step(engine: Engine, s: str, **arguments: Any) -> StepResult:
    result = await engine.step(ME, session_id=s, variables=["v4"], **arguments)
    assert isinstance(result, StepResult), result
    return result


def test_a_step_chooses_demonstrations_by_the_same_gate() -> None:
    async def main() -> None:
        async with an_engine(Scripted(learner)) as engine:
            s = await program(engine, splits=("train", "validation"))
            result = await step(engine, s, accept="if_better", candidates=2)
            assert result.accepted
            assert (result.score_before, result.score_after) == (0.2, 1.0)
            text = await chosen(engine, s)
            assert text.count("q: train word") == 2
            assert "validation" not in text
            session = await engine.store.sessions.get(s, "local")
            [version, _] = await engine.store.history.versions(session.pk, "v4")
            assert version.origin == "step"

    asyncio.run(main())


def test_demonstrations_that_do_not_help_are_refused() -> None:
    async def main() -> None:
        async with an_engine(Scripted(learner)) as engine:
            s = await program(engine, shots=1, splits=("train", "validation"))
            result = await step(engine, s, accept="if_better", candidates=3)
            assert not result.accepted
            assert ": a tie, and no shorter" in (result.gate or "")
            assert await chosen(engine, s) == ""

    asyncio.run(main())


def test_bootstrapped_demonstrations_show_only_what_the_program_got_right() -> None:
    async def main() -> None:
        async with an_engine(Scripted(learner)) as engine:
            s = await program(engine, shots=3)
            result = await step(engine, s, accept="never", candidates=6)
            texts = [p.text for p in result.proposals]
            assert len(texts) >= 2
            assert all("no idea" not in text for text in texts)
            assert any(
                all(q.split("\n")[0].endswith(("0", "5")) for q in text.split("\n\n"))
                for text in texts
            )

    asyncio.run(main())


def test_the_same_session_chooses_the_same_and_the_next_step_others() -> None:
    async def proposals(turns: int) -> list[str]:
        async with an_engine(Scripted(learner)) as engine:
            s = await program(engine)
            for _ in range(turns):
                result = await step(engine, s, accept="never", candidates=2)
        return [p.text for p in result.proposals]

    first, again = asyncio.run(proposals(1)), asyncio.run(proposals(1))
    assert first == again
    assert asyncio.run(proposals(2)) != first


def test_optimize_chooses_demonstrations_beside_the_instructions() -> None:
    async def main() -> None:
        async with an_engine(Scripted(learner)) as engine:
            s = await program(engine, splits=("train", "validation"))
            result = await engine.optimize(
                ME, session_id=s, strategy="gradient", steps=3, candidates=4
            )
            assert isinstance(result, OptimizeResult)
            assert result.score_after == 1
            assert result.stopped == "goal"
            assert "v4" in result.variables

    asyncio.run(main())


def test_the_minibatch_a_choice_is_checked_on_is_not_shown_in_it() -> None:
    async def main() -> None:
        async with an_engine(Scripted(learner)) as engine:
            s = await program(engine, splits=("train", "validation"))
            batch = [f"e{n}" for n in range(2, 20)]
            await engine.backward(ME, session_id=s, examples=batch)
            session = await engine.store.sessions.get(s, "local")
            assert await engine.store.history.gradients(session.pk, ["v1"])
            ids = ["v1", "v4"]
            result = await engine.step(ME, session_id=s, variables=ids, accept="never")
            assert isinstance(result, StepResult)
            [shown] = [p.text for p in result.proposals if p.variable == "v4"]
            asked = {line for line in shown.split("\n") if line.startswith("q: ")}
            assert asked == {"q: train word 0", "q: train word 19"}

    asyncio.run(main())


@pytest.mark.parametrize("shots", [0, 65])
def test_too_few_and_too_many_demonstrations_are_refused(shots: int) -> None:
    async def main() -> None:
        async with an_engine() as engine:
            with pytest.raises(BadInput, match="between 1 and 64"):
                await engine.create_variable(ME, role="shots", demonstrations=shots)

    asyncio.run(main())


def test_without_training_examples_there_is_nothing_to_show() -> None:
    async def main() -> None:
        async with an_engine(Scripted(learner)) as engine:
            s = await program(engine, splits=())
            with pytest.raises(Conflict, match="training examples"):
                await step(engine, s)

    asyncio.run(main())
