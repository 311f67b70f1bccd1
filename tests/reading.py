"""Reads rows as `add_examples` does, without a session."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from textgrad_mcp.engine.data.tables import Given, Loaded, Tables

MOST = 1_000_000
Rows = list[dict[str, str]]


def read(
    given: Given | None = None,
    path: str | None = None,
    beneath: Path | None = None,
    most: int = MOST,
) -> tuple[Rows, Loaded]:
    """The rows, and what was found of them."""

    async def main() -> tuple[Rows, Loaded]:
        async with Tables(beneath, most).read(given, path) as loaded:
            return [row async for piece in loaded.pieces() for row in piece], loaded

    return asyncio.run(main())


def rows_of(given: Given) -> Rows:
    """The rows of a call."""
    return read(given)[0]


def notes_of(given: Given) -> str:
    """What is said of the rows of a call."""
    return "\n".join(read(given)[1].notes)


def in_file(folder: Path, name: str, content: str | bytes, codec: str = "utf-8") -> dict[str, Any]:
    """Arguments of `read` for a file with this content."""
    data = content if isinstance(content, bytes) else content.encode(codec)
    (folder / name).write_bytes(data)
    return {"path": name, "beneath": folder}
