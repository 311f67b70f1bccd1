"""What a failure of the file means, in words, with its true cause where that can be found out."""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from pathlib import Path

from ...schemas.errors import StoreBusy, StoreError

ROOM = 64 * 1024
"""Bytes that must have room for a database to count as one that can be written."""
MEMORY = Path(":memory:")
"""In place of a path: a database without a file."""
Words = tuple[str, str]
"""What is the matter with the database, and what to do."""

_ELSEWHERE = "or name another file with --database"
_EXPLANATIONS: dict[str, Words] = {
    "SQLITE_NOTADB": ("is not a SQLite database", "Name another file with --database."),
    "SQLITE_CORRUPT": (
        "is damaged",
        "Put a backup in its place with `textgrad-mcp database restore BACKUP`, or recover what is "
        "left with `sqlite3 FILE .recover`.",
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
_MAY_BE_OBSTRUCTED = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")


def explain(error: Exception, path: Path) -> Exception:
    """What `error` means for the file at `path`, as a StoreError in words.

    Errors that do not come from the file are given back as they are.
    """
    if not isinstance(error, sqlite3.Error | OSError):
        return error
    if isinstance(error, OSError):
        what, next_step = obstacle(path) or (
            f"cannot be opened: {error.strerror}",
            f"Check the path and its permissions, {_ELSEWHERE}.",
        )
        return StoreError(f"The database {path} {what}. Nothing was overwritten.", next_step)
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    for prefix, words in _EXPLANATIONS.items():
        if name.startswith(prefix):
            found = obstacle(path) if prefix in _MAY_BE_OBSTRUCTED else None
            what, next_step = found or words
            kind = StoreBusy if prefix == "SQLITE_BUSY" else StoreError
            return kind(f"The database {path} {what}. Nothing was overwritten.", next_step)
    if str(error).startswith("no such table"):
        return StoreError(
            f"The database {path} has lost its tables: it was emptied, or something else was "
            "written into it.",
            f"Put a backup in its place with `textgrad-mcp database restore BACKUP`, {_ELSEWHERE}.",
        )
    return StoreError(
        f"The database {path} reported {name}. Nothing was overwritten.", "Call again."
    )


def obstacle(path: Path) -> Words | None:
    """What keeps the file at `path` from being written, found by trying; None if nothing does."""
    if path == MEMORY:
        return None
    folder = path.parent
    if not os.path.isdir(folder):
        return "has no folder: it was removed, or renamed", "Put the folder back and call again."
    if os.path.isdir(path):
        return "cannot be opened: it is a folder", "Name a file with --database."
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        if _is_mounted_read_only(folder):
            return _refused(folder, errno.EROFS)
        return (
            "is read-only: this user may not write it (its permissions, or a mark that forbids it)",
            f"Let the user who runs the server write it (chmod, chown), {_ELSEWHERE}.",
        )
    try:
        _try_to_write(folder)
    except OSError as error:
        return _refused(folder, error.errno or 0)
    return _too_large(path)


def _is_mounted_read_only(folder: Path) -> bool:
    if not hasattr(os, "statvfs"):
        return False
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _try_to_write(folder: Path) -> None:
    """Write a little into a new file beside the database, and remove it again."""
    probe = folder / f".textgrad-mcp-{secrets.token_hex(8)}"
    try:
        with probe.open("xb") as file:
            file.write(bytes(ROOM))
    finally:
        probe.unlink(missing_ok=True)


def _refused(folder: Path, number: int) -> Words:
    said: dict[int, Words] = {
        errno.ENOSPC: (
            "cannot grow: the disk is full",
            f"Free some space on the disk of {folder} and call again.",
        ),
        errno.EROFS: (
            f"is read-only: {folder} lies on a file system that is mounted read-only",
            f"Mount it writable, {_ELSEWHERE}.",
        ),
        errno.EACCES: (
            f"is read-only: no file can be made in {folder}, where SQLite keeps its journal",
            f"Let the user who runs the server write in that folder (chmod, chown), {_ELSEWHERE}.",
        ),
    }
    said[errno.EPERM] = said[errno.EACCES]
    quota = getattr(errno, "EDQUOT", None)
    if quota is not None:
        said[quota] = (
            "cannot grow: this user's quota on the disk is used up",
            f"Remove files of this user's from the disk of {folder}, or have the quota raised, "
            "and call again.",
        )
    why = os.strerror(number) if number else "the system does not say why"
    found = f"cannot be written: in {folder} no file can be written ({why})"
    return said.get(number, (found, f"Check that folder and its disk, {_ELSEWHERE}."))


def _too_large(path: Path) -> Words | None:
    """Whether the process may not make the file larger (`ulimit -f`)."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    size = path.stat().st_size if os.path.exists(path) else 0
    if limit == resource.RLIM_INFINITY or size + ROOM <= limit:
        return None
    return (
        f"cannot grow: this process may make no file larger than {limit:,} bytes",
        "Start the server with a higher limit (ulimit -f) and call again.",
    )
