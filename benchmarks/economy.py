"""Calls, prompt tokens, the largest prompt and wall time of one step, beside TextGrad's."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from os.path import commonprefix
from pathlib import Path
from typing import Any

import ours
import tasks
from harness import MEMORY_DISK, Endpoint, Row, endpoint, scratch, spread, textgrad_steps, tokens
from ideal import chain, reachable

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
    def shared(self) -> float:
        """The share of the last step's prompts that an earlier prompt of it began with, too.

        That much an endpoint's prompt cache can save.
        """
        texts = ["".join(str(m["content"]) for m in seen["body"]["messages"]) for seen in self.sent]
        common = 0
        for index, text in enumerate(texts):
            before = (commonprefix([text, earlier]) for earlier in texts[:index])  # noqa: RUF071
            common += max(map(len, before), default=0)
        return common / sum(map(len, texts))

    @property
    def largest(self) -> int:
        """Prompt tokens of the last step's largest prompt."""
        return max(tokens(seen["body"]) for seen in self.sent)


async def _ours(
    at: Endpoint, shape: str, size: int, steps: int, exact: bool, disk: Path | None
) -> Side:
    side = Side()
    with scratch(disk) as folder:
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


def our_side(
    at: Endpoint,
    shape: str,
    size: int,
    steps: int = 2,
    *,
    exact: bool = False,
    disk: Path | None = None,
) -> Side:
    """Our steps; the first is a warm-up and is dropped. `disk` is where our files are."""
    side = asyncio.run(_ours(at, shape, size, steps, exact, disk))
    return Side(side.seconds[1:], side.sent)


def their_side(at: Endpoint, shape: str, size: int, steps: int = 1) -> Side:
    """TextGrad's steps; its imports and the request that opens its connection are not in them."""
    before = len(at.log()) + 1
    seconds = textgrad_steps(at.url, shape, size, steps)
    sent = at.log()[before:]
    return Side(seconds, sent[len(sent) * (steps - 1) // steps :])


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
        shared = f"{us.shared:.2f} (TextGrad {them.shared:.2f})"
        rows.append(Row("share of prompts that an earlier one begins with", "stated", shared))
        rows.append(Row("largest prompt, judge, N = 64", f"≤ {bound:,} (setting)", figure, met))
    return rows


def wall(
    sizes: tuple[int, ...],
    latency: float,
    sigma: float,
    steps: int,
    shapes: tuple[str, ...] = tasks.SHAPES,
) -> tuple[list[Row], str]:
    """The rows on wall time at this latency, and the table behind them."""
    lines = [
        "| program | N | TextGrad s | ours s | longest chain s | ours / chain | the same, files in "
        "memory | faster |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = []
    name = f"{latency * 1000:.0f} ms" if not sigma else f"log-normal, median {latency:g} s"
    for shape, size in CASES:
        if size not in sizes or shape not in shapes:
            continue
        # each on an endpoint of its own, so that all meet the same latencies in the same order
        with endpoint(latency, sigma) as at:
            them = their_side(at, shape, size)
        us, over = _beside_chain(shape, size, latency, sigma, steps, None)
        _, quick = _beside_chain(shape, size, latency, sigma, steps, MEMORY_DISK)
        faster = [statistics.median(them.seconds) / s for s in us.seconds]
        lines.append(
            f"| {shape} | {size} | {spread(them.seconds)} | {spread(us.seconds)} | "
            f"{statistics.median(us.seconds) / statistics.median(over):.2f} | {spread(over)} | "
            f"{spread(quick)} | {spread(faster, digits=1)} |"
        )
        print(lines[-1], flush=True)
        rows += _wall_rows(name, shape, size, over, faster)
    return rows, "\n".join(lines) + (_in_the_long_run(sigma) if sigma else "")


def _in_the_long_run(sigma: float) -> str:
    """What the few latencies of the measured steps are an example of."""
    found = reachable(16, sigma)
    return (
        "\n\nThe steps measured meet few latencies. Over 2,000 drawn steps (judge, N = 16; nothing "
        "but the calls), TextGrad's calls in a row take "
        f"{found['ours']:.1f} times as long as our longest chain on average. Were each group of "
        "eight asked about as soon as its own examples are judged, it would be "
        f"{found['early groups']:.1f}; without any call that writes feedback, "
        f"{found['no feedback calls']:.1f}."
    )


def _beside_chain(
    shape: str, size: int, latency: float, sigma: float, steps: int, disk: Path | None
) -> tuple[Side, list[float]]:
    """Our steps, and how many times as long as their longest chains they took."""
    with endpoint(latency, sigma) as at:
        us = our_side(at, shape, size, steps, disk=disk if disk and disk.exists() else None)
        bounds = chain(shape, size, len(at.log()), us.calls, latency, sigma, LIMIT)
    return us, [s / b for s, b in zip(us.seconds, bounds[1:], strict=True)]


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
