"""Whether the file that is open is still the file that is there.

SQLite goes on writing into a file that was deleted, renamed or replaced, and all of it is lost with
the process. So every transaction looks at the names: the database's, and in write-ahead logging
those of the two side files that hold what the database does not hold yet.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from ...schemas.errors import StoreError

log = logging.getLogger(__name__)
Mark = tuple[int, int]
"""What tells files apart, whatever their names: device and number."""


class Exchanged(StoreError):
    """Raised where another file took the database's place while it was being opened."""


def mark_of(path: Path | str) -> Mark | None:
    """The mark of the file at `path`, links followed; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Presence:
    """The names of an open database, and the files they stood for when it was opened."""

    def __init__(self, path: Path, journal: str, opened: Mark | None) -> None:
        """`journal` is the journal mode in force, `opened` what `path` was when it was opened.

        Raises Exchanged if it is something else already.
        """
        real = Path(os.path.realpath(path))
        sides = ("-wal", "-shm") if journal == "wal" else ()
        self._path = path
        self._sides = [real.with_name(real.name + side) for side in sides]
        self._marks = {name: mark_of(name) for name in map(str, (path, *self._sides))}
        self._read_only = not os.access(path, os.W_OK)
        self._handle = _handle(path)
        if None in self._marks.values() or self._marks[str(path)] != opened:
            self.close()
            raise Exchanged(
                f"The database {path} was exchanged while it was opened.", "Call again."
            )

    @property
    def here(self) -> bool:
        """Whether every name still stands for the file that is open, and as it was opened."""
        unmoved = all(mark_of(name) == mark for name, mark in self._marks.items())
        return unmoved and not (self._read_only and os.access(self._path, os.W_OK))

    def check(self) -> None:
        """Raise StoreError, with where the data is and what to do, unless every name still stands
        for the file that is open."""
        if not self.here:
            raise StoreError(*self._words())

    def secure(self, db: sqlite3.Connection) -> None:
        """Put what only the open write-ahead log holds into the database file, wherever that is.

        The log is taken away then: beside another file it would be read as that one's.
        """
        moved = mark_of(self._path) != self._marks[str(self._path)]
        others = [s for s in self._sides if mark_of(s) not in (None, self._marks[str(s)])]
        if not self._sides or (others and not moved):
            return
        try:
            [busy, *_] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            for side in [] if busy else self._sides:
                if mark_of(side) == self._marks[str(side)]:
                    side.unlink(missing_ok=True)
        except (sqlite3.Error, OSError) as error:
            log.warning("what the log of %s held is not in the file: %s", self._path, error)

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _words(self) -> tuple[str, str]:
        path = self._path
        now = mark_of(path)
        unreachable = _unreachable(path)
        if unreachable:
            return (
                f"The database {path} cannot be reached any more ({unreachable}). Nothing of this "
                "call was stored.",
                "Check the permissions of its folders and its disk, and call again.",
            )
        if now is not None and now == self._marks[str(path)]:
            lost = [s.name for s in self._sides if mark_of(s) != self._marks[str(s)]]
            if not lost:
                return f"The database {path} was opened when it was read-only.", "Call again."
            return (
                f"{' and '.join(lost)}, which belong to the open database {path}, were deleted or "
                "exchanged. What they held was put into the database where that was still "
                "possible; this call's own changes are not counted as stored.",
                "Call again. Leave the files beside a database alone while servers use it.",
            )
        where, back = self._whereabouts()
        if now is not None:
            return (
                f"The database {path} is another file than the one that was open: it was replaced. "
                f"{where} Nothing of this call was stored in the new one.",
                "Call again: what is there now is used from then on.",
            )
        return (
            f"The database {path} is not there any more: it was deleted or moved away while it was "
            f"open. {where} Nothing of this call was stored under that name.",
            f"{back} put a backup there with `textgrad-mcp database restore BACKUP`. Then call "
            "again.",
        )

    def _whereabouts(self) -> tuple[str, str]:
        """Where the file that was open is now, as far as can be known, and how to begin to mend."""
        try:
            if self._handle is None:
                raise OSError
            found = os.readlink(f"/proc/self/fd/{self._handle}")
            kept = os.fstat(self._handle).st_nlink > 0
        except OSError:
            return "What was stored until now is in the file that was moved.", "Move it back, or"
        if kept and not found.endswith(" (deleted)"):
            return f"What was stored until now is in {found}.", "Move that file back, or"
        if kept:
            return "What was stored until now is kept under another name.", "Move it back, or"
        return (
            "What was stored until now has no name any more; for as long as this process runs it "
            f"can be copied from /proc/{os.getpid()}/fd/{self._handle}.",
            "Copy it back, or",
        )


def _unreachable(path: Path) -> str:
    """Why it cannot even be told whether there is a file; empty where it can."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return error.strerror or "the system does not say why"
    return ""


def _handle(path: Path) -> int | None:
    """A hold on the file that tells its names, and that no lock is lost with when it is closed."""
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, AttributeError):  # only Linux has such
        return None


def set_foreign_log_aside(path: Path) -> None:
    """Move a write-ahead log away that another file has left under the name of this one's.

    A copy made by `database backup` has never had a log: what stands beside one that was put in
    the place of an open database is that database's, and SQLite would mix the two.
    """
    real = Path(os.path.realpath(path))
    log = real.with_name(f"{real.name}-wal")
    if _size(log) == 0 or _size(real) == 0:
        return
    with real.open("rb") as file:
        versions = file.read(20)[18:]
    if versions == _NO_LOG:
        log.replace(log.with_name(f"{log.name}.of-another-file"))
        log.with_name(f"{real.name}-shm").unlink(missing_ok=True)


_NO_LOG = b"\x01\x01"  # the file format's read and write version, where no log is in use


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
