"""Rows out of JSON: objects one after the other, a list of them, or a list inside an object.

The text is read in pieces, a value at a time, so that neither memory nor a turn of the interpreter
grows with the file; what is refused is named with its line.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ...schemas.errors import BadInput
from .lines import Text
from .reading import Reading, Row, shown
from .separated import table
from .values import text_of
from .wrapped import ROWS, row_in, say_wrapped, unwrapped

_CHUNK = 1 << 16
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_NEAR_END = 16
"""Characters before the end of what was read, within which an error may be for want of more."""
_LONGEST = 4000
"""Digits of a whole number that Python is asked to read."""


def json_rows(reading: Reading, text: Text) -> Iterator[Row]:
    """The rows of a text that begins as JSON does. Raises BadInput with the line."""
    reading.noun = "line"
    values = _Values(reading, text)
    first = True
    while sign := values.peek():
        if sign == "[" and first:
            yield from _listed(reading, values)
        elif sign == "{" and first:
            yield from _first(reading, values)
        elif sign == "{":
            yield values.line, _object(reading, values)
        elif sign == "," and not first:
            values.skip()
        else:
            raise BadInput(
                f"Line {values.line} of {reading.name} does not begin with a JSON object.", ROWS
            )
        first = False


class _TooLong(Exception):
    """A value that is longer than a row may be."""


class _Values:
    """The values of a text, and the signs between them."""

    def __init__(self, reading: Reading, text: Text) -> None:
        self._reading, self._text = reading, text
        self._read, self._at = "", 0
        self._line, self._counted = 1, 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_once, parse_int=_whole)

    @property
    def line(self) -> int:
        """The line that the next sign stands on."""
        self._line += self._read.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def peek(self) -> str:
        """The next sign, or nothing at the end."""
        while True:
            self._at = _SPACE.match(self._read, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._read):
                return self._read[self._at]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Go on behind the next sign."""
        self._at += 1

    def expect(self, signs: str) -> str:
        """The next sign, which is one of `signs`; go on behind it. Raises BadInput."""
        found = self.peek()
        if not found or found not in signs:
            raise self._invalid(self.line, f"expecting {' or '.join(map(repr, signs))}", self._at)
        self.skip()
        return found

    def value(self) -> Any:
        """The next value. Raises BadInput, and _TooLong where one row would be too long."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._read, self._at)
            except json.JSONDecodeError as error:
                short = error.pos >= len(self._read) - _NEAR_END or "Unterminated" in error.msg
                if short and self._longer():
                    continue
                raise self._invalid(self.line, error.msg, error.pos) from error
            except RecursionError as error:
                raise self._invalid(self.line, "nested too deeply", self._at) from error
            except ValueError as error:  # a field that stands twice
                raise self._invalid(self.line, str(error), self._at) from error
            if end == len(self._read) and self._longer():  # a number may go on
                continue
            self._at = end
            return value

    def _longer(self) -> bool:
        if len(self._read) - self._at > self._reading.most_in_row:
            raise _TooLong
        return self._more()

    def _more(self) -> bool:
        """Read as much again as there is unread; whether there was any."""
        piece = self._text.read(max(_CHUNK, len(self._read) - self._at))
        if not piece:
            return False
        self._line, self._counted = self.line, 0
        self._read, self._at = self._read[self._at :] + piece, 0
        return True

    def _invalid(self, begins: int, what: str, at: int) -> BadInput:
        line = begins + self._read.count("\n", self._at, at)
        where = "" if line == begins else f" on line {line}"
        return BadInput(
            f"Line {begins} of {self._reading.name} is not valid JSON: {what[:1].lower()}{what[1:]}"
            f"{where}.",
            "Mend it and call again: one JSON object a line, or a list of objects.",
        )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the field {shown(twice)} stands twice")
    return found


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) < _LONGEST else digits


def _first(reading: Reading, values: _Values) -> Iterator[Row]:
    """The first object: a row if others follow, else perhaps what rows are wrapped in."""
    line = values.line
    try:
        found = values.value()
    except _TooLong:
        yield from _long_wrapper(reading, values)
        return
    if values.peek():
        yield line, found
    else:
        yield from unwrapped(reading, line, found)


def _object(reading: Reading, values: _Values) -> Any:
    line = values.line
    try:
        return values.value()
    except _TooLong:
        raise _too_long(reading, line) from None


def _listed(reading: Reading, values: _Values) -> Iterator[Row]:
    """The rows of a list: objects, or lists of cells below one of names."""
    values.expect("[")
    if values.peek() == "[":
        yield from table(reading, _cells(reading, values))
    else:
        for number, (line, row) in enumerate(_items(reading, values), 1):
            yield line, row_in(reading, number, row)


def _items(reading: Reading, values: _Values) -> Iterator[tuple[int, Any]]:
    """The values of a list that has been begun, with the line each stands on."""
    if values.peek() == "]":
        values.skip()
        return
    while True:
        values.peek()
        yield values.line, _object(reading, values)
        if values.expect(",]") == "]":
            return


def _cells(reading: Reading, values: _Values) -> Iterator[tuple[int, list[str]]]:
    for line, cells in _items(reading, values):
        if not isinstance(cells, list):
            raise BadInput(f"The row on line {line} of {reading.name} is not a list.", ROWS)
        yield line, [text_of(cell) or "" for cell in cells]


def _long_wrapper(reading: Reading, values: _Values) -> Iterator[Row]:
    """The rows of a list in an object that is too long for one row itself."""
    line = values.line
    values.expect("{")
    others: list[str] = []
    found = ""
    while True:
        values.peek()
        key = str(_object(reading, values))
        values.expect(":")
        if values.peek() == "[" and not found:
            found = key
            yield from _listed(reading, values)
        else:
            others.append(key)
            _object(reading, values)
        if values.expect(",}") == "}":
            break
    if not found:
        raise _too_long(reading, line)
    say_wrapped(reading, found, others)


def _too_long(reading: Reading, line: int) -> BadInput:
    return BadInput(
        f"The row on line {line} of {reading.name} has more than {reading.most_in_row:,} "
        "characters.",
        "Shorten it.",
    )
