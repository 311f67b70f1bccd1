"""Loading many examples: how long it takes, and the longest that the event loop stands still.

    python benchmarks/loading.py [--rows N] [--repeats N]

Needs the `data` extra. A pause is the longest time between two turns of a task that sleeps 2 ms.
Each form is loaded some times and the smallest of the longest pauses counts: what the loading
itself holds comes every time, what else the machine does comes now and then. The first line has no
loading at all.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
from harness import scratch
from pyarrow import parquet
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs import Caller
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.settings import Settings

ME = Caller()
BEAT = 0.002
SHEET = 50_000
"""Rows of the workbook, which is slow to write."""


async def longest_pause(work: Awaitable[object]) -> float:
    """Seconds that the loop stood still while `work` was done, at the longest."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(BEAT)
            longest = max(longest, time.perf_counter() - began - BEAT)

    watching = asyncio.create_task(watch())
    await work
    watching.cancel()
    return longest


def files(folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """The same rows in every form, as arguments of add_examples."""
    rows = [{"q": f"question {n}, and more", "a": str(n)} for n in range(count)]
    lines = "\n".join(map(json.dumps, rows))
    yield {"examples": rows}
    yield {"examples": lines}
    (folder / "lines.jsonl").write_text(lines)
    (folder / "list.json").write_text(json.dumps(rows))
    (folder / "wrapped.json").write_text(json.dumps({"data": rows}))
    table = "".join(f"{row['q']};{row['a']}\r\n" for row in rows)
    (folder / "table.csv").write_text(f"q;a\r\n{table}")
    (folder / "western.csv").write_bytes(f"q;größe\r\n{table}".encode("cp1252"))
    (folder / "long.jsonl").write_text(f'{{"q": {[0] * 300_000}}}\n' * 20)
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "table.parquet")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in [{"q": "q", "a": "a"}, *rows[:SHEET]]:
        sheet.append(list(row.values()))
    book.save(folder / "sheet.xlsx")
    gc.freeze()  # as the server does when it first imports what reads these files
    yield from ({"path": path.name} for path in sorted(folder.iterdir()))


async def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print("| what | rows | seconds | longest pause (ms) |\n|---|---|---|---|")
    idle = [await longest_pause(asyncio.sleep(5)) for _ in range(arguments.repeats)]
    print(f"| nothing | | 5.0 | {min(idle) * 1000:.0f} |", flush=True)
    with scratch() as folder:
        data = folder / "data"
        data.mkdir()
        for given in files(data, arguments.rows):
            await _measured(folder, data, given, arguments.repeats)


async def _measured(folder: Path, data: Path, given: dict[str, Any], repeats: int) -> None:
    pauses, seconds, added = [], [], 0
    for _ in range(repeats):
        store = Store(folder / "t.db")
        await store.open()
        engine = Engine(Settings(data_dir=data), store, {})
        session = (await engine.create_variable(ME, role="r", value="x")).session_id or ""
        load = engine.add_examples(ME, session_id=session, split="train", **given)
        began = time.perf_counter()
        pauses.append(await longest_pause(load))
        seconds.append(time.perf_counter() - began)
        added = (await store.split_sizes(1))["train"]
        await engine.close()
        for file in folder.glob("t.db*"):
            file.unlink()
    what = given.get("path") or f"the call ({type(given['examples']).__name__})"
    print(f"| {what} | {added:,} | {min(seconds):.1f} | {min(pauses) * 1000:.0f} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
