"""A small file that several processes edit and others read: one edit at a time, each whole."""

from __future__ import annotations

import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..schemas.errors import BadInput

WAIT_SECONDS, LOOK_SECONDS = 30.0, 0.01


@contextmanager
def alone_with(path: Path) -> Iterator[Path]:
    """Keep everybody else who asks from editing the file; gives its path, links followed.

    The lock is a file beside it, for the file itself is replaced. Raises BadInput.
    """
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = target.with_name(f".{target.name}.lock")
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _cannot(path, error) from None
    try:
        try:
            _wait_for(handle, path)
        except OSError as error:  # a file system without locks
            raise _cannot(path, error) from None
        yield target
    finally:
        os.close(handle)


def replace_whole(target: Path, text: str) -> None:
    """Give the file a new text; who reads it meanwhile finds the old one or the new, whole.

    Its mode and owner stay; a new file is for its owner alone. Raises BadInput.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        _like(target, draft)
        draft.replace(target)
    except OSError as error:
        raise _cannot(target, error) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _like(target: Path, draft: Path) -> None:
    """Give the draft the mode and the owner of what it will replace."""
    try:
        old, new = target.stat(), draft.stat()
    except FileNotFoundError:
        return
    if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.chown(draft, old.st_uid, old.st_gid)
    draft.chmod(stat.S_IMODE(old.st_mode))


def _wait_for(handle: int, path: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not _locked(handle):
        if time.monotonic() > deadline:
            raise BadInput(
                f"{path} has been edited by another process for {WAIT_SECONDS:.0f} seconds.",
                "End it, or try again.",
            )
        time.sleep(LOOK_SECONDS)


if sys.platform == "win32":
    import msvcrt

    def _locked(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _locked(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _cannot(path: Path, error: OSError) -> BadInput:
    return BadInput(
        f"{path} cannot be changed: {error.strerror or error}.",
        "Check the permissions of the file and of its directory.",
    )
