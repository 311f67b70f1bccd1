"""A connection to the file: opening and checking it, its transactions, its failures in words.

Everything here is plain calls that block; database.py makes them on aiosqlite's thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ...schemas.errors import StoreBusy, StoreError
from .migrations import APPLICATION_ID, MIGRATIONS

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
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


@dataclass(frozen=True)
class Failed:
    """In place of a job's result: what it raised, in words where it came from the file."""

    error: Exception


def connect(path: Path) -> sqlite3.Connection:
    """Connect, check that the file is ours, migrate. Raises StoreError; overwrites nothing."""
    try:
        return _connect(path)
    except (sqlite3.Error, OSError, StoreError) as error:
        raise explain(error, path) from error


class Transactions:
    """An open file and at most one transaction. `fault` is called at each commit boundary."""

    def __init__(self, db: sqlite3.Connection, path: Path, fault: Fault) -> None:
        self._db = db
        self._path = path
        self._fault = fault
        self._wrote = False

    def look(self, jobs: Sequence[Job[object]]) -> list[object]:
        """What jobs of one statement find, each of which is a snapshot by itself."""
        return [self._look(job) for job in jobs]

    def _look(self, job: Job[object]) -> object:
        try:
            return _patiently(lambda: job(self._db))
        except Exception as error:  # noqa: BLE001 - handed to the caller whose job it is
            return Failed(explain(error, self._path))

    def run(self, jobs: Sequence[tuple[Job[object], bool]]) -> list[object]:
        """Run jobs, and whether each writes, in the open transaction or in a new one.

        A job that fails undoes only what it wrote itself. Raises when SQLite gives up the whole.
        """
        alone = len(jobs) == 1 and not self._db.in_transaction
        try:
            if not self._db.in_transaction:
                self._wrote = any(writes for _, writes in jobs)
                _patiently(lambda: _begin(self._db, writes=self._wrote))
            return [self._one(job, writes=writes, alone=alone) for job, writes in jobs]
        except BaseException:
            self.rollback()
            raise

    def commit(self) -> None:
        """What the transaction wrote is on disk when this returns; nothing of it if it raises."""
        try:
            if self._wrote:
                self._fault("before commit")
            _patiently(lambda: self._db.execute("COMMIT"))
        except BaseException:
            self.rollback()
            raise
        if self._wrote:
            self._fault("after commit")

    def rollback(self) -> None:
        """Undo the open transaction, if there is one."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _one(self, job: Job[object], *, writes: bool, alone: bool) -> object:
        db = self._db
        guarded = writes and not alone
        if guarded:
            db.execute("SAVEPOINT job")
        try:
            outcome = job(db)
        except Exception as error:  # handed to the caller whose job it is
            if not db.in_transaction:
                raise  # SQLite gave up the whole transaction (disk full): nobody's job stands
            if guarded:
                db.execute("ROLLBACK TO job")
            elif writes:
                db.execute("ROLLBACK")
                db.execute("BEGIN")
            outcome = Failed(explain(error, self._path))
        if guarded:
            db.execute("RELEASE job")
        return outcome


def _patiently(act: Callable[[], T]) -> T:
    """What `act` gives as soon as whoever holds the lock it needs lets go of it.

    SQLite itself looks again ever more seldom, in the end ten times a second: a process that
    commits one transaction after the other would keep others out for long. So it is set to give
    up soon, and asked again and again, which looks every few milliseconds.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorname.startswith("SQLITE_BUSY")


def _begin(db: sqlite3.Connection, *, writes: bool) -> None:
    """Begin a transaction with all the locks it needs until its commit."""
    db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    if writes:
        return
    try:
        db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error:
        db.execute("ROLLBACK")
        raise


def _connect(path: Path) -> sqlite3.Connection:
    if str(path) != ":memory:":
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its side files the mode of the main one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        # First of all, or simultaneous first starts collide on the journal mode.
        db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        db.execute("PRAGMA foreign_keys = ON")
        _check_ours(db, path)
        journal = "WAL" if WAL_IS_SAFE else "PERSIST"  # the fastest that is safe
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute("PRAGMA synchronous = FULL")
        # A large transaction would have to lock readers out before its commit.
        db.execute("PRAGMA cache_spill = OFF")
        _prepare(db)
        db.execute(f"PRAGMA busy_timeout = {LOOK_MS}")
    except BaseException:
        db.close()
        raise
    return db


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _check_ours(db: sqlite3.Connection, path: Path) -> None:
    [tables] = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and _pragma(db, "application_id") != APPLICATION_ID:
        raise StoreError(
            f"{path} is a database of another program; it was left as it is.",
            "Name another file with --database.",
        )
    version = _pragma(db, "user_version")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} was written by a newer textgrad-mcp (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); it was left as it is.",
            "Upgrade textgrad-mcp, or name another file with --database.",
        )


def _prepare(db: sqlite3.Connection) -> None:
    if _pragma(db, "user_version") == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        done = _pragma(db, "user_version")  # another process may have been first
        for _name, script in MIGRATIONS[done:]:
            for statement in script.split(";\n"):
                if statement.strip():
                    db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
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
