"""Tables: rows as they were given, as text, or as a file, checked whole before any is used."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from ...schemas.errors import BadInput, StoreError
from .binary import binary_rows
from .encoding import decoded
from .json_rows import json_rows
from .lines import Lines, Text, TextInMemory
from .reading import Reading, Row, counted
from .separated import separated
from .source import opened
from .transcripts import conversations
from .values import texts

Given = Sequence[Any] | str
_AT_ONCE = 2
"""Tables that are read at the same time in a process."""
_IN_MEMORY = 8 << 20
"""Bytes of rows that wait in memory; more wait in a temporary file."""
_PIECE, _PIECE_CHARS = 10_000, 8 << 20
"""Rows, and characters of rows, that are handed on at a time."""
_FILE = re.compile(r"[^\s,;]{1,200}\.(?:csv|tsv|txt|jsonl?|ndjson|xlsx|parquet)(?:\.gz)?")
_SPACE = "\ufeff \t\r\n"


class Loaded:
    """Rows that have been read and checked: how many, with which fields, what is to be said."""

    def __init__(self) -> None:
        self.rows = 0
        self.fields: list[str] = []
        self.notes: list[str] = []
        self.uneven = 0
        self._kept: set[bytes] = set()
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")  # noqa: SIM115

    def fill(self, reading: Reading, rows: Iterator[Row], stopped: threading.Event) -> None:
        """Read and check all rows. Raises BadInput; ends early when it is stopped."""
        widths, names = Counter[int](), dict[str, None]()
        for fields in texts(reading, conversations(reading, counted(rows))):
            if stopped.is_set():
                return
            widths[len(fields)] += 1
            self._keep(fields)
            names |= dict.fromkeys(fields)
        self.rows, self.fields, self.notes = widths.total(), sorted(names), reading.said()
        self.uneven = self.rows - widths[len(names)]
        self._kept.clear()
        self._file.seek(0)

    def _keep(self, fields: dict[str, str]) -> None:
        """Keep a row that was not there before."""
        line = f"{json.dumps(fields)}\n"
        digest = hashlib.blake2b(line.encode(), digest_size=16).digest()
        if digest in self._kept:
            return
        self._kept.add(digest)
        try:
            self._file.write(line)
        except OSError as error:
            raise StoreError(
                f"The rows cannot be kept in a temporary file: {error.strerror}.",
                "Make room in the server's folder for temporary files, or give fewer rows.",
            ) from error

    async def pieces(self) -> AsyncIterator[list[dict[str, str]]]:
        """The rows in lists of limited size, so that not all are in memory at once."""
        while piece := await asyncio.to_thread(self._piece):
            yield piece

    def _piece(self) -> list[dict[str, str]]:
        piece: list[dict[str, str]] = []
        size = 0
        while len(piece) < _PIECE and size < _PIECE_CHARS and (line := self._file.readline()):
            piece.append(json.loads(line))
            size += len(line)
        return piece

    def close(self) -> None:
        """Let go of the temporary file."""
        self._file.close()


class Tables:
    """Reads rows; files only beneath the directory that the operator allowed, if any. A value
    has at most `most` characters."""

    def __init__(self, beneath: Path | None, most: int) -> None:
        self._beneath, self._most = beneath, most
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def read(self, given: Given | None, path: str | None) -> AsyncIterator[Loaded]:
        """The rows of a call, a text or a file. Raises BadInput, before any of them is used.

        The work is done in a thread, row by row, so that others have their turn meanwhile.
        """
        if (given is None) == (path is None):
            raise BadInput(
                "Give either examples or path.", "For example examples=[{'question': ...}]."
            )
        loaded, stopped = Loaded(), threading.Event()
        async with self._slots:
            work = asyncio.ensure_future(
                asyncio.to_thread(self._load, loaded, given, path, stopped)
            )
            try:
                await asyncio.shield(work)
                yield loaded
            finally:
                stopped.set()
                await asyncio.wait([work])
                loaded.close()

    def _load(
        self, loaded: Loaded, given: Given | None, path: str | None, stopped: threading.Event
    ) -> None:
        reading = Reading("examples" if path is None else repr(path), self._most)
        with ExitStack() as stack:
            try:
                rows = (
                    self._file_rows(reading, path or "", stack)
                    if given is None
                    else given_rows(reading, given)
                )
                loaded.fill(reading, rows, stopped)
            except UnicodeDecodeError as error:
                raise BadInput(
                    f"{reading.name} cannot be read as {error.encoding}: {error.reason}.",
                    "Save it as UTF-8 and load it again.",
                ) from error
            except OSError as error:
                raise BadInput(
                    f"{reading.name} cannot be read: {error.strerror}.", "Check the file."
                ) from error
        if not loaded.rows and not stopped.is_set():
            raise BadInput(f"There are no rows in {reading.name}.", _instead(given))

    def _file_rows(self, reading: Reading, path: str, stack: ExitStack) -> Iterator[Row]:
        file = stack.enter_context(opened(reading, path, self._beneath))
        found = binary_rows(reading, file)
        if found is not None:
            return found
        return text_rows(reading, stack.enter_context(decoded(reading, file)))


def _instead(given: Given | None) -> str:
    if isinstance(given, str) and _FILE.fullmatch(given.strip()):
        return f"If it is a file, give path={given.strip()!r}."
    return "Give a header line and rows, or JSON."


def given_rows(reading: Reading, given: Given) -> Iterator[Row]:
    """The rows of a call: rows as such, or a text of them. Raises BadInput."""
    if isinstance(given, str):
        yield from text_rows(reading, TextInMemory(given))
        return
    for number, row in enumerate(given, 1):
        if not isinstance(row, dict):
            raise BadInput(
                f"Row {number} of {reading.name} is not an object.",
                'Give rows such as {"question": "...", "answer": "..."}.',
            )
        yield number, row


def text_rows(reading: Reading, text: Text) -> Iterator[Row]:
    """The rows of a text: JSON, JSON Lines, or a table with a header line. Raises BadInput."""
    while (sign := text.read(1)) and sign in _SPACE:
        pass
    text.seek(0)
    if sign in ("[", "{"):
        return json_rows(reading, text)
    return separated(reading, Lines(reading, text))
