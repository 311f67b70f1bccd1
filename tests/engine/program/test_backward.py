"""Backward: which examples each gradient comes from, what is shown to the critic, and merging."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import Purpose
from textgrad_mcp.schemas.results import BackwardResult, Result

from ...helpers import ME, Facts, Scripted, an_engine, made


async def prompt_program(engine: Engine, count: int) -> str:
    """A prompt on `count` examples: the session and its output."""
    s = (await engine.create_variable(ME, role="prompt", value="P1")).session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    rows = [{"q": f"question {n}", "a": f"right {n}"} for n in range(count)]
    await engine.add_examples(ME, session_id=s, split="train", examples=rows)
    at = made(
        await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"x": "v2"})
    )
    return f"{s} {at}"


async def with_loss(engine: Engine, program: str, loss: str) -> str:
    """The session, with a loss on the program's output."""
    s, at = program.split()
    if loss == "judge":
        await engine.compute_loss(
            ME, session_id=s, kind="judge", instruction="i", inputs={"output": at}
        )
    else:
        inputs = {"output": at, "answer": "v3"}
        await engine.compute_loss(
            ME, session_id=s, kind="metric", metric="exact_match", inputs=inputs
        )
    return s


async def learnt(engine: Engine, s: str, **options: Any) -> tuple[Result, Result]:
    """One backward and one step."""
    back = await engine.backward(ME, session_id=s, **options)
    assert back.status == "done", back.error
    step = await engine.step(ME, session_id=s)
    assert step.status == "done", step.error
    return back, step


def counts(critic: Scripted) -> dict[str, int]:
    """Calls by purpose."""
    return dict(Counter(request.purpose.value for request in critic.asked))


@pytest.mark.parametrize("n", [1, 4, 16])
@pytest.mark.parametrize(("loss", "calls"), [("judge", 4), ("metric", 3)])
def test_exact_mode_costs_what_the_paper_costs_and_no_more(loss: str, calls: int, n: int) -> None:
    async def main() -> None:
        critic = Scripted()
        async with an_engine(critic, minibatch=16) as engine:
            s = await with_loss(engine, await prompt_program(engine, n), loss)
            back, _ = await learnt(engine, s, exact=True)
            assert isinstance(back, BackwardResult)
            assert [g.examples for g in back.gradients] == [[f"e{i + 1}"] for i in range(n)]
        assert len(critic.asked) <= calls * n + 1
        assert counts(critic)["gradient"] == (calls - (2 if loss == "judge" else 1)) * n

    asyncio.run(main())


def test_instance_optimisation_costs_a_judgement_and_an_update() -> None:
    async def main() -> None:
        critic = Scripted()
        async with an_engine(critic) as engine:
            v = await engine.create_variable(ME, role="text", value="T")
            s = v.session_id or ""
            judge: Facts = {"kind": "judge", "instruction": "i", "inputs": {"x": "v1"}}
            await engine.compute_loss(ME, session_id=s, **judge)
            await learnt(engine, s)
        assert counts(critic) == {"judge": 1, "update": 1}

    asyncio.run(main())


def test_a_large_pile_of_feedback_is_merged_in_a_tree_before_the_update() -> None:
    async def main() -> None:
        def reply(request: Any) -> str:
            if request.purpose is Purpose.GRADIENT:
                return '{"v1": "%s"}' % (request.key + " words " * 300)
            if request.purpose is Purpose.UPDATE:
                return '{"value": "better"}'
            return "merged " * 100 + str(request.key)

        critic = Scripted(reply)
        settings: Facts = {"prompt_budget": 1000, "minibatch": 16, "group_size": 1}
        async with an_engine(critic, **settings) as engine:
            s = await with_loss(engine, await prompt_program(engine, 16), "metric")
            await learnt(engine, s)
        merges = [r for r in critic.asked if r.purpose is Purpose.REDUCE]
        assert merges
        assert all(len(r.prompt) < 1000 * 4 * 1.5 for r in critic.asked)

    asyncio.run(main())


def test_only_examples_with_something_to_improve_are_shown_to_the_critic() -> None:
    async def main() -> None:
        def reply(request: Any) -> str:
            if request.purpose is Purpose.GRADIENT:
                return '{"v1": "feedback"}'
            return "right 1" if "question 1" in request.prompt else "wrong"

        critic = Scripted(reply)
        async with an_engine(critic) as engine:
            s = await with_loss(engine, await prompt_program(engine, 3), "metric")
            back = await engine.backward(ME, session_id=s)
            assert isinstance(back, BackwardResult)
            assert back.gradients[0].examples == ["e1", "e3"]
            assert "question 1" not in critic.asked[-1].prompt

    asyncio.run(main())


def test_a_critic_that_finds_nothing_on_an_input_leaves_it_without_a_gradient() -> None:
    async def main() -> None:
        def reply(request: Any) -> str:
            return '{"v1": ""}' if request.purpose is Purpose.GRADIENT else "wrong"

        async with an_engine(Scripted(reply)) as engine:
            s = await with_loss(engine, await prompt_program(engine, 2), "metric")
            back = await engine.backward(ME, session_id=s)
            assert isinstance(back, BackwardResult)
            assert back.status == "done"
            assert back.gradients == []

    asyncio.run(main())
