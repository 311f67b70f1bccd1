"""One SQLite file, many server processes: connection, transactions, failures.

Every transaction is a job on one queue, run by one task of ours. A caller that is cancelled
leaves its transaction whole, tasks cannot interleave inside one, and jobs that wait together
are committed together (each in its own savepoint), so a hundred replies cost a few commits.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from ...schemas.errors import StoreBusy, StoreError
from .migrations import APPLICATION_ID, MIGRATIONS

T = TypeVar("T")
Job = Callable[[aiosqlite.Connection], Awaitable[T]]
Fault = Callable[[str], None]

BUSY_SECONDS, LOOK_MS = 30, 40
"""How long a lock is waited for, and for how long SQLite looks for it at a stretch."""
# A writer that resets the write-ahead log can corrupt it (3.7.0 to 3.51.2, with back-ports):
# https://www.sqlite.org/wal.html. Several processes on one file are our normal case.
WAL_IS_SAFE = (
    sqlite3.sqlite_version_info >= (3, 51, 3)
    or (3, 50, 7) <= sqlite3.sqlite_version_info < (3, 51, 0)
    or (3, 44, 6) <= sqlite3.sqlite_version_info < (3, 45, 0)
)


PAUSE_SECONDS = 0.002
"""Between two transactions of a busy process, so that others come to write, too."""


@dataclass
class _Waiting:
    job: Job[Any]
    writes: bool
    single: bool
    result: asyncio.Future[Any]


class Database:
    """An open database. `fault` is called at each commit boundary (tests of durability use it)."""

    def __init__(self, path: Path, fault: Fault | None = None) -> None:
        self.path = path
        self._fault = fault or (lambda point: None)
        self._queue: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._connection: aiosqlite.Connection | None = None

    async def open(self) -> None:
        """Connect, check that the file is ours, migrate. Raises StoreError; overwrites nothing."""
        if self._connection is not None:
            return
        try:
            self._connection = await _connect(self.path)
            await _prepare(self._connection)
            await self._connection.execute(f"PRAGMA busy_timeout = {LOOK_MS}")
        except (sqlite3.Error, OSError, StoreError) as error:
            await self.close()
            raise explain(error, self.path) from error

    async def close(self) -> None:
        """Finish what is queued and let go of the file."""
        if self._worker is not None:
            await self._worker
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def ping(self) -> None:
        """Raise StoreError unless the file can be read."""

        async def job(connection: aiosqlite.Connection) -> None:
            await connection.execute_fetchall("SELECT 1 FROM sessions LIMIT 1")

        await self.read(job)

    async def read(self, job: Job[T], *, single: bool = False) -> T:
        """Run `job` on a consistent snapshot; with `single`, a job of one statement, which needs
        no transaction for that."""
        return await self._submit(job, writes=False, single=single)

    async def write(self, job: Job[T]) -> T:
        """Run `job` in a transaction; when this returns, what it wrote is on disk."""
        return await self._submit(job, writes=True)

    async def _submit(self, job: Job[T], *, writes: bool, single: bool = False) -> T:
        if self._connection is None:
            raise StoreError(
                f"The database {self.path} is not open.", "The server is closing: start it again."
            )
        waiting = _Waiting(job, writes, single, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain(self._connection))
        # Shielded: a cancelled caller must not cancel the future the worker will resolve.
        result: T = await asyncio.shield(waiting.result)
        return result

    async def _drain(self, connection: aiosqlite.Connection) -> None:
        while self._queue:
            batch = list(self._queue)
            self._queue.clear()
            try:
                if all(waiting.single for waiting in batch):
                    outcomes = [await self._look(connection, waiting) for waiting in batch]
                else:
                    outcomes = await self._transact(connection, batch)
            except Exception as error:  # noqa: BLE001 - every caller of the batch is told
                outcomes = [_Failed(explain(error, self.path))] * len(batch)
            _resolve(batch, outcomes)
            if self._queue and any(waiting.writes for waiting in batch):
                await asyncio.sleep(PAUSE_SECONDS)

    async def _look(self, connection: aiosqlite.Connection, waiting: _Waiting) -> object:
        """The outcome of one statement, which is a snapshot by itself."""
        try:
            return await _patiently(lambda: waiting.job(connection))
        except Exception as error:  # noqa: BLE001 - handed to the caller whose job it is
            return _Failed(explain(error, self.path))

    async def _transact(
        self, connection: aiosqlite.Connection, batch: list[_Waiting]
    ) -> list[object]:
        writers = sum(w.writes for w in batch)
        await _patiently(lambda: _begin(connection, writes=bool(writers)))
        outcomes: list[object] = []
        try:
            for waiting in batch:
                outcome = await self._one(connection, waiting, alone=len(batch) == 1)
                outcomes.append(outcome)
            if writers:
                self._fault("before commit")
            await _patiently(lambda: connection.execute("COMMIT"))
        except BaseException:
            if connection.in_transaction:
                await connection.execute("ROLLBACK")
            raise
        if writers:
            self._fault("after commit")
        return outcomes

    async def _one(
        self, connection: aiosqlite.Connection, waiting: _Waiting, *, alone: bool
    ) -> object:
        guarded = waiting.writes and not alone
        if guarded:
            await connection.execute("SAVEPOINT job")
        try:
            outcome = await waiting.job(connection)
        except Exception as error:  # handed to the caller whose job it is
            if not connection.in_transaction:
                raise  # SQLite gave up the whole transaction (disk full): nobody's job stands
            if guarded:
                await connection.execute("ROLLBACK TO job")
            elif waiting.writes:
                await connection.execute("ROLLBACK")
                await connection.execute("BEGIN")
            outcome = _Failed(explain(error, self.path))
        if guarded:
            await connection.execute("RELEASE job")
        return outcome


@dataclass
class _Failed:
    error: Exception


def _resolve(batch: list[_Waiting], outcomes: list[object]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.result.cancelled():
            continue
        if isinstance(outcome, _Failed):
            waiting.result.set_exception(outcome.error)
        else:
            waiting.result.set_result(outcome)
        waiting.result.exception()  # marks it as seen: the caller may be gone


async def _patiently(act: Callable[[], Awaitable[T]]) -> T:
    """What `act` gives as soon as whoever holds the lock it needs lets go of it.

    SQLite itself looks again ever more seldom, in the end ten times a second: a process that
    commits one transaction after the other would keep others out for long. So it is set to give
    up soon, and asked again and again, which looks every few milliseconds.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return await act()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise


