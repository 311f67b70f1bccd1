"""How costs grow with the size of the graph and with the history of a session."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from harness import MEMORY_DISK, Row, scratch, spread
from textgrad_mcp.engine.answerers import Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.completions import Completion, CompletionRequest
from textgrad_mcp.schemas.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from row_copies import copy_first_row

ME = Caller()
SIZES = (100, 1_000, 10_000, 100_000)
TOUCHED = 10
COPY = '{"template": "{x0}"}'
"""What every node does: with all its inputs in it, the text would double at every level."""
LONG = "A text of some length that stands for a prompt or for a reply. " * 8
Edges = list[list[int]]


class Instant:
    """Answers at once, in the form asked for, so that only our own work is measured."""

    name = model = "instant"

    @property
    def params(self) -> dict[str, object]:
        """None."""
        return {}

    async def answer(self, request: CompletionRequest, record: RecordAttempt, go: Go) -> Completion:
        """A short reply that differs with the request."""
        if request.reply is None:
            return Completion(text=f"answer {request.key}")
        fields: dict[str, Any] = {"score": 0.5}
        keys = request.reply["properties"]
        return Completion(text=json.dumps({k: fields.get(k, request.key) for k in keys}))

    async def close(self) -> None:
        """Nothing to close."""


async def opened(path: Path) -> Engine:
    """An engine on a database of its own."""
    store = Store(path)
    await store.open()
    instant = Instant()
    return Engine(Settings(soft_deadline=600), store, {"forward": instant, "backward": instant})


def chain(size: int) -> Edges:
    """Each node reads the one before it."""
    return [[node] for node in range(1, size)]


def fan_out(size: int) -> Edges:
    """Every node reads the first; none reads another."""
    return [[1] for _ in range(1, size)]


def random_dag(size: int) -> Edges:
    """Each node reads one or two of the fifty before it."""
    rng = random.Random(size)
    return [
        sorted({rng.randint(max(1, node - 50), node) for _ in range(rng.randint(1, 2))})
        for node in range(1, size)
    ]


GRAPHS: dict[str, Callable[[int], Edges]] = {
    "chain": chain,
    "fan-out": fan_out,
    "random DAG": random_dag,
}


async def build(engine: Engine, edges: Edges) -> tuple[str, str]:
    """A session with one parameter and a template for each node, and beside them a branch of
    TOUCHED nodes from a parameter of its own. Gives the session and that parameter."""
    made = await engine.create_variable(ME, role="the text", value="some text")
    session = await engine.store.sessions.get(made.session_id or "", "local")
    size = len(edges) + 1
    branch = [[size + 1 + n] for n in range(TOUCHED)]
    outputs = [*((n + 2, e) for n, e in enumerate(edges))]
    outputs += [(size + 2 + n, e) for n, e in enumerate(branch)]

    def job(db: sqlite3.Connection) -> None:
        columns = (
            "session, n, kind, role, name, value, version, requires_grad, reference, "
            "per_example, constraints, operation, dirty"
        )
        insert = f"INSERT INTO variables ({columns}) VALUES (?,?,?,?,'',?,?,?,0,0,'[]',?,?)"
        beside = (session.pk, size + 1, "parameter", "the other", "text", 1, 1, None, 0)
        db.execute(insert, beside)
        db.execute(
            "INSERT INTO versions VALUES (?,?,1,'text','created',NULL,'')", (session.pk, size + 1)
        )
        db.executemany(
            insert,
            [
                (session.pk, v, "output", "a node", None, 0, 0, o, 1)
                for o, (v, _) in _numbered(outputs)
            ],
        )
        db.executemany(
            "INSERT INTO operations VALUES (?,?,'format',?,NULL,?,?)",
            [(session.pk, o, v, _inputs(e), COPY) for o, (v, e) in _numbered(outputs)],
        )
        db.executemany(
            "INSERT INTO edges VALUES (?,?,?)", [(session.pk, s, v) for v, e in outputs for s in e]
        )

    await engine.store.db.write(job)
    return session.id, f"v{size + 1}"


def _numbered(outputs: Sequence[tuple[int, list[int]]]) -> list[tuple[int, tuple[int, list[int]]]]:
    return list(enumerate(outputs, 1))


def _inputs(sources: list[int]) -> str:
    return json.dumps({f"x{i}": s for i, s in enumerate(sources)})


async def _timed(work: Awaitable[Any]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _graph(path: Path, edges: Edges) -> dict[str, float]:
    engine = await opened(path)
    try:
        session, other = await build(engine, edges)
        found = {"first forward": await _timed(engine.forward(ME, session_id=session))}
        last = f"v{len(edges) + 1}"
        loss = engine.compute_loss(
            ME,
            session_id=session,
            kind="metric",
            metric="exact_match",
            inputs={"output": last, "answer": other},
        )
        await loss
        found["backward"] = await _timed(engine.backward(ME, session_id=session))
        one = await engine.store.sessions.get(session, "local")
        times = []
        for version in range(1, 6):
            text = f"text {version}"
            started = time.perf_counter()
            await engine.store.history.set_value(one.pk, other, text, "edit")
            result = await engine.forward(ME, session_id=session)
            times.append(time.perf_counter() - started)
            touched = len(getattr(result, "recomputed", []))
            if touched != TOUCHED + 1:  # the branch, and the loss that reads the parameter
                raise RuntimeError(f"{touched} nodes were recomputed")
        found["one change"] = statistics.median(times)
        looks = [await _timed(engine.inspect(ME, session_id=session)) for _ in range(5)]
        found["inspect"] = statistics.median(looks)
        pages = [
            await _timed(engine.inspect(ME, session_id=session, what="graph")) for _ in range(5)
        ]
        found["inspect graph"] = statistics.median(pages)
        return found
    finally:
        await engine.close()


def graphs(sizes: Sequence[int] = SIZES) -> tuple[list[Row], str]:
    """What a graph's size costs. Files in memory: the disk's own time does not grow."""
    names = ("first forward", "backward", "one change", "inspect", "inspect graph")
    lines = [
        "| graph | nodes | " + " | ".join(f"{n} ms" for n in names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    rows = []
    for kind, edges in GRAPHS.items():
        found = {}
        for size in sizes:
            with scratch(MEMORY_DISK if MEMORY_DISK.exists() else None) as folder:
                found[size] = asyncio.run(_graph(folder / "g.db", edges(size)))
            cells = " | ".join(f"{found[size][n] * 1000:.1f}" for n in names)
            lines.append(f"| {kind} | {size:,} | {cells} |")
            print(lines[-1], flush=True)
        rows += _growth_rows(kind, found)
    return rows, "\n".join(lines)


def _growth_rows(kind: str, found: dict[int, dict[str, float]]) -> list[Row]:
    small, large = sorted(found)[-2:]
    times = large / small
    rows = []
    for what in ("first forward", "backward"):
        growth = found[large][what] / found[small][what]
        met = growth <= 1.5 * times
        figure = f"{growth:.1f} times the time for {times:.0f} times the nodes"
        rows.append(Row(f"growth, {kind}, {what}", "linear in what is touched", figure, met))
    for what in ("one change", "inspect"):
        growth = found[large][what] / found[min(found)][what]
        figure = f"{growth:.1f} times from {min(found):,} to {large:,} nodes"
        rows.append(Row(f"growth, {kind}, {what}", "constant", figure, growth <= 2))
    return rows


async def grown_session(path: Path, variables: int, calls: int, steps: int = 0) -> str:
    """A session with a prompt, a judge and an example each; and with so much history."""
    engine = await opened(path)
    try:
        session = await _prompt_program(engine)
        one = await engine.store.sessions.get(session, "local")
        await engine.store.db.write(lambda db: _history(db, one.pk, variables, calls, steps))
        return session
    finally:
        await engine.close()


async def _prompt_program(engine: Engine) -> str:
    made = await engine.create_variable(ME, role="system prompt", value="Answer briefly.")
    session = made.session_id or ""
    await engine.create_variable(ME, session_id=session, role="q", example_field="q")
    rows = [{"q": f"question {n}"} for n in range(4)]
    await engine.add_examples(ME, session_id=session, split="train", examples=rows)
    inputs = {"q": "v2"}
    await engine.forward(ME, session_id=session, operation="llm", system="v1", inputs=inputs)
    await engine.compute_loss(
        ME, session_id=session, kind="judge", instruction="Is it good?", inputs={"reply": "v3"}
    )
    return session


def _history(db: sqlite3.Connection, pk: int, variables: int, calls: int, steps: int) -> None:
    """Rows as a long life leaves them, copied from the first of each kind."""
    copy_first_row(db, "variables", pk, variables, {"kind": "'constant'", "requires_grad": "0"})
    copy_first_row(db, "calls", pk, calls, {"key": "'old ' || k.value", "run": "1"})
    db.execute("UPDATE calls SET text = ? WHERE session = ? AND key LIKE 'old %'", (LONG, pk))
    if steps:
        _old_steps(db, pk, steps)


def _old_steps(db: sqlite3.Connection, pk: int, steps: int) -> None:
    numbers = range(1, steps + 1)
    db.executemany(
        "INSERT INTO versions VALUES (?,1,?,?,'step',?,'')",
        [(pk, n + 1, f"{LONG} {n}", n) for n in numbers],
    )
    db.execute("UPDATE variables SET version = ? WHERE session = ? AND n = 1", (steps + 1, pk))
    db.executemany(
        "INSERT INTO steps VALUES (?,?,1,'',0.4,0.5,'validation',8,'')", [(pk, n) for n in numbers]
    )
    columns = "session, n, variable, version, text, examples, batch, operation, losses, exact"
    db.executemany(
        f"INSERT INTO gradients ({columns}, spent_by, created) "
        "VALUES (?,?,1,?,?,'[]','[]','op1','[]',0,?,'')",
        [(pk, n, n, LONG, n) for n in numbers],
    )
    db.executemany(
        "INSERT INTO proposals VALUES "
        "(?,?,?,1,?,?,'accepted','',?,0.5,0.4,'validation',8,'[]','','accepted')",
        [(pk, n, n, n, f"{LONG} {n}", n + 1) for n in numbers],
    )
    columns = "session, n, tool, args, digest, status, state, error, owner, lease, created, updated"
    db.executemany(
        f"INSERT INTO runs ({columns}) VALUES (?,?,'step','{{}}','','done','{{}}','','me',0,'','')",
        [(pk, n + 10) for n in numbers],
    )


async def _step_seconds(path: Path, session: str, times: int) -> list[float]:
    engine = await opened(path)
    seconds = []
    try:
        for _ in range(times):
            started = time.perf_counter()
            await engine.backward(ME, session_id=session)
            await engine.step(ME, session_id=session)
            seconds.append(time.perf_counter() - started)
        return seconds[1:]
    finally:
        await engine.close()


def history(steps: Sequence[int] = (1, 100, 10_000), times: int = 8) -> tuple[list[Row], str]:
    """Our own time in a step (the model answers at once) after so many steps."""
    found = {}
    lines = ["| steps before | calls before | a step, ms |", "|---|---|---|"]
    for count in steps:
        with scratch() as folder:
            session = asyncio.run(grown_session(folder / "h.db", 10, count * 10, count))
            found[count] = asyncio.run(_step_seconds(folder / "h.db", session, times))
        lines.append(f"| {count:,} | {count * 10:,} | {spread(found[count], 1e-3, 1)} |")
        print(lines[-1], flush=True)
    growth = statistics.median(found[max(steps)]) / statistics.median(found[min(steps)])
    figure = f"{growth:.2f} times from {min(steps):,} to {max(steps):,} steps"
    return [Row("a step's overhead with history", "constant", figure, growth <= 1.3)], "\n".join(
        lines
    )
