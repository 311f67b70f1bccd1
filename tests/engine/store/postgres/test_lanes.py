"""Jobs of one session in one lane: in order, together, and each answerable for itself alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.store.dbapi import Connection
from textgrad_mcp.engine.store.postgres import database
from textgrad_mcp.engine.store.postgres.database import PostgresDatabase
from textgrad_mcp.schemas.database import PostgresAddress
from textgrad_mcp.schemas.errors import StoreError

from ....postgres_server import server, shared

pytestmark = pytest.mark.postgres
INSERT = "INSERT INTO removed VALUES (?, 'variables', ?, '{}', '')"


def using(main: Callable[[Store, int], Awaitable[None]]) -> None:
    """Run `main` with a store on the shared server and a session in it."""
    one = shared()
    name = one.lend()

    async def run() -> None:
        store = Store(PostgresAddress(one.url(name)))
        await store.open()
        try:
            await main(store, (await store.sessions.create("me", "title")).pk)
        finally:
            await store.close()

    asyncio.run(run())
    one.back(name)


def adds(session: int, n: int | None) -> Callable[[Connection], None]:
    """A job that adds a row, and does not wait for what comes of it."""
    return lambda db: db.later(INSERT, (session, n))


def numbers(db: Connection) -> list[int]:
    """The rows that were added."""
    return [r["n"] for r in db.execute("SELECT n FROM removed ORDER BY n").fetchall()]


@pytest.mark.requirement("whole-transactions")
def test_a_statement_that_fails_with_the_commit_is_its_own_jobs_alone() -> None:
    async def main(store: Store, session: int) -> None:
        jobs = [adds(session, n) for n in (1, 2, None, 3, 2, 4)]
        writes = [store.db.write(job, session=session) for job in jobs]
        found = await asyncio.gather(*writes, return_exceptions=True)
        assert [isinstance(one, StoreError) for one in found] == [0, 0, 1, 0, 1, 0]
        assert await store.db.read(numbers) == [1, 2, 3, 4]

    using(main)


def test_reads_of_a_session_are_answered_in_the_order_they_were_asked() -> None:
    async def main(store: Store, session: int) -> None:
        answered: list[int] = []

        async def read(n: int) -> None:
            answered.append(await store.db.read(lambda db: n, session=session, single=n % 3 > 0))

        for some in ([1, 2, 4, 5, 7], [0, 3, 6]):
            await asyncio.gather(*map(read, some))
        assert answered == [1, 2, 4, 5, 7, 0, 3, 6]

    using(main)


def test_a_read_writes_nothing_and_a_store_that_only_reads_refuses_to() -> None:
    async def main(store: Store, session: int) -> None:
        for single in (True, False):
            with pytest.raises(StoreError, match="read-only"):
                await store.db.read(lambda db: db.execute("DELETE FROM sessions"), single=single)
        await store.db.only_read()
        with pytest.raises(StoreError, match="only reads"):
            await store.sessions.create("me", "another")
        assert len(await store.maintenance.every_session()) == 1

    using(main)


@pytest.mark.requirement("fleet-unknown-commits")
def test_where_nobody_can_say_what_became_of_a_commit_it_is_said_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.5)
    with server() as own:
        url = own.url(own.database())
        away: list[str] = []

        def fault(point: str) -> None:
            if point == "before commit" and away:
                own.stop("immediate")

        async def main() -> None:
            db = PostgresDatabase(PostgresAddress(url), fault)
            await db.open()
            away.append("from now on")
            job: Any = lambda db: db.execute(  # noqa: E731
                "INSERT INTO shared_keys VALUES ('a', 'b')"
            )
            with pytest.raises(StoreError, match="lost during a commit"):
                await db.write(job)
            own.start()
            away.clear()
            assert (
                await db.read(lambda db: len(db.execute("SELECT 1 FROM shared_keys").fetchall()))
                == 0
            )
            await db.write(job)
            await db.close()

        asyncio.run(main())
