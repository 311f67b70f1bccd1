"""The file: transactions that stay whole, commits that are shared, files that are refused."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.store.backend import Chain
from textgrad_mcp.engine.store.connection import WAL_IS_SAFE
from textgrad_mcp.engine.store.database import Database
from textgrad_mcp.engine.store.migrations import APPLICATION_ID, MIGRATIONS
from textgrad_mcp.schemas.errors import StoreError


def insert(name: str) -> Callable[[sqlite3.Connection], None]:
    """A job that adds a session."""

    def job(db: sqlite3.Connection) -> None:
        sql = (
            "INSERT INTO sessions (id, owner, title, created, updated) VALUES (?, 'o', '', '', '')"
        )
        db.execute(sql, (name,))

    return job


def count(db: sqlite3.Connection) -> int:
    """How many sessions there are."""
    [row] = db.execute("SELECT count(*) FROM sessions").fetchall()
    return int(row[0])


def counted(path: Path) -> int:
    """How many sessions are on disk."""
    with sqlite3.connect(path) as db:
        return int(db.execute("SELECT count(*) FROM sessions").fetchone()[0])


def using(
    path: Path,
    main: Callable[[Database], Awaitable[None]],
    fault: Callable[[str], None] | None = None,
) -> None:
    """Run `main` with an open database."""

    async def run() -> None:
        database = Database(path, fault)
        await database.open()
        try:
            await main(database)
        finally:
            await database.close()

    asyncio.run(run())


@pytest.mark.requirement("shared-commits")
def test_writes_that_wait_together_are_committed_together(tmp_path: Path) -> None:
    commits: list[str] = []

    async def main(database: Database) -> None:
        await asyncio.gather(*(database.write(insert(f"s{n}")) for n in range(100)))
        assert await database.read(count) == 100
        assert commits.count("after commit") <= 3

    using(tmp_path / "t.db", main, commits.append)


@pytest.mark.requirement("on-disk")
def test_what_a_write_left_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    async def main(database: Database) -> None:
        for n in range(3):
            await database.write(insert(f"s{n}"))
            assert counted(database.path) == n + 1

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("whole-transactions")
def test_a_job_that_fails_does_not_spoil_those_beside_it(tmp_path: Path) -> None:
    async def main(database: Database) -> None:
        def half(db: sqlite3.Connection) -> None:
            insert("never")(db)
            raise ValueError("half way")

        names = ["a", "b", "b", "c"]
        jobs = [insert(n) for n in names[:2]] + [half] + [insert(n) for n in names[2:]]
        outcomes = await asyncio.gather(*map(database.write, jobs), return_exceptions=True)
        kinds = [type(o).__name__ for o in outcomes]
        assert kinds == ["NoneType", "NoneType", "ValueError", "StoreError", "NoneType"]
        found = await database.read(names_of)
        assert found == ["a", "b", "c"]

    using(tmp_path / "t.db", main)


class Held:
    """A fault that stops before the first commit until it is told to go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, point: str) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(10)


@pytest.mark.requirement("shared-commits")
def test_a_read_does_not_wait_for_the_commit_of_the_writes_beside_it(tmp_path: Path) -> None:
    held = Held()

    async def main(database: Database) -> None:
        writing = asyncio.create_task(database.write(insert("a")))
        reading = asyncio.create_task(database.read(count, single=True))
        assert await reading == 0
        assert not writing.done()
        held.go_on.set()
        await writing
        assert await database.read(count, single=True) == 1

    using(tmp_path / "t.db", main, held)


@pytest.mark.requirement("on-disk")
def test_a_chained_write_returns_before_its_commit_and_the_chain_waits_for_it(
    tmp_path: Path,
) -> None:
    held = Held()

    async def main(database: Database) -> None:
        chain = Chain()
        await database.write(insert("a"), join=chain)
        settling = asyncio.create_task(chain.settled())
        assert await asyncio.to_thread(held.reached.wait, 10)
        assert not settling.done()
        assert counted(database.path) == 0
        held.go_on.set()
        await settling
        assert counted(database.path) == 1

    using(tmp_path / "t.db", main, held)


