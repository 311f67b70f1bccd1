"""The least time a step can take: its longest chain of calls, within the endpoint's limit."""

from __future__ import annotations

import heapq
import math
import random

GROUP = 8


def graph_of(shape: str, size: int) -> list[list[int]]:
    """The calls of one of our steps, in the order they are asked: for each, those it needs."""
    if shape == "diamond":
        return [[], [], [0], [1], [2, 3], [4], [5], [6], [7], [8], [8], [9], [10], [11, 12]]
    calls: list[list[int]] = []
    last: list[list[int]] = [[] for _ in range(size)]
    stages = {"judge": 2, "metric": 1, "two-stage": 3}[shape]
    for _ in range(stages):
        for example in range(size):
            calls.append(last[example])
            last[example] = [len(calls) - 1]
    done = [index for needs in last for index in needs]
    groups = math.ceil(size / GROUP)
    layers = 2 if shape == "two-stage" else 1
    for _ in range(layers):
        calls += [done for _ in range(groups)]
        done = list(range(len(calls) - groups, len(calls)))
    calls += [done for _ in range(layers)]
    return calls


def simulated(graph: list[list[int]], latencies: list[float], limit: int) -> float:
    """Seconds until the last call is done when each starts as soon as it may, `limit` at once.

    The n-th call that starts takes the n-th latency. No time goes by outside the calls.
    """
    missing = [len(needs) for needs in graph]
    users: list[list[int]] = [[] for _ in graph]
    for call, needs in enumerate(graph):
        for need in needs:
            users[need].append(call)
    ready = [call for call, count in enumerate(missing) if count == 0]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now, started = 0.0, 0
    while ready or running:
        while ready and len(running) < limit:
            heapq.heappush(running, (now + latencies[started], heapq.heappop(ready)))
            started += 1
        now, call = heapq.heappop(running)
        for user in users[call]:
            missing[user] -= 1
            if missing[user] == 0:
                heapq.heappush(ready, user)
    return now


def chain(
    shape: str, size: int, total: int, calls: int, latency: float, sigma: float, limit: int
) -> list[float]:
    """The least seconds of each step made, by the latencies that its own requests met.

    `total` requests were made in all, `calls` in each step; the first few built the program.
    """
    graph = graph_of(shape, size)
    if len(graph) != calls:
        raise RuntimeError(f"{shape} on {size}: {calls} calls where {len(graph)} were expected")
    steps = total // calls if shape != "diamond" else (total - 7 + 7) // calls
    first = total - calls * steps
    return [
        simulated(
            graph, [_latency(first + s * calls + i, latency, sigma) for i in range(calls)], limit
        )
        for s in range(steps)
    ]


def _latency(index: int, median: float, sigma: float) -> float:
    if not sigma:
        return median
    return random.Random(f"0:{index + 1}").lognormvariate(math.log(median), sigma)


def reachable(size: int, sigma: float, draws: int = 2000) -> dict[str, float]:
    """How many times as long as a chain TextGrad's calls take one after another, on average over
    drawn latencies: our chain, a chain whose groups do not wait for each other, and one that does
    without the calls that write feedback."""
    rng = random.Random(0)
    limit = size  # all examples at once, as with the default limit and 16 examples
    early = _early(size)
    bare = [*graph_of("judge", size)[: 2 * size], list(range(size, 2 * size))]
    totals = {"theirs": 0.0, "ours": 0.0, "early groups": 0.0, "no feedback calls": 0.0}
    for _ in range(draws):
        times = [rng.lognormvariate(0.0, sigma) for _ in range(4 * size + 1)]
        totals["theirs"] += sum(times)
        totals["ours"] += simulated(graph_of("judge", size), times, limit)
        totals["early groups"] += simulated(early, times, limit)
        totals["no feedback calls"] += simulated(bare, times, limit)
    return {name: totals["theirs"] / total for name, total in totals.items() if name != "theirs"}


def _early(size: int) -> list[list[int]]:
    """The calls of a judge step whose groups are asked about as soon as their examples are done."""
    calls = graph_of("judge", size)
    judged = list(range(size, 2 * size))
    for group in range(math.ceil(size / GROUP)):
        calls[2 * size + group] = judged[group * GROUP : (group + 1) * GROUP]
    return calls
