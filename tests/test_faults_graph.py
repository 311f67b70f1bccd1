"""Graphs that cannot be, graphs that are very deep, and a big one that leaves others their turn."""

from __future__ import annotations

import asyncio

import pytest
from textgrad_mcp.engine import schedule
from textgrad_mcp.engine.schedule import wavefront
from textgrad_mcp.schemas.results import BackwardResult, ForwardResult

from .helpers import ME, Facts, Scripted, Tools, an_engine, assisted, drive, made
from .test_autograd import chain


@pytest.mark.requirement("no-cycles")
@pytest.mark.parametrize("source", ["v2", "v3", "v9"], ids=["itself", "the next", "nothing"])
def test_an_operation_cannot_read_what_is_not_there_yet_so_there_are_no_cycles(source: str) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        for more in ({"inputs": {"x": source}}, {"inputs": {"x": "v1"}, "system": source}):
            words = await call.refused("forward", session_id=s, operation="llm", **more)
            assert repr(source) in words
        judge: Facts = {"kind": "judge", "instruction": "i", "inputs": {"x": source}}
        assert repr(source) in await call.refused("compute_loss", session_id=s, **judge)
        view = (await call("inspect", session_id=s, what="graph"))["view"]
        assert view["operations"] == []

    drive(main, assisted())


@pytest.mark.requirement("no-cycles")
def test_an_input_that_is_read_three_times_gets_its_feedback_once() -> None:
    async def main() -> None:
        critic = Scripted()
        async with an_engine(critic) as engine:
            s = (await engine.create_variable(ME, role="p", value="P")).session_id or ""
            said = made(
                await engine.forward(
                    ME,
                    session_id=s,
                    operation="llm",
                    system="v1",
                    template="{a} {b} {a}",
                    inputs={"a": "v1", "b": "v1"},
                )
            )
            judge: Facts = {"kind": "judge", "instruction": "i", "inputs": {"a": said, "b": said}}
            await engine.compute_loss(ME, session_id=s, **judge)
            back = await engine.backward(ME, session_id=s)
            assert isinstance(back, BackwardResult)
            assert [g.variable for g in back.gradients] == ["v1"]
            assert len(critic.asked) == 3  # the answer, the judgement, one piece of feedback

    asyncio.run(main())


@pytest.mark.requirement("no-cycles")
def test_a_chain_of_five_thousand_operations_is_computed_and_walked_back() -> None:
    async def main() -> None:
        depth, critic = 5000, Scripted()
        async with an_engine(critic) as engine:
            s = await chain(engine, depth)
            computed = await engine.forward(ME, session_id=s)
            assert isinstance(computed, ForwardResult)
            assert len(computed.recomputed) == depth
            judge: Facts = {"kind": "judge", "instruction": "i", "inputs": {"x": f"v{depth + 1}"}}
            loss = await engine.compute_loss(ME, session_id=s, **judge)
            back = await engine.backward(ME, session_id=s, losses=[made(loss)])
            assert isinstance(back, BackwardResult)
            assert len(back.gradients) == 1

    asyncio.run(main())


@pytest.mark.requirement("free-loop")
def test_others_have_their_turn_while_a_big_graph_of_pure_work_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No seconds are measured: what counts is how often another task runs meanwhile."""
    monkeypatch.setattr(schedule, "SLICE", 0.0)

    async def main() -> None:
        nodes, turns = 1000, 0
        graph = {n: [n - 1] if n else [] for n in range(nodes)}
        under_way = asyncio.create_task(wavefront(graph, lambda _: None))
        while not under_way.done():
            await asyncio.sleep(0)
            turns += 1
        assert under_way.result() == {}
        assert turns >= nodes

    asyncio.run(main())
