"""What the page waits for: each view of a session of 10,000 steps and 100,000 examples.

    python benchmarks/page.py [--steps N] [--rows N] [--repeats N]

The median and the smallest time of each view, the smallest of the processor alone (which other
programs leave as it is), and the size as the page gets it. The first summary and the first rows
after an evaluation compare all examples once; they are timed apart. The session is made by the
engine and lengthened in its file; of its examples nothing was ever run, so each row that is shown
is looked up and not found, once for every side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from growth import opened
from harness import scratch
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.engine.views.page import Page
from textgrad_mcp.engine.views.replay import Reader
from textgrad_mcp.schemas.graph import Session

ME = Caller()
START = datetime(2026, 1, 1)
CANDIDATES = 3
EVERY = 40
"""One step in so many is accepted, and makes a version."""
PROMPT = "Sort the ticket. Say the code alone. " * 50


async def made(engine: Engine, rows: int) -> Session:
    """A prompt, two fields, an answer and its loss; `rows` examples."""
    s = str((await engine.create_variable(ME, role="prompt", value=PROMPT)).session_id)
    for field in ("ticket", "code"):
        await engine.create_variable(
            ME, session_id=s, role=field, example_field=field, reference=field == "code"
        )
    data = [{"ticket": f"ticket {n} " * 10, "code": "FIN"} for n in range(rows)]
    await engine.add_examples(ME, session_id=s, split="validation", examples=data)
    one = {"session_id": s, "examples": ["e1"]}
    await engine.forward(ME, operation="llm", system="v1", inputs={"ticket": "v2"}, **one)
    metric = {"kind": "metric", "metric": "exact_match", "inputs": {"output": "v4", "answer": "v3"}}
    await engine.compute_loss(ME, **metric, **one)
    return await engine.store.sessions.get(s, "local")


def lengthen(db: sqlite3.Connection, pk: int, steps: int, rows: int) -> None:
    """`steps` steps, each with its version and its refused proposals, and two evaluations."""

    def at(n: int) -> str:
        return (START + timedelta(seconds=n)).isoformat(timespec="milliseconds") + "Z"

    db.executemany(
        "INSERT INTO steps VALUES (?,?,?,?,0.5,?,'validation',500,?,0.01,0.02,0.4)",
        [
            (pk, n, n % EVERY == 0, "gain 0.01", None if n % EVERY else 0.6, at(n))
            for n in range(1, steps + 1)
        ],
    )
    db.executemany(
        "INSERT INTO proposals VALUES (?,?,?,1,1,?,'refused','no gain',NULL,0.4,0.5,'validation',"
        "500,'[]',?,'no gain beyond noise',0.1,0.1,0.5)",
        [
            (pk, CANDIDATES * n + k, n, PROMPT, at(n))
            for n in range(1, steps + 1)
            for k in range(CANDIDATES)
        ],
    )
    db.executemany(
        "INSERT INTO versions VALUES (?,1,?,?,'step',?,?)",
        [(pk, n + 1, f"{PROMPT} {n}", n, at(n)) for n in range(1, steps + 1)],
    )
    db.execute(
        "UPDATE variables SET version = ?, value = ? WHERE session = ? AND n = 1",
        (steps + 1, f"{PROMPT} {steps}", pk),
    )
    for n, version in ((1, 1), (2, steps + 1)):
        scores = {str(place): place * n % 7 / 7 for place in range(1, rows + 1)}
        db.execute(
            "INSERT INTO evaluations VALUES (?,?,5,'validation',?,0.5,0.01,?,?,?)",
            (pk, n, json.dumps({"v1": version}), rows, at(steps), json.dumps(scores)),
        )


def asked(steps: int, rows: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """The views that are timed, with their arguments."""
    sides = {"loss": "v5", "a": {"v1": 1}, "b": {"v1": steps + 1}}
    unread = {**sides, "b": {"v1": steps}}
    page = {"split": "validation", "offset": rows // 2, "limit": 60}
    return {
        "one step": ("step", {"step": steps // 2}),
        "one text": ("text", {"variable": "v1", "version": steps // 2}),
        "versions": ("versions", {}),
        "cost": ("cost", {}),
        "60 rows, after an evaluation": ("rows", sides | page),
        "60 rows from the middle": ("rows", sides | page),
        "60 rows that got worse": ("rows", sides | page | {"filter": "worse", "offset": 60}),
        "60 rows from the middle, no scores": ("rows", unread | page),
        "one example": ("example", sides | {"id": f"e{rows // 2}"}),
    }


async def timed(
    page: Page, session: Session, what: str, view: str, args: dict[str, Any], repeats: int = 0
) -> None:
    """Print the times of a view."""
    times, worked, found = [], [], {}
    for _ in range(repeats or OPTIONS.repeats):
        began, work = time.perf_counter(), time.process_time()
        found = await page.view(session, view, args)
        times.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - work) * 1000)
    size = len(json.dumps(found, ensure_ascii=False, separators=(",", ":"))) / 1000
    figures = [statistics.median(times), min(times), min(worked)]
    print(f"{what:40}{''.join(f'{one:8.1f}' for one in figures)} ms{size:8.1f} KB")


async def main() -> None:
    """Make the session, and ask for everything."""
    steps, rows = OPTIONS.steps, OPTIONS.rows
    with scratch() as folder:
        engine = await opened(Path(folder) / "page.db")
        session = await made(engine, rows)
        await engine.store.db.write(lambda db: lengthen(db, session.pk, steps, rows))
        session = await engine.store.sessions.get(session.id, "local")
        page = Page(Reader(engine.store, engine.settings, engine.parts.workers))
        await timed(page, session, "summary, after an evaluation", "summary", {}, 1)
        await timed(page, session, "summary", "summary", {})
        revision = (await page.view(session, "summary", {}))["revision"]
        await timed(page, session, "summary, nothing changed", "summary", {"since": revision})
        for what, (view, args) in asked(steps, rows).items():
            await timed(page, session, what, view, args, 1 if "after" in what else 0)
        await engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=9)
    OPTIONS = parser.parse_args()
    asyncio.run(main())
