"""Two calls at the same instant: as if one had come after the other, or one is told to wait.

Every pair of tools, in one server and in two on one file, against what the calls do one by one.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.answerers import Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs import runner as runs
from textgrad_mcp.engine.store import admission
from textgrad_mcp.schemas.completions import Completion, CompletionRequest
from textgrad_mcp.schemas.errors import EndpointDown, TextGradError
from textgrad_mcp.schemas.results import Result

from ...helpers import (
    ME,
    MEMORY,
    Facts,
    Scripted,
    Tools,
    an_engine,
    process,
    served_by,
    text_of,
)
from ...session_driver import MEMORY_DISK
from ...standin import StandIn

CALLS: dict[str, tuple[str, Facts]] = {
    "create_variable": ("create_variable", {"role": "a text", "value": "x"}),
    "forward": ("forward", {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}),
    "forward, pure": ("forward", {"operation": "format", "template": "{x}", "inputs": {"x": "v2"}}),
    "forward, other examples": ("forward", {"examples": "validation"}),
    "compute_loss": ("compute_loss", {"kind": "judge", "instruction": "i", "inputs": {"x": "v4"}}),
    "compute_loss, pure": (
        "compute_loss",
        {"kind": "metric", "metric": "contains", "inputs": {"output": "v4", "answer": "v3"}},
    ),
    "backward": ("backward", {}),
    "step": ("step", {}),
    "add_examples": ("add_examples", {"split": "train", "examples": [{"q": "new", "a": "new"}]}),
    "evaluate": ("evaluate", {"split": "test"}),
    "optimize": ("optimize", {"steps": 1, "candidates": 1, "batch_size": 2}),
    "resume": ("resume", {}),
    "inspect": ("inspect", {}),
    "revert": ("revert", {"variable": "v1", "version": 1}),
}
REPEATABLE = ("create_variable", "add_examples", "revert", "inspect")
"""What may well be done twice: the second time is a call of its own."""
LATE = "resume what failed"
"""A call of resume that found the failed run before the other call, and gets its turn after it."""
BUSY = "a session does one thing at a time"
HEAD_STARTS = (0, 6, 40)
"""Turns of the event loop that one call has before the other comes."""


class Unhurried(Scripted):
    """Takes some turns of the event loop for each answer. Fails while `down`."""

    down = False

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """The scripted reply, after a while."""
        if self.down:
            raise EndpointDown("The endpoint is down.", "Try later.")
        for _ in range(20):
            await asyncio.sleep(0)
        return await super().answer(request, record, go)


async def begin(engine: Engine, answerer: Unhurried) -> str:
    """A session in which every tool has something to do: v1 has two versions and feedback on the
    second, and the last run failed."""
    s = (await engine.create_variable(ME, role="p", value="P")).session_id or ""
    at: Facts = {"session_id": s}
    await engine.create_variable(ME, role="q", example_field="q", **at)
    await engine.create_variable(ME, role="a", example_field="a", reference=True, **at)
    for split in ("train", "validation", "test"):
        rows = [{"q": f"{split} {n}", "a": f"{n}"} for n in range(2)]
        await engine.add_examples(ME, split=split, examples=rows, **at)
    await engine.forward(ME, operation="llm", system="v1", inputs={"q": "v2"}, **at)
    inputs = {"output": "v4", "answer": "v3"}
    await engine.compute_loss(ME, kind="metric", metric="exact_match", inputs=inputs, **at)
    await engine.backward(ME, **at)
    await engine.step(ME, **at)
    await engine.backward(ME, **at)
    answerer.down = True
    failed = await engine.evaluate(ME, split="validation", **at)
    assert failed.status == "failed"
    return s


@cache
def begun() -> Facts:
    """That session, as a document."""

    async def main() -> Facts:
        answerer = Unhurried()
        async with an_engine(answerer) as engine:
            s = await begin(engine, answerer)
            session = await engine.store.sessions.get(s, "local")
            return await engine.store.export.export_session(session.pk)

    return asyncio.run(main())


@asynccontextmanager
async def engines(answerer: Scripted, count: int) -> AsyncIterator[list[Engine]]:
    """So many servers on one file that holds that session."""
    async with AsyncExitStack() as stack:
        path = MEMORY
        if count > 1:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY_DISK))
            path = Path(folder) / "t.db"
        found = [await stack.enter_async_context(an_engine(answerer, path)) for _ in range(count)]
        await found[0].store.export.import_session("local", begun())
        yield found


async def outcome(engine: Engine, name: str) -> Result | str:
    """What comes of a call, or the words it is refused with."""
    try:
        if name == LATE:
            return await _late(engine)
        tool, arguments = CALLS[name]
        result: Result = await getattr(engine, tool)(ME, session_id=begun()["id"], **arguments)
    except TextGradError as error:
        return str(error)
    return result


async def _late(engine: Engine) -> Result:
    session = await engine.store.sessions.get(begun()["id"], "local")
    run = await engine.store.runs.get(session.pk, session.id, f"r{len(begun()['runs'])}")
    assert run is not None
    return await engine.runs.resume(ME, session, run)


async def left(engine: Engine) -> Facts:
    """All that is in the session, without times and the order of calls."""
    session = await engine.store.sessions.get(begun()["id"], "local")
    assert await engine.store.maintenance.check() == []
    active = await engine.store.runs.active(session.pk, session.id)
    assert active is None
    document = await engine.store.export.export_session(session.pk)
    calls = sorted((c["key"], c["status"], c["text"]) for c in document.pop("calls"))
    figures = sorted((e["split"], e["mean"], e["versions"]) for e in document.pop("evaluations"))
    for table in ("runs", "attempts"):
        document.pop(table)
    kept = {table: _timeless(rows) for table, rows in document.items()}
    return {"calls": calls, "evaluations": figures} | kept


def _timeless(rows: Any) -> Any:
    if isinstance(rows, list):
        return [_timeless(row) for row in rows]
    if isinstance(rows, dict):
        return {k: v for k, v in rows.items() if k not in ("created", "updated")}
    return rows


@cache
def one_by_one(*names: str) -> tuple[Facts, tuple[Result | str, ...]]:
    """What is left when these calls are made in this order, and what came of each."""

    async def main() -> tuple[Facts, tuple[Result | str, ...]]:
        async with engines(Scripted(), 1) as [engine]:
            outcomes = [await outcome(engine, name) for name in names]
            return await left(engine), tuple(outcomes)

    return asyncio.run(main())


def said(outcome_: Result | str) -> str:
    """Whether a call was done or refused, for whichever of several true reasons."""
    return "refused" if isinstance(outcome_, str) else outcome_.status


async def at_once(
    first: str, second: str, servers: int, turns: int
) -> tuple[list[Result | str], Facts, bool]:
    """What comes of two calls with so many turns between, what is left, and whether the first was
    over before the second came."""
    answerer = Unhurried()
    async with engines(answerer, servers) as found:
        one = asyncio.create_task(outcome(found[0], first))
        for _ in range(turns):
            await asyncio.sleep(0)
        over = one.done()
        two = asyncio.create_task(outcome(found[-1], second))
        outcomes = [await one, await two]
        state = await left(found[0])
    asked = Counter(request.key for request in answerer.asked)
    assert max(asked.values(), default=0) <= 1, "something was asked twice"
    return outcomes, state, over


def compare(first: str, second: str, servers: int, turns: int) -> None:
    """Make two calls at once, and look for an order of them that explains all."""
    begun()
    outcomes, state, over = asyncio.run(at_once(first, second, servers, turns))
    words = [o if isinstance(o, str) else o.status for o in outcomes]
    where = f"{first} + {second} after {turns} turns: {words}"
    assert not any("changed meanwhile" in w or "was changed while" in w for w in words), where
    twins = first == second and first not in REPEATABLE
    if twins and not (over and state == one_by_one(first, second)[0]):
        assert state == one_by_one(first)[0], where
        assert _same(*outcomes), where
        return
    busy = [isinstance(o, str) and BUSY in o for o in outcomes]
    assert not all(busy), where
    if any(busy):
        assert state == one_by_one(first if busy[1] else second)[0], where
        return
    orders = [one_by_one(first, second), one_by_one(second, first)]
    states = [state_ for state_, _ in orders]
    if "resume" in (first, second):  # it may have waited for the other call's run
        other = first if second == "resume" else second
        states += [one_by_one(other)[0], one_by_one(other, LATE)[0]]
    assert state in states, where
    known = {said(o) for _, found in orders for o in found}
    assert {said(o) for o in outcomes} <= known, where


def _same(one: Result | str, two: Result | str) -> bool:
    if isinstance(one, str) or isinstance(two, str):
        return one == two
    known = "had ended already"  # what `resume` adds for who comes late
    notes = [[n for n in r.notes if known not in n] for r in (one, two)]
    return notes[0] == notes[1] and one.model_copy(update={"notes": []}) == two.model_copy(
        update={"notes": []}
    )


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait for another process look often, and what ended just then had not ended."""
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(admission, "BLUR_SECONDS", -0.002)


