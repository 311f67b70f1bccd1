"""Loading many examples: how long it takes, and the longest that the event loop stands still.

    python benchmarks/loading.py [--rows N]

Needs the `data` extra. A pause is the longest time between two turns of a task that sleeps 2 ms: as
the clock has it, and as processor time of this process (which others on the machine do not add to).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
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


class Pauses:
    """Watches the loop: the longest pauses by the clock and in processor time, in seconds."""

    def __init__(self) -> None:
        self.clock = self.work = 0.0

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            clock, work = time.perf_counter(), time.process_time()
            await asyncio.sleep(BEAT)
            clock, work = time.perf_counter() - clock - BEAT, time.process_time() - work
            self.clock = max(self.clock, clock)
            self.work = max(self.work, min(work, clock))


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
    yield from ({"path": path.name} for path in sorted(folder.iterdir()))


async def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    count = parser.parse_args().rows
    print("| what | rows | seconds | longest pause, clock (ms) | in processor time (ms) |")
    print("|---|---|---|---|---|")
    with scratch() as folder:
        data = folder / "data"
        data.mkdir()
        for given in files(data, count):
            store = Store(folder / f"{len(list(folder.iterdir()))}.db")
            await store.open()
            engine = Engine(Settings(data_dir=data), store, {})
            try:
                await _measured(engine, given)
            finally:
                await engine.close()


async def _measured(engine: Engine, given: dict[str, Any]) -> None:
    session = (await engine.create_variable(ME, role="r", value="x")).session_id or ""
    pauses = Pauses()
    watch = asyncio.create_task(pauses.watch())
    began = time.perf_counter()
    added = await engine.add_examples(ME, session_id=session, split="train", **given)
    took = time.perf_counter() - began
    watch.cancel()
    what = given.get("path") or f"the call ({type(given['examples']).__name__})"
    print(
        f"| {what} | {added.added:,} | {took:.1f} | {pauses.clock * 1000:.0f} | "
        f"{pauses.work * 1000:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(main())
