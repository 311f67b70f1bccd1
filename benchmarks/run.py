"""`make bench`: measures beside the TextGrad package and writes docs/benchmarks.md.

    python benchmarks/run.py [--quick] [--steps N]

Both sides call the same loopback endpoint with the same latency and the same scripted replies;
TextGrad runs in an environment of its own (.venv-bench). Every figure is a ratio within one run.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from economy import counts, wall
from harness import ROOT, Row, machine, table

HEAD = """# Benchmarks

`make bench` writes this page. TextGrad is the package from the registry in its own environment;
both sides call the same loopback endpoint with the same latency and the same scripted replies.
Tokens are counted as characters / 4. Brackets hold the lowest and the highest of the repetitions;
wall times are ratios within one run, on a machine that did other things, too.

{date}: {machine}.

## Against the bars

{rows}

## Calls and tokens of one step

{counts}

## Wall time of one step

{walls}

## Not measured yet

Latency of tools that need no model, cold start, memory, growth with the graph and the history,
concurrency, and kills at random points (tests cover kills and counts).
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes and no long tail")
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()
    sizes = (1, 4, 16) if arguments.quick else (1, 4, 16, 64)
    rows, counted = counts(sizes)
    walls: list[str] = []
    for latency, sigma, some in ((0.1, 0.0, sizes), (1.0, 0.6, (16,))):
        if sigma and arguments.quick:
            continue
        found, text = wall(some, latency, sigma, arguments.steps)
        rows += found
        walls.append(f"{_named(latency, sigma)}:\n\n{text}")
    _write(rows, counted, walls)


def _named(latency: float, sigma: float) -> str:
    if sigma:
        return f"A log-normal latency (median {latency:g} s, sigma {sigma:g})"
    return f"{latency * 1000:.0f} ms a call"


def _write(rows: list[Row], counted: str, walls: list[str]) -> None:
    text = HEAD.format(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=machine(),
        rows=table(rows),
        counts=counted,
        walls="\n\n".join(walls),
    )
    (ROOT / "docs" / "benchmarks.md").write_text(text, encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
