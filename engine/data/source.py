"""Files of rows, beneath the directory that the operator allowed and nowhere else."""

from __future__ import annotations

import difflib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from ...schemas.errors import BadInput
from .reading import MAX_BYTES, Reading, listed

_GZIP = b"\x1f\x8b"
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_NAMES = 1000
"""Files of a folder that are looked at for a name like the one that was asked for."""


@contextmanager
def opened(reading: Reading, path: str, beneath: Path | None) -> Iterator[BinaryIO]:
    """The file at `path`, unpacked if it is gzip; it can be read again from its start.

    Raises BadInput for what is not there, not a file, or too large.
    """
    found = _found(path, beneath)
    try:
        descriptor = os.open(found, _FLAGS)
    except OSError as error:
        raise BadInput(f"{path!r} cannot be read: {error.strerror}.", "Check the file.") from error
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise BadInput(f"{path!r} is not a regular file.", "Name a file.")
        if about.st_size > MAX_BYTES:
            raise too_large(reading)
        if file.peek(2)[:2] != _GZIP:
            yield file
            return
        reading.say(f"{reading.name} was unpacked (gzip).")
        with _unpacked(reading, file) as whole:
            yield whole


def too_large(reading: Reading) -> BadInput:
    """The refusal of more bytes than are read."""
    return BadInput(
        f"{reading.name} has more than {MAX_BYTES >> 20} MiB (unpacked).",
        "Split it, or give a sample: a step uses a handful of rows at a time.",
    )


@contextmanager
def _unpacked(reading: Reading, packed: BinaryIO) -> Iterator[BinaryIO]:
    limited = _Limited(reading, packed)
    try:
        yield cast(BinaryIO, io.BufferedReader(limited))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(
            f"{reading.name} is damaged: it cannot be unpacked to its end.", "Pack it again."
        ) from error


class _Limited(gzip.GzipFile):
    """Unpacked bytes, and no more of them than a file may have."""

    def __init__(self, reading: Reading, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self._reading = reading

    def read(self, size: int | None = -1) -> bytes:
        """As of any file. Raises BadInput beyond the limit."""
        data = super().read(size)
        if self.tell() > MAX_BYTES:
            raise too_large(self._reading)
        return data


def _found(path: str, beneath: Path | None) -> Path:
    if beneath is None:
        raise BadInput(
            "This server reads no files: the operator has allowed no directory.",
            "Give the rows in the call, or start the server with --data-dir DIR.",
        )
    root = beneath.resolve()
    try:
        found = (root / path).resolve()
        there = found.is_relative_to(root) and found.is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long, with a NUL, or a loop of links
        there = False
    if not there:
        raise BadInput(
            f"There is no file {path!r} beneath the data directory.",
            _instead(path, root) or "Give a path relative to it, such as 'train.jsonl'.",
        )
    return found


def _instead(path: str, root: Path) -> str:
    """The nearest names of files that are there, if the folder is."""
    try:
        folder = (root / path).resolve()
        folder = folder if folder.is_dir() else folder.parent
        if not folder.is_relative_to(root) or not folder.is_dir():
            return ""
        names = [p.relative_to(root).as_posix() for p in islice(folder.iterdir(), _NAMES)]
    except (OSError, ValueError, RuntimeError):
        return ""
    near = difflib.get_close_matches(path, names, n=3) or sorted(names)[:10]
    return f"There are: {listed(near)}." if near else ""