async def _begin(connection: aiosqlite.Connection, *, writes: bool) -> None:
    """Begin a transaction with all the locks it needs until its commit."""
    await connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    if writes:
        return
    try:
        await connection.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1")
    except sqlite3.Error:
        await connection.execute("ROLLBACK")
        raise


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorname.startswith("SQLITE_BUSY")


async def _connect(path: Path) -> aiosqlite.Connection:
    if str(path) != ":memory:":
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its side files the mode of the main one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = await aiosqlite.connect(path, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        # First of all, or simultaneous first starts collide on the journal mode.
        await connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        await connection.execute("PRAGMA foreign_keys = ON")
        await _check_ours(connection, path)
        journal = "WAL" if WAL_IS_SAFE else "PERSIST"  # the fastest that is safe
        await connection.execute(f"PRAGMA journal_mode = {journal}")
        await connection.execute("PRAGMA synchronous = FULL")
        # A large transaction would have to lock readers out before its commit.
        await connection.execute("PRAGMA cache_spill = OFF")
    except BaseException:
        await connection.close()
        raise
    return connection


async def _pragma(connection: aiosqlite.Connection, name: str) -> int:
    rows = await connection.execute_fetchall(f"PRAGMA {name}")
    return int(next(iter(rows))[0])


async def _check_ours(connection: aiosqlite.Connection, path: Path) -> None:
    tables = await connection.execute_fetchall("SELECT count(*) FROM sqlite_master")
    application = await _pragma(connection, "application_id")
    if next(iter(tables))[0] and application != APPLICATION_ID:
        raise StoreError(
            f"{path} is a database of another program; it was left as it is.",
            "Name another file with --database.",
        )
    version = await _pragma(connection, "user_version")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} was written by a newer textgrad-mcp (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); it was left as it is.",
            "Upgrade textgrad-mcp, or name another file with --database.",
        )


async def _prepare(connection: aiosqlite.Connection) -> None:
    if await _pragma(connection, "user_version") == len(MIGRATIONS):
        return
    await connection.execute("BEGIN IMMEDIATE")
    try:
        done = await _pragma(connection, "user_version")  # another process may have been first
        for _name, script in MIGRATIONS[done:]:
            for statement in script.split(";\n"):
                if statement.strip():
                    await connection.execute(statement)
        await connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        await connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        await connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            await connection.execute("ROLLBACK")
        raise


_EXPLANATIONS = {
    "SQLITE_NOTADB": ("is not a SQLite database", "Name another file with --database."),
    "SQLITE_CORRUPT": (
        "is damaged",
        "Restore a backup, or recover what is left with `sqlite3 FILE .recover`.",
    ),
    "SQLITE_FULL": ("cannot grow: the disk is full", "Free some space and call again."),
    "SQLITE_READONLY": ("is read-only", "Make it writable, or name another with --database."),
    "SQLITE_CANTOPEN": ("cannot be opened", "Check the path and its permissions."),
    "SQLITE_BUSY": (
        "is locked by another process",
        "Call again in a moment; if it stays so, end the process that holds it.",
    ),
    "SQLITE_IOERR": ("cannot be read or written", "Check the disk and call again."),
}


def explain(error: Exception, path: Path) -> Exception:
    """What `error` means for the file at `path`, as a StoreError in words.

    Errors that do not come from the file are given back as they are.
    """
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    if isinstance(error, OSError):
        return StoreError(
            f"The database {path} cannot be opened: {error.strerror}.",
            "Check the path and its permissions, or name another file with --database.",
        )
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    for prefix, (what, next_step) in _EXPLANATIONS.items():
        if name.startswith(prefix):
            kind = StoreBusy if prefix == "SQLITE_BUSY" else StoreError
            return kind(f"The database {path} {what}. Nothing was overwritten.", next_step)
    return StoreError(
        f"The database {path} reported {name}. Nothing was overwritten.", "Call again."
    )
