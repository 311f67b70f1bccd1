"""`kill -9` in the middle of a backward, or of a whole optimisation: nothing that was recorded is
asked again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from textgrad_mcp.engine.prompts import text
from textgrad_mcp.schemas.settings import Settings

from .. import interrupted
from ..helpers import Process, Tools, process, served_by
from ..standin import Body, Fault, StandIn, default_reply

N = 16
ANSWERED = 6


class Stuck:
    """Faults that hang gradient calls after the first few, until they are let go."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.stuck = True

    def __call__(self, _index: int, body: Body) -> Fault | None:
        if not self.stuck or not is_gradient(body):
            return None
        self.left -= 1
        return Fault(hang=True) if self.left < 0 else None


def is_gradient(body: Body) -> bool:
    """Whether this request asks for feedback."""
    return text("gradient") in str(body["messages"][0]["content"])


def asked(server: StandIn) -> list[str]:
    """Every request so far, as its messages."""
    return [json.dumps(seen.body["messages"]) for seen in server.log]


def recorded(path: Path) -> list[str]:
    """The requests whose replies are on disk, as their messages."""
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT request FROM calls WHERE status = 'answered'").fetchall()
    messages = [json.loads(request)["messages"] for (request,) in found]
    plain = [[{"role": m["role"], "content": m["content"]} for m in one] for one in messages]
    return [json.dumps(one) for one in plain]


async def program(call: Tools) -> str:
    """A prompt on N examples with a judge, computed: 2N calls."""
    s = (await call("create_variable", role="prompt", value="Be brief."))["session_id"]
    await call("create_variable", session_id=s, role="q", example_field="q")
    rows = [{"q": f"question {n}"} for n in range(N)]
    await call("add_examples", session_id=s, split="train", examples=rows)
    await call("forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    await call(
        "compute_loss",
        session_id=s,
        kind="judge",
        instruction="Is it good?",
        graded=False,
        inputs={"output": "v3"},
    )
    return str(s)


async def until(condition: Callable[[], bool], call: Tools, **arguments: Any) -> None:
    """Look through `inspect` again and again until `condition` holds."""
    async with asyncio.timeout(20):
        while not condition():
            await call("inspect", **arguments)


async def stuck_in_backward(call: Process, server: StandIn, path: Path, s: str) -> Any:
    """Begin a backward pass (2N calls in two stages) and wait until some replies of its first
    stage are recorded and the rest hang."""
    begun = asyncio.create_task(call.client.call_tool("backward", {"session_id": s, "exact": True}))
    await asyncio.to_thread(server.wait_for, lambda it: len(it.log) == 3 * N, 20)
    await until(lambda: len(recorded(path)) == 2 * N + ANSWERED, call, session_id=s)
    return begun


def settings_of(server: StandIn, path: Path, deadline: float = 60) -> Settings:
    """One server's settings; a call waits so many seconds."""
    return served_by(server, path, minibatch=N, soft_deadline=deadline)


@pytest.mark.requirement("kill")
def test_after_a_kill_only_the_calls_in_flight_are_asked_again(tmp_path: Path) -> None:
    path, stuck = tmp_path / "t.db", Stuck(ANSWERED)

    async def main(server: StandIn) -> None:
        async with process(settings_of(server, path)) as call:
            s = await program(call)
            begun = await stuck_in_backward(call, server, path, s)
            call.kill()
            with pytest.raises(MCPError):
                await begun
        before, on_disk = asked(server), recorded(path)
        assert len(before) == 3 * N
        assert len(on_disk) == 2 * N + ANSWERED
        stuck.stuck = False
        async with process(settings_of(server, path)) as call:
            done = await call("resume", session_id=s)
            while done["status"] == "running":
                done = await call("resume", session_id=s)
            assert done["status"] == "done"
            assert len(done["gradients"]) == N
            total = (await call("inspect", session_id=s))["view"]["total"]
        after = asked(server)[len(before) :]
        assert len(after) == (N - ANSWERED) + N  # those in flight, and the next stage
        assert not set(after) & set(on_disk)
        assert total["calls"] == 4 * N == len(recorded(path))
        assert max(Counter(recorded(path)).values()) == 1

    with StandIn(reply=default_reply, faults=stuck) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("takeover")
def test_a_live_run_is_not_stolen_and_a_dead_one_is_taken_over(tmp_path: Path) -> None:
    path, stuck = tmp_path / "t.db", Stuck(ANSWERED)

    async def main(server: StandIn) -> None:
        async with process(settings_of(server, path, deadline=2)) as other:
            async with process(settings_of(server, path)) as call:
                s = await program(call)
                begun = await stuck_in_backward(call, server, path, s)
                waiting = await other("resume", session_id=s)
                assert waiting["status"] == "running"
                assert len(server.log) == 3 * N
                words = await other.refused("evaluate", session_id=s)
                assert "backward" in words
                call.kill()
                await asyncio.gather(begun, return_exceptions=True)
            stuck.stuck = False
            done = await other("resume", session_id=s)
            while done["status"] == "running":
                done = await other("resume", session_id=s)
            while done["status"] == "running":
                done = await other("resume", session_id=s)
            assert done["status"] == "done"
            assert len(server.log) == 4 * N + (N - ANSWERED)

    with StandIn(reply=default_reply, faults=stuck) as server:
        asyncio.run(main(server))


SLOW = [pytest.param(after, marks=pytest.mark.slow) for after in (1, 14, 90, 115)]


@pytest.mark.requirement("kill", "same-end")
@pytest.mark.parametrize("after", [45, *SLOW])
def test_an_optimisation_that_is_killed_ends_as_if_it_had_not_been(
    tmp_path: Path, after: int
) -> None:
    story = asyncio.run(interrupted.interrupted(tmp_path, after))
    kept = [request for request in story.before if request in set(story.kept)]
    assert len(kept) == after
    assert len(story.before) > after  # some were on their way
    assert not set(story.after) & set(story.kept)
    assert Counter([*kept, *story.after]) == Counter(story.undisturbed)
    figures = [{k: r.get(k) for k in interrupted.FIGURES} for r in (story.whole, story.resumed)]
    assert figures[0] == figures[1]
    assert figures[0]["stopped"] == "goal"
    assert story.texts["whole"] == story.texts["resumed"]
    assert story.lineages["whole"] == story.lineages["resumed"]
    assert story.resumed["calls"] == len(story.undisturbed)
