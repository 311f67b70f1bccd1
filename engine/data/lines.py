"""Text as it is read: piece by piece or line by line, from a file or from memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from ...schemas.errors import BadInput
from .reading import Reading

_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)?")


class Text(Protocol):
    """What rows are read from: a file's text, or one that was given."""

    def read(self, size: int, /) -> str:
        """At most so many characters; none at the end."""

    def readline(self, size: int, /) -> str:
        """At most so many characters, up to the end of the line."""

    def seek(self, place: int, /) -> int:
        """Go back to the start (0)."""


class TextInMemory:
    """A text in memory, read piece by piece; `io.StringIO` would first make a copy four times as
    large, and keep everybody waiting for it."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def read(self, size: int, /) -> str:
        """At most so many characters; none at the end."""
        piece = self._text[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def readline(self, size: int, /) -> str:
        """At most so many characters, up to the end of the line."""
        found = _LINE.match(self._text, self._at, self._at + size)
        piece = found[0] if found else ""
        self._at += len(piece)
        return piece

    def seek(self, place: int, /) -> int:
        """Go back to the start (0)."""
        self._at = place
        return place


class Lines:
    """The lines of a text with their ends, counted; none is longer than a row may be."""

    def __init__(self, reading: Reading, text: Text) -> None:
        self._reading, self._text = reading, text
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        most = self._reading.most_in_row
        line = self._text.readline(most + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > most:
            raise BadInput(
                f"Line {self.number} of {self._reading.name} has more than {most:,} characters.",
                "Is it a table? Give one row a line.",
            )
        return line
