"""What a step reads does not grow with the steps before it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from textgrad_mcp.engine.engine import Engine

from ...helpers import ME, Scripted, an_engine
from ...row_copies import copy_first_row

HISTORY = {
    "calls": {"key": "'old ' || k.value"},
    "gradients": {"spent_by": "1 + k.value"},
    "proposals": {"step": "1 + k.value"},
    "steps": {},
    "evaluations": {},
    "runs": {},
}
"""The tables that grow with every step, and what else than the number differs in their rows."""


async def stepped(engine: Engine) -> str:
    """A session that has taken one step and one look at its test split."""
    s = (await engine.create_variable(ME, role="system prompt", value="Be short.")).session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    for split in ("train", "validation", "test"):
        rows = [{"q": f"{split} {n}"} for n in range(4)]
        await engine.add_examples(ME, session_id=s, split=split, examples=rows)
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    await engine.compute_loss(
        ME, session_id=s, kind="judge", instruction="Is it good?", inputs={"output": "v3"}
    )
    await engine.backward(ME, session_id=s)
    await engine.step(ME, session_id=s)
    await engine.evaluate(ME, session_id=s, split="test")
    return s


def _lengthen(db: sqlite3.Connection, session: int, times: int) -> None:
    """Copy the first row of each history so many times."""
    for table, changes in HISTORY.items():
        copy_first_row(db, table, session, times, changes)


async def _instructions(path: Path, times: int) -> int:
    """How many instructions SQLite runs (in hundreds) for a step that is gated and one that is
    not, in a session whose history was made so many rows longer."""
    count = 0

    def another() -> None:
        nonlocal count
        count += 1

    async with an_engine(Scripted(), path) as engine:
        s = await stepped(engine)
        session = await engine.store.sessions.get(s, "local")
        await engine.store.db.write(lambda db: _lengthen(db, session.pk, times))
        await engine.store.db.read(lambda db: db.set_progress_handler(another, 100), single=True)
        for accept in ("always", "if_better"):
            await engine.backward(ME, session_id=s)
            await engine.step(ME, session_id=s, accept=accept, memory=4)
        await engine.evaluate(ME, session_id=s, split="validation")
        await engine.store.db.read(lambda db: db.set_progress_handler(None, 0), single=True)
    return count


def test_a_step_reads_no_more_after_a_long_history(tmp_path: Path) -> None:
    short = asyncio.run(_instructions(tmp_path / "short.db", 40))
    long = asyncio.run(_instructions(tmp_path / "long.db", 4000))
    assert short > 50
    assert long < 1.3 * short