@pytest.mark.requirement("shared-commits")
def test_chained_writes_that_follow_each_other_at_once_share_a_commit(tmp_path: Path) -> None:
    commits: list[str] = []

    async def main(database: Database) -> None:
        chain = Chain()
        for name in "abc":
            await database.write(insert(name), join=chain)
        await database.write(insert("d"), after=chain)
        assert counted(database.path) == 4
        assert commits == ["before commit", "after commit"]

    using(tmp_path / "t.db", main, commits.append)


@pytest.mark.requirement("whole-transactions")
def test_a_chain_reads_its_own_writes_before_they_are_on_disk_and_nobody_else_does(
    tmp_path: Path,
) -> None:
    async def main(database: Database) -> None:
        chain, other = Chain(), Chain()
        await database.write(insert("a"), join=chain)
        others = asyncio.create_task(database.read(count, single=True, join=other))
        assert await database.read(count, join=chain) == 1
        assert not others.done()
        assert counted(database.path) == 0
        await chain.settled()
        assert counted(database.path) == 1
        assert await others == 1

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("many-processes")
def test_a_chain_that_reads_and_then_writes_never_upgrades_a_transaction(tmp_path: Path) -> None:
    """Another process that writes meanwhile would have SQLite refuse that at once."""
    begun: list[str] = []

    async def main(database: Database) -> None:
        chain = Chain()
        await database.read(lambda db: db.set_trace_callback(begun.append))
        await database.read(count, join=chain)
        await database.write(insert("a"), join=chain)
        await chain.settled()
        await database.read(lambda db: db.set_trace_callback(None))
        inserted = next(n for n, sql in enumerate(begun) if "INSERT" in sql)
        starts = [sql for sql in begun[:inserted] if sql.startswith("BEGIN")]
        assert starts[-1] == "BEGIN IMMEDIATE"

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("commit-error")
def test_what_comes_after_a_lost_write_of_a_chain_is_refused_with_its_error(
    tmp_path: Path,
) -> None:
    failures = [28]

    def fault(_: str) -> None:
        if failures:
            raise OSError(failures.pop(), "No space left on device")

    async def main(database: Database) -> None:
        chain = Chain()
        await database.write(insert("lost"), join=chain)
        with pytest.raises(StoreError, match="No space left"):
            await chain.settled()
        with pytest.raises(StoreError, match="No space left"):
            await database.write(insert("later"), after=chain)
        await database.write(insert("another's"))
        assert await database.read(names_of) == ["another's"]

    using(tmp_path / "t.db", main, fault)


@pytest.mark.requirement("whole-transactions")
def test_a_chained_write_that_fails_tells_its_caller_and_does_not_spoil_the_chain(
    tmp_path: Path,
) -> None:
    async def main(database: Database) -> None:
        chain = Chain()
        await database.write(insert("a"), join=chain)
        with pytest.raises(StoreError):
            await database.write(insert("a"), join=chain)
        await database.write(insert("b"), after=chain)
        await chain.settled()
        assert await database.read(names_of) == ["a", "b"]

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("shared-commits")
def test_lazy_writes_go_with_the_next_one_before_it_and_not_with_reads(tmp_path: Path) -> None:
    commits: list[str] = []

    async def main(database: Database) -> None:
        lazy = [asyncio.create_task(database.write(insert(n), lazily=True)) for n in "ab"]
        assert await database.read(count, single=True) == 0
        await database.write(lambda db: insert(f"c after {count(db)}")(db))
        await asyncio.gather(*lazy)
        assert await database.read(names_of) == ["a", "b", "c after 2"]
        assert commits == ["before commit", "after commit"]

    using(tmp_path / "t.db", main, commits.append)


