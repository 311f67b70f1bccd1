"""`make bench`: measures beside the TextGrad package and a bare server; writes docs/benchmarks.md.

    python benchmarks/run.py [--quick] [--steps N] [--kills N] [--only NAME ...]

Every figure is a ratio within one run. Each part is measured on its own and kept in
.bench.json, from which the page is written; `--only` measures some parts anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import economy
import growth
import kills
import overhead
import servers
import takeover
from harness import ROOT, Row, machine, table

KEPT = ROOT / ".bench.json"
Measured = tuple[list[Row], str]

HEAD = """# Benchmarks

`make bench` writes this page. TextGrad is the package from the registry in its own environment;
both sides call the same loopback endpoint with the same latency and the same scripted replies.
Tokens are counted as characters / 4. Brackets hold the lowest and the highest of the repetitions.
The machine did other things, too: read ratios, not seconds.

{machine}.

Where files are "in memory", the database was on a file system in memory, so that what the disk's
commits cost shows apart: every reply, and every change, is on disk before it is used.

## Against the bars

{rows}
"""

TITLES = {
    "counts": "Calls and tokens of one step",
    "wall": "Wall time of one step, 100 ms a call",
    "tail": "Wall time of one step, log-normal latency (median 1 s, sigma 0.6)",
    "tools": "Tools that need no model",
    "start": "Cold start",
    "memory": "Memory",
    "graphs": "Growth with the graph",
    "history": "Growth with the history",
    "crowd": "Many clients on one database",
    "kills": "Killed at random points",
    "takeover": "From the kill to the end",
    "profile": "Where our own time goes",
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes and no long tail")
    parser.add_argument("--steps", type=int, default=5, help="our steps in each wall time")
    parser.add_argument("--kills", type=int, default=100, help="how often to kill")
    parser.add_argument("--only", nargs="+", choices=list(TITLES), help="these parts alone")
    arguments = parser.parse_args()
    parts = _parts(arguments)
    for name in arguments.only or parts:
        rows, text = parts[name]()
        _keep(name, rows, text)
        _write()


def _parts(arguments: argparse.Namespace) -> dict[str, Callable[[], Measured]]:
    quick, steps = arguments.quick, arguments.steps
    sizes = (1, 4, 16) if quick else (1, 4, 16, 64)
    parts: dict[str, Callable[[], Measured]] = {
        "counts": lambda: economy.counts(sizes),
        "wall": lambda: economy.wall(sizes, 0.1, 0.0, steps),
        "tail": lambda: economy.wall((16,), 1.0, 0.6, steps, ("judge", "metric")),
        "tools": servers.latency,
        "start": servers.cold_start,
        "memory": servers.memory,
        "graphs": lambda: growth.graphs(growth.SIZES[:3] if quick else growth.SIZES),
        "history": growth.history,
        "crowd": servers.concurrency,
        "kills": lambda: kills.kills(arguments.kills),
        "takeover": takeover.takeover,
        "profile": overhead.overhead,
    }
    if quick and not arguments.only:
        del parts["tail"]
    return parts


def _kept() -> dict[str, Any]:
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def _keep(name: str, rows: list[Row], text: str) -> None:
    found = _kept()
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    found[name] = {"date": date, "rows": [asdict(row) for row in rows], "text": text}
    KEPT.write_text(json.dumps(found))


def _write() -> None:
    found = {name: part for name, part in _kept().items() if name in TITLES}
    ordered = [name for name in TITLES if name in found]
    rows = [Row(**row) for name in ordered for row in found[name]["rows"]]
    page = HEAD.format(machine=machine(), rows=table(rows))
    for name in (n for n in ordered if found[n]["text"].strip()):
        page += f"\n## {TITLES[name]}\n\nMeasured on {found[name]['date']}.\n\n"
        page += found[name]["text"].strip() + "\n"
    missing = [TITLES[name] for name in TITLES if name not in found]
    if missing:
        page += f"\nNot measured yet: {', '.join(missing)}.\n"
    notes = ROOT / "benchmarks" / "notes.md"
    if notes.exists():
        page += "\n" + notes.read_text(encoding="utf-8")
    (ROOT / "docs" / "benchmarks.md").write_text(page, encoding="utf-8")
    print(table(rows), flush=True)


if __name__ == "__main__":
    main()