PAIRS = list(itertools.combinations_with_replacement(CALLS, 2))


@pytest.mark.requirement("one-admission", "one-run", "held-out")
@pytest.mark.parametrize("servers", [1, 2], ids=["one server", "two servers"])
@pytest.mark.parametrize("pair", PAIRS, ids=" + ".join)
def test_two_calls_at_once_are_one_after_the_other_or_one_is_told_to_wait(
    pair: tuple[str, str], servers: int
) -> None:
    for turns in HEAD_STARTS:
        for first, second in dict.fromkeys([pair, pair[::-1]]):
            compare(first, second, servers, turns)


async def loaded(call: Tools) -> str:
    """The same program over MCP, with feedback that no step has used."""
    s = str((await call("create_variable", role="p", value="P"))["session_id"])
    at: Facts = {"session_id": s}
    await call("create_variable", role="q", example_field="q", **at)
    await call("create_variable", role="a", example_field="a", reference=True, **at)
    for split in ("train", "validation", "test"):
        rows = [{"q": f"{s} {split} {n}", "a": f"{n}"} for n in range(2)]
        await call("add_examples", split=split, examples=rows, **at)
    await call("forward", operation="llm", system="v1", inputs={"q": "v2"}, **at)
    inputs = {"output": "v4", "answer": "v3"}
    await call("compute_loss", kind="metric", metric="exact_match", inputs=inputs, **at)
    await call("backward", **at)
    return s


