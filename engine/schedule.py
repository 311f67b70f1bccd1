"""Runs the nodes of a DAG, each as soon as what it depends on is there.

Wall time is the longest chain, not the number of nodes. Iterative: depth costs no stack.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ..schemas.errors import AnswererError, BudgetExhausted, Conflict, StoreError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

FATAL = (AnswererError, BudgetExhausted, Conflict, StoreError)
"""Failures that the other nodes would only repeat: nothing new is started after one."""


TURN = 500
"""After so many nodes of pure work, others have their turn."""


class NotYet(Exception):
    """Something needed has not been answered; it is recorded as pending."""


async def wavefront(
    graph: Mapping[K, Iterable[K]], compute: Callable[[K], Awaitable[None] | None]
) -> dict[K, BaseException]:
    """Compute every node of `graph` (node -> nodes it needs) whose needs succeeded.

    `compute` does pure work at once and returns None, or returns what to await. A node that
    raises holds back only those that depend on it; after a FATAL error nothing new starts, but
    what is under way is waited for, so that no answer is lost. Gives what each failed node
    raised. Cancelled, it cancels what is under way.
    """
    consumers: dict[K, list[K]] = {node: [] for node in graph}
    missing: dict[K, int] = {}
    for node, needs in graph.items():
        distinct = set(needs)
        missing[node] = len(distinct)
        for need in distinct:
            consumers[need].append(node)
    ready = deque(node for node, count in missing.items() if count == 0)
    running: dict[asyncio.Future[None], K] = {}
    ended: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    failed: dict[K, BaseException] = {}
    fatal = False
    pure = 0

    def finished(node: K) -> None:
        for user in consumers[node]:
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)

    try:
        while ready or running:
            while ready and not fatal:
                node = ready.popleft()
                try:
                    work = compute(node)
                except Exception as error:  # noqa: BLE001 - returned to the caller, by node
                    failed[node] = error
                    fatal = isinstance(error, FATAL)
                    continue
                if work is None:
                    finished(node)
                    pure += 1
                    if pure % TURN == 0:
                        await asyncio.sleep(0)
                else:
                    started = asyncio.ensure_future(work)
                    running[started] = node
                    started.add_done_callback(ended.put_nowait)
            if not running:
                break
            # A queue, where asyncio.wait would look at all that is running each time one ends.
            done = [await ended.get()]
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
