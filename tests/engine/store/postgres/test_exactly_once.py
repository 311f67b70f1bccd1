"""Eight processes on one database: nothing is lost, doubled or asked again, whatever happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.store.budgets import Budgets
from textgrad_mcp.engine.store.dbapi import Connection, Job
from textgrad_mcp.engine.store.postgres.database import PostgresDatabase
from textgrad_mcp.schemas.database import PostgresAddress
from textgrad_mcp.schemas.errors import QuotaExceeded
from textgrad_mcp.schemas.graph import Kind, Variable

from ....loopback_proxy import proxy
from ....many_writers import Work, check_totals, processes, write_calls
from ....postgres_server import Server, server, shared

pytestmark = pytest.mark.postgres
MANY, QUOTA = 8, 50_000


@pytest.fixture
def place() -> Iterator[tuple[Server, str]]:
    """The shared server, and a database of its own on it."""
    one = shared()
    name = one.lend()
    yield one, name
    one.back(name)


def sessions_of(url: str, many: int, owner: str = "me") -> list[int]:
    """New sessions of one owner."""

    async def main() -> list[int]:
        store = Store(PostgresAddress(url))
        await store.open()
        made = [await store.sessions.create(owner, "title") for _ in range(many)]
        await store.close()
        return [one.pk for one in made]

    return asyncio.run(main())


@pytest.mark.requirement("fleet-exactly-once")
@pytest.mark.parametrize("many", [MANY, 1], ids=["own sessions", "one session"])
def test_what_eight_processes_write_is_there_once(place: tuple[Server, str], many: int) -> None:
    url = place[0].url(place[1])
    made = sessions_of(url, many)
    works = [Work(url, made if many == 1 else [made[n]], 5) for n in range(MANY)]
    with processes(write_calls, works) as finished:
        assert finished() == [20] * MANY
    assert check_totals(url) == 160


def _reached(url: str, calls: int) -> None:
    """Wait until so many calls are answered."""
    with psycopg.connect(url, autocommit=True) as db:
        while True:
            found = db.execute("SELECT count(*) FROM calls WHERE status = 'answered'").fetchone()
            if found is not None and found[0] >= calls:
                return
            threading.Event().wait(0.02)


@pytest.mark.requirement("fleet-crash")
def test_a_server_that_crashes_three_times_loses_and_doubles_nothing() -> None:
    with server() as own:
        url = own.url(own.database())
        made = sessions_of(url, 4)
        works = [Work(url, made, 15) for _ in range(MANY)]
        with processes(write_calls, works) as finished:
            for calls in (60, 200, 340):
                _reached(url, calls)
                own.stop("immediate")
                own.start()
            assert finished() == [60] * MANY
        assert check_totals(url) == 480


@pytest.mark.requirement("fleet-unknown-commits")
def test_a_commit_whose_reply_is_lost_is_looked_up_and_never_repeated(
    place: tuple[Server, str],
) -> None:
    one, name = place
    made = sessions_of(one.url(name), 2)
    with proxy(one.port, every=7) as between:
        works = [Work(one.url(name, between.port), made, 6) for _ in range(MANY)]
        with processes(write_calls, works) as finished:
            assert finished() == [24] * MANY
        assert set(between.losses) == {"reply", "request", "late"}
    assert check_totals(one.url(name)) == 192


@pytest.mark.requirement("fleet-quotas")
def test_a_days_quota_is_used_up_to_the_last_call_and_no_further(place: tuple[Server, str]) -> None:
    url = place[0].url(place[1])
    made = sessions_of(url, MANY)
    budgets = Budgets({}, {}, owner="me", owner_calls=100)
    works = [Work(url, [pk], 5, budgets=budgets) for pk in made]
    with processes(write_calls, works) as finished:
        assert sum(finished()) == 100
    assert check_totals(url) == 100


@pytest.mark.requirement("fleet-quotas")
def test_a_sessions_budget_holds_over_all_processes(place: tuple[Server, str]) -> None:
    url = place[0].url(place[1])
    made = sessions_of(url, 1)
    works = [Work(url, made, 5, budgets=Budgets({}, {"calls": 50})) for _ in range(MANY)]
    with processes(write_calls, works) as finished:
        assert sum(finished()) == 50
    assert check_totals(url) == 50


async def _fill(process: int, work: tuple[str, int]) -> int:
    """Add parameters until there is no more room; gives how many."""
    store = Store(PostgresAddress(work[0]))
    store.db.quota_bytes, made = QUOTA, 0
    await store.open()
    leaf = Variable(id="", kind=Kind.CONSTANT, role="r", value="x" * 500, version=1)
    with suppress(QuotaExceeded):
        while made < QUOTA:
            await store.graph.add_leaf(work[1], leaf)
            made += 1
    await store.close()
    return made


@pytest.mark.requirement("fleet-quotas")
def test_an_owners_bytes_hold_over_all_sessions_and_processes(place: tuple[Server, str]) -> None:
    url = place[0].url(place[1])
    works = [(url, pk) for pk in sessions_of(url, MANY)]
    with processes(_fill, works) as finished:
        assert sum(finished()) > 0  # one that starts late may find no room
    with psycopg.connect(url) as db:
        [(used,)] = db.execute("SELECT sum(bytes) FROM sessions").fetchall()
    assert QUOTA - 1_500 < used <= QUOTA


async def _begin_many(process: int, url: str) -> int:
    store = Store(PostgresAddress(url))
    await store.open()
    made = 0
    for _ in range(5):
        try:
            await store.sessions.create("me", f"{process}", 19)
            made += 1
        except QuotaExceeded:
            break
    await store.close()
    return made


@pytest.mark.requirement("fleet-quotas")
def test_an_owner_has_as_many_sessions_as_allowed(place: tuple[Server, str]) -> None:
    url = place[0].url(place[1])
    with processes(_begin_many, [url] * MANY) as finished:
        assert sum(finished()) == 19


def test_transactions_that_lock_each_other_out_are_begun_again(place: tuple[Server, str]) -> None:
    url = place[0].url(place[1])
    both, met = sessions_of(url, 2), threading.Barrier(2)

    def crossing(order: list[int]) -> Job[int]:
        tried: list[int] = []

        def job(db: Connection) -> int:
            db.lock_sessions(order[:1])
            db.execute("SELECT 1")
            if not tried:
                met.wait(20)
            tried.append(1)
            db.lock_sessions(order[1:])
            sql = "UPDATE sessions SET test_reads = test_reads + 1 WHERE pk IN (?, ?)"
            return db.execute(sql, order).rowcount

        return job

    async def main() -> None:
        db = PostgresDatabase(PostgresAddress(url))
        await db.open()
        jobs = crossing(both), crossing(both[::-1])
        assert await asyncio.gather(*map(db.write, jobs)) == [2, 2]
        assert db.counts.retries == 1
        await db.close()

    asyncio.run(main())
    with psycopg.connect(url) as look:
        assert look.execute("SELECT test_reads FROM sessions").fetchall() == [(2,), (2,)]
