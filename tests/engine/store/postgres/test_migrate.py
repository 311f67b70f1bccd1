"""The schema on a server: made by a command, checked by whoever opens it, one version apart."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from textgrad_mcp.engine.store import Store, connection, migrate
from textgrad_mcp.engine.store.migrations import MIGRATIONS
from textgrad_mcp.engine.store.postgres.dialect import schema_steps
from textgrad_mcp.schemas.database import PostgresAddress
from textgrad_mcp.schemas.errors import StoreError
from textgrad_mcp.server.cli.main import main

from ....postgres_server import Server, shared

pytestmark = pytest.mark.postgres
KNOWN = len(MIGRATIONS)


def opened(url: str) -> None:
    """Open a store there and close it again."""

    async def run() -> None:
        store = Store(PostgresAddress(url))
        await store.open()
        await store.ping()
        await store.close()

    asyncio.run(run())


def says(url: str, sql: str) -> list[tuple[object, ...]]:
    """What the server gives for a statement."""
    with psycopg.connect(url, autocommit=True) as db:
        cursor = db.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.mark.requirement("fleet-schema")
def test_a_new_database_is_refused_until_it_was_migrated_however_many_do_so() -> None:
    server = shared()
    url = server.url(server.empty())
    with pytest.raises(StoreError, match="no tables") as refused:
        opened(url)
    assert "database migrate" in refused.value.next
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(migrate, [PostgresAddress(url)] * 8))
    assert sorted(found) == [(0, KNOWN), *[(KNOWN, KNOWN)] * 7]
    opened(url)


@pytest.mark.requirement("fleet-schema")
def test_an_older_schema_is_refused_and_the_one_after_ours_is_not() -> None:
    server = shared()
    url = server.url(server.database())
    says(url, "UPDATE textgrad_schema SET version = version - 1, oldest = oldest - 1")
    with pytest.raises(StoreError, match="older schema"):
        opened(url)
    says(url, f"UPDATE textgrad_schema SET version = {KNOWN + 1}, oldest = {KNOWN}")
    opened(url)
    assert migrate(PostgresAddress(url)) == (KNOWN + 1, KNOWN + 1)
    says(url, f"UPDATE textgrad_schema SET version = {KNOWN + 2}, oldest = {KNOWN + 1}")
    with pytest.raises(StoreError, match="newer schema"):
        opened(url)


def test_a_database_of_another_program_is_left_as_it_is() -> None:
    server = shared()
    url = server.url(server.empty())
    says(url, "CREATE TABLE sessions (theirs TEXT)")
    with pytest.raises(StoreError, match="of another program"):
        migrate(PostgresAddress(url))
    assert says(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]


def test_both_databases_have_the_same_tables_and_columns(tmp_path: Path) -> None:
    connection.connect(tmp_path / "t.db").close()
    with closing(sqlite3.connect(tmp_path / "t.db")) as file:
        tables = [r[0] for r in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        mine = {(t, r[1]) for t in tables for r in file.execute(f"PRAGMA table_info({t})")}
        triggers = set(file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
        indexes = set(file.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%INDEX%'"))
    server = shared()
    url = server.url(server.database())
    there = says(
        url,
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name NOT IN ('textgrad_schema', 'last_commits')",
    )
    assert {tuple(map(str, one)) for one in there} - mine == {("attempts", "rowid")}
    assert mine <= {tuple(map(str, one)) for one in there}
    assert (
        set(says(url, "SELECT DISTINCT tgname FROM pg_trigger WHERE NOT tgisinternal")) == triggers
    )
    assert indexes <= set(says(url, "SELECT indexname FROM pg_indexes"))


def test_no_step_of_the_schema_is_left_in_the_words_of_sqlite() -> None:
    steps = [step for _, script in MIGRATIONS for step in schema_steps(script)]
    assert not [s for s in steps if re.search(r"ROWID\b|\bINTEGER|\bREAL\b|\bBLOB|; END$", s)]


def test_the_commands_work_on_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    server = shared()
    place = ["--database", server.url(server.empty())]
    assert main(["sessions", "list", *place]) == 2
    assert main(["database", "migrate", *place]) == 0
    assert f"has schema {KNOWN}" in capsys.readouterr().out
    assert main(["sessions", "list", *place]) == 0
    assert main(["database", "check", *place]) == 0
    assert main(["database", "backup", "x.db", *place]) == 2
    assert "pg_dump" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_said_to_be_so() -> None:
    server: Server = shared()
    nowhere = PostgresAddress(server.url("nowhere"))
    with pytest.raises(StoreError, match='"nowhere" does not exist') as refused:
        migrate(nowhere)
    assert "createdb" in refused.value.next
