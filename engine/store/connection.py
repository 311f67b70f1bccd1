"""A connection to the file: opening and checking it, its transactions, its failures in words.

Everything here is plain calls that block; database.py makes them on aiosqlite's thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar
from weakref import ref

from ...schemas.errors import StoreError
from .backend import Failed
from .causes import MEMORY, explain
from .dbapi import Job
from .migrations import APPLICATION_ID, MIGRATIONS
from .presence import Exchanged, Presence, mark_of, set_foreign_log_aside

T = TypeVar("T")
Fault = Callable[[str], None]

BUSY_SECONDS, LOOK_MS = 30, 40
"""How long a lock is waited for, and for how long SQLite looks for it at a stretch."""
EXCHANGES = 5
"""How often a file may be exchanged while it is being opened."""
# A writer that resets the write-ahead log can corrupt it (3.7.0 to 3.51.2, with back-ports):
# https://www.sqlite.org/wal.html. Several processes on one file are our normal case.
WAL_IS_SAFE = (
    sqlite3.sqlite_version_info >= (3, 51, 3)
    or (3, 50, 7) <= sqlite3.sqlite_version_info < (3, 51, 0)
    or (3, 44, 6) <= sqlite3.sqlite_version_info < (3, 45, 0)
)


class Connected(sqlite3.Connection):
    """A connection that knows which file it has open, and can let go of what it was reading.

    A statement that is not read to its end keeps the file locked, also after an error.
    """

    presence: Presence | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unfit: tuple[type[Exception], ...] = (sqlite3.IntegrityError, OverflowError)
        self._reading: list[ref[sqlite3.Cursor]] = []

    def execute(self, *args: Any) -> sqlite3.Cursor:
        """Run one statement; a cursor that has rows is remembered, so that it can be ended."""
        cursor = super().execute(*args)
        if cursor.description is not None:
            self._reading.append(ref(cursor))
        return cursor

    def later(self, sql: str, args: Any = (), /) -> None:
        """Run one statement: at once, since nothing is gained by waiting."""
        self.execute(sql, args)

    def lock(self, name: str) -> None:
        """Nothing to do: who writes has the whole file to himself."""

    def lock_sessions(self, sessions: Sequence[int]) -> None:
        """Nothing to do: who writes has the whole file to himself."""

    def arrival(self, table: str) -> str:
        """Every table knows that order."""
        return "rowid"

    def overwrite_deleted(self) -> None:
        """What is deleted from now on is overwritten in the file."""
        self.execute("PRAGMA secure_delete = ON")

    def damage(self) -> list[str]:
        """What SQLite finds wrong with the file, in words."""
        found = [str(r[0]) for r in self.execute("PRAGMA integrity_check").fetchall()]
        problems = [] if found == ["ok"] else found
        for r in self.execute("PRAGMA foreign_key_check").fetchall():
            problems.append(f"row {r[1]} of {r[0]} belongs to no session")
        return problems

    def let_go(self) -> None:
        """End every statement that was not read to its end and is still held by somebody."""
        for held in self._reading:
            cursor = held()
            if cursor is not None:
                cursor.close()
        self._reading.clear()

    def check_presence(self) -> None:
        """Raise StoreError when the file that is open is no longer the one that is there."""
        if self.presence is not None:
            self.presence.check()

    def close(self) -> None:
        """Close the file. One that was moved away is left whole."""
        self.let_go()
        if self.presence is not None:
            if not self.presence.here:
                self.presence.secure(self)
            self.presence.close()
        super().close()


def connect(path: Path, *, fresh: bool = True) -> Connected:
    """Connect, check that the file is ours, migrate. Raises StoreError; overwrites nothing.

    A file that is missing or empty is made only when it may be a `fresh` one.
    """
    try:
        for _ in range(EXCHANGES):
            with suppress(Exchanged):
                return _connect(path, fresh=fresh)
        return _connect(path, fresh=fresh)
    except (sqlite3.Error, OSError, StoreError) as error:
        raise explain(error, path) from error


class Transactions:
    """An open file and at most one transaction. `fault` is called at each commit boundary."""

    def __init__(self, db: Connected, path: Path, fault: Fault) -> None:
        self._db = db
        self._path = path
        self._fault = fault
        self._wrote = False

    def look(self, jobs: Sequence[Job[object]]) -> list[object]:
        """What jobs of one statement find, each of which is a snapshot by itself."""
        try:
            self._check_presence()
        except StoreError as gone:
            return [Failed(gone)] * len(jobs)
        return [self._look(job) for job in jobs]

    def _look(self, job: Job[object]) -> object:
        try:
            return _patiently(lambda: job(self._db))
        except Exception as error:  # noqa: BLE001 - handed to the caller whose job it is
            return Failed(self._explained(error))
        finally:
            self._db.let_go()

    def run(self, jobs: Sequence[tuple[Job[object], bool]]) -> list[object]:
        """Run jobs, and whether each writes, in the open transaction or in a new one.

        A job that fails undoes only what it wrote itself. Raises when SQLite gives up the whole,
        and when the file is not there any more.
        """
        alone = len(jobs) == 1 and not self._db.in_transaction
        try:
            if not self._db.in_transaction:
                self._wrote = any(writes for _, writes in jobs)
                _patiently(lambda: _begin(self._db, writes=self._wrote))
                self._check_presence()
            return [self._one(job, writes=writes, alone=alone) for job, writes in jobs]
        except BaseException as error:
            self.rollback()
            if isinstance(error, sqlite3.Error):
                self._check_presence()  # then that is why
            raise

    def commit(self) -> None:
        """What the transaction wrote is on disk when this returns; nothing of it if it raises.

        The file is looked for before and after: what was committed to a file that is not there
        any more would be lost, so nobody is told that it was stored.
        """
        try:
            if self._wrote:
                self._fault("before commit")
                self._check_presence()
            _patiently(lambda: self._db.execute("COMMIT"))
        except BaseException:
            self.rollback()
            raise
        if self._wrote:
            self._check_presence()
            self._fault("after commit")

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error):
            try:
                self._db.check_presence()
            except StoreError as gone:
                return gone
        return explain(error, self._path)

    def _check_presence(self) -> None:
        try:
            self._db.check_presence()
        except StoreError:
            self.rollback()
            if self._db.presence is not None:
                self._db.presence.secure(self._db)
            raise

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
            outcome = Failed(self._explained(error))
        finally:
            db.let_go()
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


def _begin(db: Connected, *, writes: bool) -> None:
    """Begin a transaction with all the locks it needs until its commit."""
    db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    if writes:
        return
    try:
        db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error:
        db.execute("ROLLBACK")
        raise


def _connect(path: Path, *, fresh: bool) -> Connected:
    if path != MEMORY:
        _make_ready(path, fresh=fresh)
    opened = mark_of(path)
    db = sqlite3.connect(path, isolation_level=None, factory=Connected)
    try:
        db.row_factory = sqlite3.Row
        # First of all, or simultaneous first starts collide on the journal mode.
        db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        db.execute("PRAGMA foreign_keys = ON")
        _check_ours(db, path)
        journal = "WAL" if WAL_IS_SAFE else "PERSIST"  # the fastest that is safe
        [mode] = db.execute(f"PRAGMA journal_mode = {journal}").fetchone()
        db.execute("PRAGMA synchronous = FULL")
        # A large transaction would have to lock readers out before its commit.
        db.execute("PRAGMA cache_spill = OFF")
        _prepare(db)
        db.execute(f"PRAGMA busy_timeout = {LOOK_MS}")
        db.let_go()
        if path != MEMORY:
            db.presence = Presence(path, mode, opened)
    except BaseException:
        db.close()
        raise
    return db


def _make_ready(path: Path, *, fresh: bool) -> None:
    """See that there is a file, for its owner alone, that nothing of another file stands beside."""
    if not fresh and not (path.is_file() and path.stat().st_size):
        raise StoreError(
            f"The database {path} is not there any more, or it is empty.",
            "Put it back, or a backup in its place with `textgrad-mcp database restore BACKUP`, "
            "and call again; or start the server again to begin with a new one.",
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # SQLite gives its side files the mode of the main one. A file that is there is not opened
    # here: closing it would take this process's locks on it away.
    with suppress(FileExistsError):
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    set_foreign_log_aside(path)


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def schema_version(path: Path) -> int:
    """The version of the schema in a file. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            return _pragma(db, "user_version")
    except sqlite3.Error as error:
        raise explain(error, path) from error


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
