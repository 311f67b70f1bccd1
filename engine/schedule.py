"""Runs the nodes of a DAG, each as soon as what it depends on is there.

Wall time is the longest chain, not the number of nodes. Iterative: depth costs no stack.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any, TypeVar

from ..schemas.errors import AnswererError, BudgetExhausted, Conflict, StoreError, TooLong

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

FATAL = (AnswererError, BudgetExhausted, Conflict, StoreError, TooLong)
"""Failures that the other nodes would only repeat: nothing new is started after one."""


SLICE = 0.01
"""After so many seconds of pure work, others have their turn."""


WIDE = 64
"""Nodes that are under way at once: each is a task with its texts, and what has no slot waits."""


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The items; others have their turn as often as it takes SLICE seconds to go through some."""
    since = time.monotonic()
    for item in items:
        yield item
        if time.monotonic() - since > SLICE:
            await asyncio.sleep(0)
            since = time.monotonic()


class NotYet(Exception):
    """Something needed has not been answered; it is recorded as pending."""


async def wavefront(
    graph: Mapping[K, Iterable[K]],
    compute: Callable[[K], Awaitable[None] | None],
    wide: int = WIDE,
) -> dict[K, BaseException]:
    """Compute every node of `graph` (node -> nodes it needs) whose needs succeeded, `wide` at once.

    `compute` does pure work at once and returns None, or returns what to await. A node that
    raises holds back only those that depend on it; after a FATAL error nothing new starts, but
    what is under way is waited for, so that no answer is lost. Gives what each failed node
    raised. Cancelled, it cancels what is under way.
    """
    consumers: dict[K, list[K]] = {node: [] for node in graph}
    missing: dict[K, int] = {}
    async for node, needs in in_turns(graph.items()):
        distinct = set(needs)
        missing[node] = len(distinct)
        for need in distinct:
            consumers[need].append(node)
    ready = deque(node for node, count in missing.items() if count == 0)
    running: dict[asyncio.Future[None], K] = {}
    ended: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    failed: dict[K, BaseException] = {}
    fatal = False
    since = time.monotonic()

    def finished(node: K) -> None:
        for user in consumers[node]:
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)

    try:
        while ready or running:
            while ready and not fatal and len(running) < wide:
                if time.monotonic() - since > SLICE:
                    await asyncio.sleep(0)
                    since = time.monotonic()
                node = ready.popleft()
                try:
                    work = compute(node)
                except Exception as error:  # noqa: BLE001 - returned to the caller, by node
                    failed[node] = error
                    fatal = isinstance(error, FATAL)
                    continue
                if work is None:
                    finished(node)
                else:
                    started = asyncio.ensure_future(work)
                    running[started] = node
                    started.add_done_callback(ended.put_nowait)
            if not running:
                break
            # A queue, where asyncio.wait would look at all that is running each time one ends.
            done = [await ended.get()]
            since = time.monotonic()
            done += [ended.get_nowait() for _ in range(ended.qsize())]
            for future in done:
                node = running.pop(future)
                raised = future.exception()
                if raised is None:
                    finished(node)
                else:
                    failed[node] = raised
                    fatal = fatal or isinstance(raised, FATAL)
    finally:
        for future in running:
            future.cancel()
        if running:
            await asyncio.gather(*running, return_exceptions=True)
    return failed


async def gather(jobs: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of independent jobs, in order, all run at once and all to their end.

    Raises what matters most among their failures.
    """
    results: dict[int, T] = {}

    async def one(index: int) -> None:
        results[index] = await jobs[index]

    try:
        raise_first(await wavefront({i: [] for i in range(len(jobs))}, one))
    finally:
        for job in jobs:
            job.close()  # those that were never started
    return [results[i] for i in range(len(jobs))]


def raise_first(failed: Mapping[K, BaseException]) -> None:
    """Raise what matters most among failures: real errors before NotYet, in node order."""
    errors = [e for e in failed.values() if not isinstance(e, NotYet)]
    fatal = [e for e in errors if isinstance(e, FATAL)]
    for error in [*fatal, *errors, *failed.values()]:
        raise error
