"""Calls, prompt tokens, the largest prompt and wall time of one step, beside TextGrad's."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import ours
import tasks
from harness import Endpoint, Row, endpoint, scratch, spread, textgrad_steps, tokens
from ideal import chain

LIMIT = 16
CASES = [*((s, n) for s in ("judge", "metric", "two-stage") for n in tasks.SIZES), ("diamond", 1)]


@dataclass
class Side:
    """One side's steps: their wall times, and what the last one sent."""

    seconds: list[float] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Calls of the last step."""
        return len(self.sent)

    @property
    def tokens(self) -> int:
        """Prompt tokens of the last step."""
        return sum(tokens(seen["body"]) for seen in self.sent)

    @property
    def largest(self) -> int:
        """Prompt tokens of the last step's largest prompt."""
        return max(tokens(seen["body"]) for seen in self.sent)


async def _ours(at: Endpoint, shape: str, size: int, steps: int, exact: bool) -> Side:
    side = Side()
    with scratch() as folder:
        async with ours.connect(at.url, folder / "bench.db") as client:
            call = ours.Tools(client)
            session = await ours.start(call, shape, size)
            for _ in range(steps):
                before = len(at.log())
                started = time.perf_counter()
                await ours.one_step(call, session, shape, exact=exact)
                side.seconds.append(time.perf_counter() - started)
                side.sent = at.log()[before:]
    return side


def our_side(at: Endpoint, shape: str, size: int, steps: int = 2, *, exact: bool = False) -> Side:
    """Our steps; the first is a warm-up and is dropped."""
    side = asyncio.run(_ours(at, shape, size, steps, exact))
    return Side(side.seconds[1:], side.sent)


def their_side(at: Endpoint, shape: str, size: int, steps: int = 2) -> Side:
    """TextGrad's steps; the first is a warm-up and is dropped."""
    before = len(at.log())
    seconds = textgrad_steps(at.url, shape, size, steps)
    sent = at.log()[before:]
    return Side(seconds[1:], sent[len(sent) * (steps - 1) // steps :])


def counts(sizes: tuple[int, ...] = tasks.SIZES) -> tuple[list[Row], str]:
    """The rows on calls, tokens and the largest prompt; and the whole table behind them."""
    lines = [
        "| program | N | calls: TextGrad | ours | ratio | `exact` | prompt tokens: TextGrad | ours "
        "| ratio | largest prompt: TextGrad | ours |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    found: dict[tuple[str, int], tuple[Side, Side, Side]] = {}
    with endpoint() as at:
        for shape, size in CASES:
            if size not in sizes:
                continue
            them, us = their_side(at, shape, size), our_side(at, shape, size)
            exact = our_side(at, shape, size, exact=True)
            found[shape, size] = them, us, exact
            lines.append(
                f"| {shape} | {size} | {them.calls} | {us.calls} | {us.calls / them.calls:.3f} | "
                f"{exact.calls} | {them.tokens:,} | {us.tokens:,} | {us.tokens / them.tokens:.3f} "
                f"| {them.largest:,} | {us.largest:,} |"
            )
            print(lines[-1], flush=True)
    return _count_rows(found), "\n".join(lines)


def _count_rows(found: dict[tuple[str, int], tuple[Side, Side, Side]]) -> list[Row]:
    rows = []
    for shape, bar in (("judge", 0.55), ("metric", 0.40)):
        if (shape, 16) in found:
            them, us, _ = found[shape, 16]
            r = us.calls / them.calls
            rows.append(Row(f"calls, {shape}, N = 16", f"≤ {bar}", f"{r:.3f}", r <= bar))
    never = all(us.calls <= them.calls for them, us, _ in found.values())
    rows.append(Row("calls, every shape and N", "never more", "yes" if never else "no", never))
    never = all(exact.calls <= them.calls for them, _, exact in found.values())
    rows.append(Row("calls in `exact` mode", "never more", "yes" if never else "no", never))
    for size, bar in ((16, 0.40), (64, 0.30)):
        if ("judge", size) in found:
            them, us, _ = found["judge", size]
            r = us.tokens / them.tokens
            what = f"prompt tokens, judge, N = {size}"
            rows.append(Row(what, f"≤ {bar}", f"{r:.3f}", r <= bar))
    if ("judge", 64) in found:
        them, us, _ = found["judge", 64]
        bound = 6000
        figure = f"{us.largest:,} tokens (TextGrad {them.largest:,})"
        met = us.largest <= bound
        rows.append(Row("largest prompt, judge, N = 64", f"≤ {bound:,} (setting)", figure, met))
    return rows


def wall(sizes: tuple[int, ...], latency: float, sigma: float, steps: int) -> tuple[list[Row], str]:
    """The rows on wall time at this latency, and the table behind them."""
    lines = [
        "| program | N | TextGrad s | ours s | longest chain s | ours / chain | faster |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = []
    name = f"{latency * 1000:.0f} ms" if not sigma else f"log-normal, median {latency:g} s"
    for shape, size in CASES:
        if size not in sizes:
            continue
        # each on an endpoint of its own, so that both meet the same latencies in the same order
        with endpoint(latency, sigma) as at:
            them = their_side(at, shape, size, min(steps, 2))
        with endpoint(latency, sigma) as at:
            us = our_side(at, shape, size, steps)
            bounds = chain(shape, size, len(at.log()), us.calls, latency, sigma, LIMIT)
        over = [s / b for s, b in zip(us.seconds, bounds[1:], strict=True)]
        faster = [statistics.median(them.seconds) / s for s in us.seconds]
        lines.append(
            f"| {shape} | {size} | {spread(them.seconds)} | {spread(us.seconds)} | "
            f"{statistics.median(bounds[1:]):.2f} | {spread(over)} | {spread(faster, digits=1)} |"
        )
        print(lines[-1], flush=True)
        rows += _wall_rows(name, shape, size, over, faster)
    return rows, "\n".join(lines)


def _wall_rows(
    name: str, shape: str, size: int, over: list[float], faster: list[float]
) -> list[Row]:
    met = statistics.median(over) <= 1.15
    rows = [Row(f"wall, {name}, {shape}, N = {size}", "≤ 1.15 of the chain", spread(over), met)]
    if shape == "judge" and size == 16:
        met = statistics.median(faster) >= 12
        what = f"wall, {name}, {shape}, N = 16"
        rows.append(Row(what, "≥ 12 times TextGrad", spread(faster, digits=1), met))
    return rows
