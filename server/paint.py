"""Words for a person: coloured on a terminal, plain in a pipe, and never able to drive either.

NO_COLOR turns colours off, FORCE_COLOR on, whatever the output is; NO_COLOR counts more.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TextIO

Style = Literal["bold", "dim", "red", "green", "yellow", "cyan"]
_CODES: dict[Style, int] = {
    "bold": 1,
    "dim": 2,
    "red": 31,
    "green": 32,
    "yellow": 33,
    "cyan": 36,
}
_DRIVING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_OURS = re.compile(r"(\x1b\[(?:0|[12]|3[1236])(?:;(?:[12]|3[1236]))*m)")
_CHANGES: dict[str, Style] = {"+": "green", "-": "red", "@": "cyan"}
Cell = str | tuple[str, Style]
"""A table's cell, or one with a style."""


def coloured(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether what is written to `stream` may hold colours."""
    found = os.environ if environ is None else environ
    if found.get("NO_COLOR"):
        return False
    if found.get("FORCE_COLOR"):
        return True
    return stream.isatty() and found.get("TERM") != "dumb"


class Paint:
    """Adds styles to words for one stream, or leaves them as they are."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.on = coloured(sys.stdout if stream is None else stream)

    def __call__(self, words: str, *styles: Style) -> str:
        """`words` in these styles."""
        if not self.on or not styles or not words:
            return words
        codes = ";".join(str(_CODES[style]) for style in styles)
        return f"\x1b[{codes}m{words}\x1b[0m"

    def changed(self, line: str) -> str:
        """A line of a unified diff, by what it says."""
        style = _CHANGES.get(line[:1])
        return self(line, style) if style else line

    def table(self, rows: Sequence[Sequence[Cell]], indent: str = "") -> list[str]:
        """Lines with the columns of `rows` below each other; the last column is not padded."""
        plain = [[cell if isinstance(cell, str) else cell[0] for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
        return [f"{indent}{self._row(row, widths)}".rstrip() for row in rows]

    def _row(self, row: Sequence[Cell], widths: Sequence[int]) -> str:
        cells = []
        for cell, width in zip(row, widths, strict=True):
            words, styles = (cell, ()) if isinstance(cell, str) else (cell[0], (cell[1],))
            cells.append(self(words, *styles) + " " * (width - len(words)))
        return "  ".join(cells)


def clean(text: str) -> str:
    """`text` without what could drive a terminal: control characters, reversed direction."""
    return _DRIVING.sub("\N{REPLACEMENT CHARACTER}", text)


def cleaned(value: Any) -> Any:
    """JSON data with every text in it clean."""
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return clean(value) if isinstance(value, str) else value


def styled(text: str) -> str:
    """`text` clean but for the styles that `Paint` adds."""
    parts = _OURS.split(text)
    return "".join(part if n % 2 else clean(part) for n, part in enumerate(parts))


def escaped(document: str) -> str:
    """A JSON document with what could drive a terminal spelt out, as JSON can."""
    return _DRIVING.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def one_line(text: str, most: int = 100) -> str:
    """`text` on one clean line of at most `most` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
