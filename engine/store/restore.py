"""A backup in the place of a database, also while servers use it.

The backup is copied and checked beside the database; then, while nobody can write, the names are
exchanged. Every server sees before its next commit that its file is not the one of that name any
more, and opens the new one. What the database held is kept under another name.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ...schemas.errors import BadInput, Conflict, StoreError
from .causes import explain
from .connection import BUSY_SECONDS, Connected, connect
from .maintenance import problems_of, running
from .migrations import APPLICATION_ID

SIDES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Restored:
    """What came of it: how many sessions there are now, where the former content is kept (None
    if there was none), and in which sessions a run was stopped."""

    sessions: int
    kept: Path | None
    stopped: list[str]


def restore(path: Path, backup: Path, *, force: bool = False) -> Restored:
    """Put what is in the file `backup` in the place of the database at `path`.

    Raises BadInput for a backup that is not one, or not whole; Conflict when a run is under way
    and it is not told to `force` it; StoreError when the place cannot be written or is locked.
    In all these cases everything stays as it was.
    """
    real = Path(os.path.realpath(path))
    if not backup.is_file() or not os.access(backup, os.R_OK):
        raise BadInput(
            f"There is no backup {backup} that can be read.", "Name a file of `database backup`."
        )
    if real.exists() and real.samefile(backup):
        raise BadInput(f"{backup} is the database itself.", "Name a backup of it.")
    real.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = real.with_name(f"{real.name}.{secrets.token_hex(4)}")
    try:
        sessions = _draft(backup, draft)
        kept, stopped = _take_place(real, draft, force=force)
    except (sqlite3.Error, OSError) as error:
        raise explain(error, path) from error
    finally:
        draft.unlink(missing_ok=True)
    return Restored(sessions, kept, stopped)


def _draft(backup: Path, draft: Path) -> int:
    """Copy `backup` to `draft`, bring that up to date and check it; gives how many sessions."""
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"{backup.resolve().as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(draft)) as new,
        ):
            old.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            if old.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise _useless(backup, "it is no database of textgrad-mcp")
            old.backup(new)
        with closing(connect(draft, fresh=False)) as db:
            problems = problems_of(db)
            if problems:
                more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
                raise _useless(backup, f"it is not whole: {'; '.join(problems[:3])}{more}")
            db.let_go()
            # Nobody runs what the backup says is running: anybody may go on with it at once.
            db.execute("UPDATE runs SET owner = '', lease = 0 WHERE status = 'running'")
            db.execute("PRAGMA journal_mode = DELETE")
            return int(db.execute("SELECT count(*) FROM sessions").fetchone()[0])
    except sqlite3.Error as error:
        if error.sqlite_errorname.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise  # that is about the place, not about the backup
        raise _useless(backup, f"{error}") from error
    except StoreError as error:
        said = error.message.removesuffix(" Nothing was overwritten.")
        said = said.replace(f"The database {draft}", "it").replace(str(draft), "it")
        raise _useless(backup, said) from error
    finally:
        for side in SIDES:
            draft.with_name(draft.name + side).unlink(missing_ok=True)


def _useless(backup: Path, why: str) -> BadInput:
    return BadInput(
        f"{backup} cannot be restored; {why.rstrip('.')}. The database was left as it was.",
        "Name another backup.",
    )


def _take_place(real: Path, draft: Path, *, force: bool) -> tuple[Path | None, list[str]]:
    """Exchange the names; gives where the former file is kept, and whose runs it stopped."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    kept = real.with_name(f"{real.name}.before-restore-{stamp}")
    if not real.exists():
        _set_aside(real, kept)
        os.replace(draft, real)
        return None, []
    _own_alike(real, draft)
    try:
        with _held(real) as stopped:
            if stopped and not force:
                raise Conflict(
                    f"Runs are under way in {', '.join(stopped)}; what they do from now on would "
                    "be lost.",
                    "Wait until they have ended, cancel them (resume with cancel=true), or say "
                    "--force to stop them where they are.",
                )
            _exchange(real, draft, kept)
            return kept, stopped
    except sqlite3.DatabaseError as error:
        if not error.sqlite_errorname.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            raise
    _set_aside(real, kept)  # damaged: nobody can hold it, or write to it
    _exchange(real, draft, kept)
    return kept, []


@contextmanager
def _held(real: Path) -> Iterator[list[str]]:
    """Nobody writes to the file meanwhile. Gives the sessions that are being run.

    Raises sqlite3.DatabaseError, and BadInput for a file of another program.
    """
    with closing(
        sqlite3.connect(real, timeout=BUSY_SECONDS, isolation_level=None, factory=Connected)
    ) as db:
        db.row_factory = sqlite3.Row
        [tables] = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        [program] = db.execute("PRAGMA application_id").fetchone()
        if tables and program != APPLICATION_ID:
            raise BadInput(
                f"{real} is a database of another program; it was left as it is.",
                "Name another file with --database.",
            )
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # as far as others let us
        db.execute("BEGIN IMMEDIATE")
        try:
            yield running(db) if tables else []
        finally:
            db.execute("ROLLBACK")


def _exchange(real: Path, draft: Path, kept: Path) -> None:
    """Give `real` the other name `kept`, and its own to `draft`; it is never nobody's.

    Its log, if there still is anything in it, goes with the former file.
    """
    log = real.with_name(f"{real.name}-wal")
    try:
        os.link(real, kept)
        if log.exists() and log.stat().st_size:
            os.link(log, kept.with_name(f"{kept.name}-wal"))
    except (OSError, NotImplementedError):  # a file system without second names
        os.rename(real, kept)
        _set_aside(real, kept)
    os.replace(draft, real)
    for side in SIDES:
        real.with_name(real.name + side).unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(real.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _set_aside(real: Path, kept: Path) -> None:
    """Let what stands beside the former file go with it: SQLite would mix it into the new one."""
    for side in SIDES:
        with suppress(FileNotFoundError):
            real.with_name(real.name + side).replace(kept.with_name(kept.name + side))


def _own_alike(real: Path, draft: Path) -> None:
    """Let the draft be whose the database is: its servers must be able to write it."""
    found, made = real.stat(), draft.stat()
    if os.name == "posix" and (found.st_uid, found.st_gid) != (made.st_uid, made.st_gid):
        try:
            os.chown(draft, found.st_uid, found.st_gid)
        except PermissionError:
            raise StoreError(
                f"The database {real} belongs to another user, whose servers could not write what "
                "this user puts in its place. It was left as it was.",
                "Run this command as the user who runs the servers.",
            ) from None
    draft.chmod(found.st_mode & 0o777)
