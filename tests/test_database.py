"""One file, several processes, cancellations, bad files: nothing torn, nothing overwritten."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import aiosqlite
import pytest
from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.store.database import WAL_IS_SAFE, Database, Fault
from textgrad_mcp.engine.store.migrations import APPLICATION_ID, MIGRATIONS
from textgrad_mcp.schemas.errors import BadInput, StoreError

OPEN = """
import asyncio, pathlib, sys
from textgrad_mcp.engine.store import Store
async def main():
    store = Store(pathlib.Path(sys.argv[1]))
    await store.open()
    for _ in range(5):
        await store.create_session("local", "x")
    await store.close()
asyncio.run(main())
"""


async def opened(path: Path, fault: Fault | None = None) -> Database:
    database = Database(path, fault)
    await database.open()
    await database.write(session)
    return database


async def session(db: aiosqlite.Connection) -> None:
    await db.execute(
        "INSERT INTO sessions (pk, id, owner, title, created, updated) "
        "VALUES (1, 'x', 'local', '', '', '')"
    )


async def count(database: Database) -> int:
    async def job(db: aiosqlite.Connection) -> int:
        rows = await db.execute_fetchall("SELECT count(*) FROM attempts")
        return int(next(iter(rows))[0])

    return await database.read(job)


async def insert(db: aiosqlite.Connection, times: int = 1) -> None:
    for _ in range(times):
        await db.execute("INSERT INTO attempts VALUES (1, 0, 'x', 0, '', '')")


def test_jobs_that_wait_together_are_committed_together(tmp_path: Path) -> None:
    commits: list[str] = []

    async def main() -> None:
        database = await opened(tmp_path / "t.db", commits.append)
        commits.clear()
        await asyncio.gather(*(database.write(insert) for _ in range(50)))
        assert await count(database) == 50
        await database.close()

    asyncio.run(main())
    assert commits.count("after commit") <= 3


def test_a_job_that_fails_spoils_no_other(tmp_path: Path) -> None:
    async def bad(db: aiosqlite.Connection) -> None:
        await insert(db, 3)
        raise BadInput("no", "stop")

    async def main() -> None:
        database = await opened(tmp_path / "t.db")
        jobs = [database.write(bad if n % 3 == 0 else insert) for n in range(12)]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert sum(isinstance(one, BadInput) for one in outcomes) == 4
        assert await count(database) == 8
        with pytest.raises(BadInput):
            await database.write(bad)
        assert await count(database) == 8
        await database.close()

    asyncio.run(main())


def test_a_cancelled_caller_leaves_its_transaction_whole(tmp_path: Path) -> None:
    draw = random.Random(7)

    async def main() -> None:
        database = await opened(tmp_path / "t.db")
        tasks = [asyncio.create_task(database.write(lambda db: insert(db, 3))) for _ in range(200)]
        for task in draw.sample(tasks, 120):
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await count(database) % 3 == 0
        await database.close()

    asyncio.run(main())


def test_an_error_at_the_commit_reaches_every_caller_and_nothing_is_kept(tmp_path: Path) -> None:
    armed: list[str] = []

    def fault(point: str) -> None:
        if armed and point == "before commit":
            raise OSError("the disk went away")

    async def main() -> None:
        database = await opened(tmp_path / "t.db", fault)
        armed.append("now")
        jobs = [database.write(insert) for _ in range(3)]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert all(isinstance(one, StoreError) for one in outcomes)
        armed.clear()
        assert await count(database) == 0
        await database.write(insert)
        await database.close()

    asyncio.run(main())


def test_a_full_disk_is_said_and_the_database_stays_usable(tmp_path: Path) -> None:
    async def fill(db: aiosqlite.Connection) -> None:
        await db.execute("INSERT INTO attempts VALUES (1, 0, ?, 0, '', '')", ("x" * 2_000_000,))

    async def limit(db: aiosqlite.Connection) -> None:
        await db.execute("PRAGMA max_page_count = 100")

    async def main() -> None:
        database = await opened(tmp_path / "t.db")
        await database.read(limit)
        with pytest.raises(StoreError, match="disk is full"):
            await database.write(fill)
        await database.write(insert)
        assert await count(database) == 1
        await database.close()

    asyncio.run(main())


def test_the_settings_that_durability_needs_are_in_force(tmp_path: Path) -> None:
    async def pragma(database: Database, name: str) -> object:
        async def job(db: aiosqlite.Connection) -> object:
            return next(iter(await db.execute_fetchall(f"PRAGMA {name}")))[0]

        return await database.read(job)

    async def main() -> None:
        database = await opened(tmp_path / "t.db")
        assert await pragma(database, "synchronous") == 2
        assert await pragma(database, "foreign_keys") == 1
        assert await pragma(database, "journal_mode") == ("wal" if WAL_IS_SAFE else "persist")
        await database.write(insert)
        await database.close()

    asyncio.run(main())
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_eight_processes_may_start_at_once_on_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    command = [sys.executable, "-c", OPEN, str(path)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(8)]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM sessions").fetchone() == (40,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    db.close()


def refusal(path: Path) -> str:
    """What is said of a file that cannot be used; it must be left as it was."""
    before = path.read_bytes()

    async def main() -> str:
        store = Store(path)
        with pytest.raises(StoreError) as error:
            await store.open()
        return str(error.value)

    words = asyncio.run(main())
    assert path.read_bytes() == before
    assert str(path) in words
    return words


def test_a_zero_byte_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.touch()

    async def main() -> None:
        database = await opened(path)
        assert await count(database) == 0
        await database.close()

    asyncio.run(main())
    assert path.stat().st_size > 0


def test_another_programs_database_is_refused_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    assert "another program" in refusal(path)


def test_a_database_of_a_newer_version_is_refused_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE sessions (a)")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 999")
    db.close()
    assert "newer textgrad-mcp" in refusal(path)


def test_text_and_damaged_files_are_refused_unharmed(tmp_path: Path) -> None:
    text = tmp_path / "notes.db"
    text.write_text("these are my notes " * 500)
    assert "not a SQLite database" in refusal(text)
    whole = tmp_path / "whole.db"
    asyncio.run(_make(whole))
    cut = tmp_path / "cut.db"
    cut.write_bytes(whole.read_bytes()[:5000])
    assert "damaged" in refusal(cut)


async def _make(path: Path) -> None:
    database = await opened(path)
    await database.write(lambda db: insert(db, 2000))
    await database.close()
