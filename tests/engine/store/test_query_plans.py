"""Every statement that the tools send to SQLite looks its rows up; none reads a whole table."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.views.page import Page
from textgrad_mcp.engine.views.replay import Reader

from ...helpers import ME, Scripted, an_engine, made

WALKS = {
    "max(n)": "the last entry of an index",
    " LIMIT ": "stops after a page",
    "variables_with_files": "a partial index: parameters bound to files",
    "variables_dirty": "a partial index: what is to be computed",
    "variables_on_examples": "a partial index: what is to be computed when the examples change",
    "runs_one_active": "a partial index of at most one",
    "calls_pending": "a partial index: what is being asked",
    "calls_unusable": "a partial index: replies that may be asked for afresh",
    "gradients_unspent": "a partial index: what the next step uses",
    "PRIMARY KEY": "spent: a row for each of seven purposes",
    "GROUP BY split": "counts a session's examples in an index",
    "variables_parameters": "a partial index: the parameters",
    "GROUP BY fate": "counts a session's proposals, for a report alone",
    "GROUP BY loss, split": "counts a session's evaluations, for a report alone",
    "AS best FROM steps": "counts a session's steps, for a report alone",
    "INSERT INTO sessions": "looks for rows of a session that is new and has none",
}
"""Where part of a key is enough, and why: by the words in the statement or in its plan."""


async def _whole_life(engine: Engine) -> None:
    """A session from its first variable to a revert, read in every way there is."""
    first = await engine.create_variable(ME, role="system prompt", value="Be short.")
    s = first.session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    for split in ("train", "validation", "test"):
        rows = [{"q": f"{split} {n}", "a": f"{n}"} for n in range(4)]
        await engine.add_examples(ME, session_id=s, split=split, examples=rows)
    inputs = {"q": "v2"}
    output = made(
        await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs=inputs)
    )
    await engine.compute_loss(
        ME, session_id=s, kind="judge", instruction="Is it good?", inputs={"output": output}
    )
    await engine.backward(ME, session_id=s, examples="train")
    await engine.step(ME, session_id=s, accept="if_better", candidates=2)
    await engine.backward(ME, session_id=s)
    await engine.step(ME, session_id=s)
    await engine.forward(ME, session_id=s)
    await engine.evaluate(ME, session_id=s, split="test")
    await engine.optimize(
        ME, session_id=s, strategy="gradient", steps=1, budget={"calls": 200, "tokens": 100_000}
    )
    await engine.revert(ME, session_id=s, variable="v1", version=1)
    await engine.inspect(ME)
    for what in (
        "session",
        "graph",
        "gradients",
        "steps",
        "examples",
        "runs",
        "calls",
        "report",
    ):
        await engine.inspect(ME, session_id=s, what=what)
    for id in ("v1", "v4", "v1@2", "c1", "e1"):  # noqa: A001
        await engine.inspect(ME, session_id=s, id=id)
    await engine.resume(ME, session_id=s)
    await engine.mend(ME, session_id=s, split="train", changes={"e1": {"q": "mended"}})
    for ids in (["e2", "test"], ["v5"], ["v1"]):
        await engine.remove(ME, session_id=s, ids=ids)
        await engine.remove(ME, session_id=s, ids=ids, confirm=True)
    await engine.inspect(ME, session_id=s, id="v1@1")
    await engine.store.runs.keep_alive("somebody", [(1, "r1")])
    await engine.store.runs.give_back("somebody")


async def _look(engine: Engine, session_id: str) -> None:
    """Every view of the page."""
    page = Page(Reader(engine.store, engine.settings, engine.parts.workers))
    session = await engine.store.sessions.get(session_id, "local")
    texts = {"loss": "v5", "split": "validation", "a": {"v1": 1}, "b": {"v1": 2}}
    asked: dict[str, dict[str, Any]] = {"step": {"step": 1}, "rows": texts}
    asked["text"] = {"variable": "v1", "version": 1}
    asked |= {"example": texts | {"id": "e5"}, "call": {"id": "c1"}}
    for view in page.views:
        await page.view(session, view, asked.get(view, {}))


async def _plans(path: Path) -> dict[str, list[str]]:
    """Every distinct statement of a session's life, with its plan."""
    heard: list[str] = []
    async with an_engine(Scripted(), path, session_budget={"calls": 10_000}) as engine:
        db = engine.store.db
        await db.read(lambda c: c.set_trace_callback(heard.append), single=True)
        await _whole_life(engine)
        await db.read(lambda c: c.set_trace_callback(None), single=True)
        return await db.read(lambda c: _explained(c, dict.fromkeys(heard)))


def _explained(db: sqlite3.Connection, statements: Iterable[str]) -> dict[str, list[str]]:
    return {
        statement: [
            str(row["detail"]) for row in db.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        ]
        for statement in statements
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement)
    }


def _reads_a_table(plan: str) -> bool:
    scanned = re.match(r"SCAN (\w+)", plan)
    # The recursive walks' own; a row for each loss and split; a page of runs; our tables.
    bounded = {"need", "down", "ends", "recent", "used", "CONSTANT", "sqlite_master"}
    return scanned is not None and "VIRTUAL TABLE" not in plan and scanned[1] not in bounded


def test_no_statement_reads_a_whole_table(tmp_path: Path) -> None:
    plans = asyncio.run(_plans(tmp_path / "t.db"))
    assert len({re.sub(r"[0-9]+|'[^']*'", "", statement) for statement in plans}) > 60
    assert not {s: p for s, lines in plans.items() for p in lines if _reads_a_table(p)}


def test_no_lookup_reads_all_that_a_session_has_ever_had(tmp_path: Path) -> None:
    plans = asyncio.run(_plans(tmp_path / "t.db"))
    by_session_alone = re.compile(r"SEARCH \w+ USING .*\(session=\?\)$")
    assert not {
        statement: plan
        for statement, lines in plans.items()
        for plan in lines
        if by_session_alone.match(plan) and not any(w in statement + plan for w in WALKS)
    }