@pytest.mark.requirement("on-disk")
def test_lazy_writes_are_done_in_the_end_also_when_nothing_follows(tmp_path: Path) -> None:
    async def main(database: Database) -> None:
        await database.write(insert("by itself"), lazily=True)
        hurried = asyncio.create_task(database.write(insert("hurried"), lazily=True))
        await asyncio.sleep(0)
        database.hurry()
        await hurried
        last = asyncio.create_task(database.write(insert("at the end"), lazily=True))
        await asyncio.sleep(0)
        await database.close()
        await last

    using(tmp_path / "t.db", main)
    assert counted(tmp_path / "t.db") == 3


def names_of(db: sqlite3.Connection) -> list[str]:
    """The sessions' ids."""
    found = db.execute("SELECT id FROM sessions ORDER BY id").fetchall()
    return [str(r[0]) for r in found]


@pytest.mark.requirement("whole-transactions")
def test_a_job_that_fails_alone_leaves_nothing(tmp_path: Path) -> None:
    async def main(database: Database) -> None:
        def half(db: sqlite3.Connection) -> None:
            insert("never")(db)
            raise ValueError("half way")

        with pytest.raises(ValueError, match="half way"):
            await database.write(half)
        assert await database.read(count) == 0
        await database.write(insert("next"))
        assert counted(database.path) == 1

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("whole-transactions")
def test_a_cancelled_caller_leaves_its_transaction_whole(tmp_path: Path) -> None:
    async def main(database: Database) -> None:
        reached, go_on = threading.Event(), threading.Event()

        def two_parts(db: sqlite3.Connection) -> None:
            insert("first half")(db)
            reached.set()
            assert go_on.wait(10)
            insert("second half")(db)

        caller = asyncio.create_task(database.write(two_parts))
        assert await asyncio.to_thread(reached.wait, 10)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go_on.set()
        assert await database.read(count) == 2

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("whole-transactions")
def test_many_cancelled_callers_never_leave_half_of_a_transaction(tmp_path: Path) -> None:
    async def main(database: Database) -> None:
        def pair(db: sqlite3.Connection, n: int) -> None:
            insert(f"{n} a")(db)
            insert(f"{n} b")(db)

        for n in range(60):
            task = asyncio.create_task(database.write(lambda db, n=n: pair(db, n)))  # type: ignore[misc]
            for _ in range(n % 12):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        names = await database.read(names_of)
        assert len(names) % 2 == 0
        assert {n.removesuffix(" a") for n in names if n.endswith("a")} == {
            n.removesuffix(" b") for n in names if n.endswith("b")
        }

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("commit-error")
@pytest.mark.parametrize("point", ["before commit", "after commit"])
def test_a_failure_at_a_commit_boundary_tells_every_caller_and_the_next_write_works(
    tmp_path: Path, point: str
) -> None:
    failures = [point]

    def fault(where: str) -> None:
        if failures and where == failures[0]:
            failures.pop()
            raise OSError(28, "No space left on device")

    async def main(database: Database) -> None:
        jobs = [database.write(insert(f"s{n}")) for n in range(3)]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(o) for o in outcomes] == [StoreError] * 3
        assert counted(database.path) == (3 if point == "after commit" else 0)
        await database.write(insert("next"))

    using(tmp_path / "t.db", main, fault)


@pytest.mark.requirement("on-disk")
def test_the_journal_fits_the_version_of_sqlite_and_commits_are_synchronous(
    tmp_path: Path,
) -> None:
    async def main(database: Database) -> None:
        def pragmas(db: sqlite3.Connection) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys", "application_id")
            return [next(iter(db.execute(f"PRAGMA {n}").fetchall()))[0] for n in names]

        journal = "wal" if WAL_IS_SAFE else "persist"
        assert await database.read(pragmas) == [journal, 2, 1, APPLICATION_ID]

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("private-file")
def test_the_file_and_its_new_folder_are_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.db"

    async def main(database: Database) -> None:
        await database.write(insert("x"))
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    using(path, main)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE sessions (x)")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


def ours(path: Path) -> None:
    async def main(database: Database) -> None:
        await asyncio.gather(*(database.write(insert(f"s{n}" * 50)) for n in range(100)))

    using(path, main)


def corrupt(path: Path) -> None:
    ours(path)
    data = bytearray(path.read_bytes())
    data[1000:4096] = os.urandom(3096)
    path.write_bytes(data)