ASKING: dict[str, tuple[str, Facts]] = {
    "forward": ("forward", CALLS["forward"][1] | {"template": "Again: {q}"}),
    "compute_loss": CALLS["compute_loss"],
    "backward": ("backward", {"exact": True}),
    **{name: CALLS[name] for name in ("step", "evaluate", "optimize", "add_examples", "revert")},
}
"""Calls that take a while, as each asks something new, and two that do not."""
APART = [
    *((name, name) for name in list(ASKING)[:6]),
    ("forward", "step"),
    ("compute_loss", "add_examples"),
    ("evaluate", "optimize"),
    ("step", "revert"),
]


@pytest.mark.requirement("one-admission", "many-processes", "held-out")
def test_two_servers_in_processes_of_their_own_do_each_thing_once(tmp_path: Path) -> None:
    slow = [0.0]

    async def main(server: StandIn) -> None:
        settings = served_by(server, tmp_path / "t.db")
        async with process(settings) as one, process(settings) as other:
            for pair in APART:
                slow[0] = 0.0
                s = await loaded(one)
                await other("inspect", session_id=s)
                slow[0] = 0.5
                await together(one, other, s, *pair)

    with StandIn(latency=lambda _: slow[0]) as server:
        asyncio.run(main(server))
        messages = [str(seen.body["messages"]) for seen in server.log]
        assert len(set(messages)) == len(messages), "something was asked twice"


async def together(one: Tools, other: Tools, s: str, first: str, second: str) -> None:
    """Make two calls from two servers, and look that each was done once or refused whole."""
    calls = [
        call.raw(ASKING[name][0], {"session_id": s, **ASKING[name][1]})
        for call, name in ((one, first), (other, second))
    ]
    results = await asyncio.gather(*calls)
    words = f"{first} + {second}: {[text_of(r) for r in results]}"
    facts = [r.structured_content or {} for r in results]
    done = [name for name, f in zip((first, second), facts, strict=True) if f["status"] == "done"]
    assert done, words
    assert all(f["status"] == "done" or BUSY in f["error"] for f in facts), words
    if first == second:
        assert facts[0] == facts[1], words
    assert not (await one("inspect", session_id=s))["view"].get("active_run"), words
    made = [name for name in dict.fromkeys(done) if "inputs" in ASKING[name][1]]
    shown = (await one("inspect", session_id=s, what="graph"))["view"]
    assert len(shown["operations"]) == 2 + len(made), words
