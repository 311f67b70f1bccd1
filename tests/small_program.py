"""A small program in an engine, and the session as a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.results import (
    Result,
)

from .helpers import (
    ME,
    MEMORY,
    an_engine,
)

Document = dict[str, Any]
ROWS = [{"q": f"question {n}", "a": f"answer {n}"} for n in range(6)]


def run(main: Callable[[Engine], Awaitable[None]], path: Path = MEMORY, **more: Any) -> None:
    """Runs `main` with an engine whose models answer at once."""

    async def whole() -> None:
        async with an_engine(path=path, **more) as engine:
            await main(engine)

    asyncio.run(whole())


async def a_program(engine: Engine) -> str:
    """v1 prompt, v2 and v3 fields, v4 its output, v5 a judge; e1-e4 train, e5-e6 validation."""
    s = (await engine.create_variable(ME, role="prompt", value="Be brief.")).session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    await engine.add_examples(ME, session_id=s, split="train", examples=ROWS[:4])
    await engine.add_examples(ME, session_id=s, split="validation", examples=ROWS[4:])
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    await judged(engine, s)
    return s


async def judged(engine: Engine, s: str) -> Result:
    """One more judge of the program's output."""
    inputs = {"output": "v4", "answer": "v3"}
    return await engine.compute_loss(
        ME, session_id=s, kind="judge", inputs=inputs, instruction="Good?"
    )


async def document(store: Store, s: str) -> Document:
    """The session as a file, whenever it was last used."""
    session = await store.sessions.get(s, "local")
    found: Document = json.loads(json.dumps(await store.export.export_session(session.pk)))
    found["session"]["updated"] = ""
    return found


async def gone(engine: Engine, s: str, *ids: str) -> list[str]:
    """Takes these out; gives what was said about it."""
    return (await engine.remove(ME, session_id=s, ids=ids, confirm=True)).notes