def truncated(path: Path) -> None:
    ours(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 100])


@pytest.mark.requirement("file-refused")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.write_bytes(b"These are my notes. " * 500), "not a SQLite database"),
        (lambda p: p.write_text("short"), "not a SQLite database"),
        (foreign, "another program"),
        (newer, "newer"),
        (corrupt, "damaged"),
        (truncated, "damaged"),
        (lambda p: p.mkdir(), "cannot be opened"),
    ],
    ids=["text", "short text", "foreign", "newer", "corrupt", "truncated", "folder"],
)
def test_a_file_that_cannot_be_used_is_refused_unharmed_with_its_path_named(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "t.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""

    async def main(database: Database) -> None:
        await database.read(count)
        await database.write(insert("x"))

    with pytest.raises(StoreError) as caught:
        using(path, main)
    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert caught.value.next
    if path.is_file():
        assert path.read_bytes() == before


@pytest.mark.requirement("file-refused")
def test_a_zero_byte_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "t.db").touch()
    ours(tmp_path / "t.db")
    assert counted(tmp_path / "t.db") == 100


@pytest.mark.requirement("file-refused")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    ours(path)
    path.chmod(0o400)
    with pytest.raises(StoreError, match=r"read-only|cannot be opened"):
        ours(path)


@pytest.mark.requirement("file-refused")
def test_a_write_to_a_read_only_connection_is_explained(tmp_path: Path) -> None:
    async def main(database: Database) -> None:
        def read_only(db: sqlite3.Connection) -> None:
            db.execute("PRAGMA query_only = ON")

        await database.read(read_only)
        with pytest.raises(StoreError, match="read-only"):
            await database.write(insert("x"))

    using(tmp_path / "t.db", main)


@pytest.mark.requirement("disk-full")
def test_a_full_disk_fails_the_write_and_keeps_what_was_there(tmp_path: Path) -> None:
    async def main(database: Database) -> None:
        await database.write(insert("kept"))

        def no_more(db: sqlite3.Connection) -> None:
            [row] = db.execute("PRAGMA page_count").fetchall()
            db.execute(f"PRAGMA max_page_count = {row[0]}").fetchall()

        await database.read(no_more)
        jobs = [database.write(insert(f"{n}" * 5000)) for n in range(20)]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert all(isinstance(o, StoreError) and "disk is full" in o.message for o in outcomes)
        assert await database.read(count) == 1

        def room(db: sqlite3.Connection) -> None:
            db.execute("PRAGMA max_page_count = 100000").fetchall()

        await database.read(room)
        await database.write(insert("again"))
        assert await database.read(count) == 2

    using(tmp_path / "t.db", main)


def _one_of_many(path: Path, name: str, together: object) -> None:
    together.wait()  # type: ignore[attr-defined]

    async def main(database: Database) -> None:
        for n in range(5):
            await database.write(insert(f"{name} {n}"))

    using(path, main)


@pytest.mark.requirement("many-processes")
def test_eight_processes_may_start_at_once_on_one_new_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(8)
    path = tmp_path / "t.db"
    processes = [
        context.Process(target=_one_of_many, args=(path, str(n), together)) for n in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [p.exitcode for p in processes] == [0] * 8
    assert counted(path) == 40
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@pytest.mark.requirement("migrations")
def test_a_file_of_the_first_schema_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as db:
        db.executescript(MIGRATIONS[0][1])
        db.execute(
            "INSERT INTO sessions (id, owner, title, created, updated) VALUES ('s','o','t','','')"
        )
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")

    async def main() -> None:
        store = Store(path)
        await store.open()
        session = await store.sessions.get("s", "o")
        assert session.title == "t"
        await store.close()

    asyncio.run(main())
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)


@pytest.mark.requirement("file-refused")
def test_a_closed_database_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        database = Database(tmp_path / "t.db")
        await database.open()
        await database.open()
        await database.close()
        await database.close()
        with pytest.raises(StoreError, match="not open"):
            await database.read(count)

    asyncio.run(main())
