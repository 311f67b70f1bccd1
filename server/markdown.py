"""Texts of others inside Markdown: readable, and nothing but text, whatever draws the page.

What a model wrote may have come out of a document that nobody trusts. A picture in it would be
fetched, and tell its address that it was read, as soon as a client shows the report.
"""

from __future__ import annotations

import re
import textwrap

from .paint import clean, one_line

WIDTH = 100
_MARKS = re.compile(r"[\\`*\[\]~|$]|(?<![^\W_])_|_(?![^\W_])")
_ENTITY = re.compile(r"&(?=[#\w])")
_START = re.compile(r"^(\d*)([-+=#>.)])(?=[-+=#>]*(?:\s|$)|(?<=>))")
# Many a renderer makes links of bare addresses, some of them after all escapes are undone.
_ADDRESSES = re.compile(
    r"(?<=/)(?=/)|(?<=www)(?=\.)|(?=@)|(?<=[^\W\d_]\.)(?=[^\W\d_]{2})", re.IGNORECASE
)
_APART = "\N{ZERO WIDTH SPACE}"
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


def inline(text: str, most: int = 400) -> str:
    """`text` on one line, within a paragraph, a heading or a table's cell."""
    line = _ENTITY.sub("&amp;", _ADDRESSES.sub(_APART, one_line(text, most))).replace("<", "&lt;")
    return _START.sub(r"\1\\\2", _MARKS.sub(r"\\\g<0>", line))


def block(text: str, indent: int = 0) -> list[str]:
    """`text` as a code block, to stand between empty lines; `indent` is that of the list item it
    stands in. Its lines are kept."""
    margin = " " * (indent + 4)
    return [f"{margin}{clean(line)}" for line in _LINE_ENDS.split(text)]


def paragraph(text: str, indent: int = 0) -> list[str]:
    """`text` as a code block of lines that are not too long to read; its own lines are joined."""
    lines = textwrap.wrap(" ".join(text.split()), WIDTH, break_on_hyphens=False) or [""]
    return block("\n".join(lines), indent)
