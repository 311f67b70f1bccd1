"""Processes that write calls into one database at once, and what must be true of it afterwards."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from textgrad_mcp.engine.answerers import Attempt
from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.store.budgets import Budgets
from textgrad_mcp.engine.store.calls import FREE, UNLIMITED
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Message, Purpose, Usage
from textgrad_mcp.schemas.database import PostgresAddress, located

FORK = multiprocessing.get_context("fork")
SECONDS = 110


@dataclass(frozen=True)
class Work:
    """What one process does: `calls` in each of `workers` tasks, on these sessions in turn."""

    url: str
    sessions: Sequence[int]
    calls: int
    workers: int = 4
    budgets: Budgets = UNLIMITED


def request(name: str) -> CompletionRequest:
    """A request that is nobody else's."""
    message = Message(role="user", content=name)
    return CompletionRequest(purpose=Purpose.FORWARD, about="v1", model="m", messages=(message,))


async def ask(store: Store, work: Work, name: str, session: int) -> bool:
    """Open a call and record its answer; False where there is no more room for it."""
    try:
        asked = request(name)
        n = await store.calls.open(session, asked, None, "endpoint", FREE, work.budgets)
    except Exception as error:
        if type(error).__name__ in ("QuotaExceeded", "BudgetExhausted"):
            return False
        raise
    said = Completion(text=f"to {name}", model="m", usage=Usage(prompt_tokens=3))
    await store.calls.record(session, n, said, [Attempt("ok")])
    return True


async def write_calls(process: int, work: Work) -> int:
    """Do the work; gives how many calls were made."""
    store = Store(address(work))
    await store.open()

    async def worker(w: int) -> int:
        made = 0
        for i in range(work.calls):
            session = work.sessions[(w + i) % len(work.sessions)]
            made += await ask(store, work, f"{process} {w} {i}", session)
        return made

    try:
        return sum(await asyncio.gather(*map(worker, range(work.workers))))
    finally:
        await store.close()


def address(work: Work) -> PostgresAddress:
    """Where the work is done."""
    found = located(work.url)
    assert isinstance(found, PostgresAddress)
    return found


Job = Callable[[int, Any], Coroutine[Any, Any, Any]]


def _run(job: Job, process: int, work: Any, results: Any) -> None:
    try:
        results.put((process, asyncio.run(job(process, work))))
    except BaseException as error:
        results.put((process, f"{type(error).__name__}: {error}"))
        raise


@contextmanager
def processes(job: Job, works: Sequence[Any]) -> Iterator[Callable[[], list[Any]]]:
    """Each work in a process of its own; gives a function that waits for what they return."""
    results = FORK.Queue()
    started = [
        FORK.Process(target=_run, args=(job, n, work, results)) for n, work in enumerate(works)
    ]

    def finished() -> list[Any]:
        found = dict(results.get(timeout=SECONDS) for _ in started)
        return [found[n] for n in range(len(works))]

    for process in started:
        process.start()
    try:
        yield finished
    finally:
        for process in started:
            process.join(1)
            process.kill()


TOTALS = """
SELECT s.pk, s.used_calls, s.used_tokens, count(c.n) AS calls, count(DISTINCT c.key) AS keys,
  coalesce(max(c.n), 0) AS last, count(*) FILTER (WHERE c.status = 'pending') AS pending,
  (SELECT count(*) FROM attempts a WHERE a.session = s.pk) AS attempts,
  (SELECT coalesce(sum(p.calls), 0) FROM spent p WHERE p.session = s.pk) AS spent
FROM sessions s LEFT JOIN calls c ON c.session = s.pk GROUP BY s.pk ORDER BY s.pk
"""


def check_totals(url: str) -> int:
    """Nothing is lost, doubled or left pending in any session; gives how many calls there are."""
    with psycopg.connect(url) as db:
        found = db.execute(TOTALS).fetchall()
    for pk, used, tokens, calls, keys, last, pending, attempts, spent in found:
        assert used == calls == keys == last == attempts == spent, f"session {pk}"
        assert tokens == 3 * calls
        assert pending == 0
    return sum(row[3] for row in found)
