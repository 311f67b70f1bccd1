"""Tables of cells: CSV and its kin, and the sheets of workbooks."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from ...schemas.errors import BadInput
from .lines import Lines
from .reading import MAX_NAME, Reading, Row, free_name, listed, shown

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_NONE = "\x1f"
"""The delimiter of a table with one column: a character that is in no text."""
_SAMPLE_LINES = 500
_SAMPLE_CHARS = 1 << 18
_BODY = 200
"""Rows that are looked at to see whether the first line holds names."""
_RULE = re.compile(r":?-+:?")
_NUMBER = re.compile(r"[-+]?[\d.,\s]*\d%?")
_QUOTE = 'Quote texts that hold separators, quotes or line breaks ("a, b"), or give JSON Lines.'


@dataclass(frozen=True)
class _Style:
    """How cells are set apart: by what, and with spaces around them that do not belong to them."""

    delimiter: str
    padded: bool = False

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The records of `lines`."""
        return csv.reader(
            lines, delimiter=self.delimiter, skipinitialspace=self.padded, strict=True
        )


def separated(reading: Reading, lines: Lines) -> Iterator[Row]:
    """The rows of a text with a header line. Raises BadInput with the line."""
    csv.field_size_limit(max(csv.field_size_limit(), reading.most + 1))
    reading.noun = "line"
    style, sample = _style(reading, lines)
    first = lines.number - len(sample)
    records = _records(reading, style, chain(sample, lines), first)
    return table(reading, records, style)


def table(
    reading: Reading, records: Iterator[tuple[int, list[str]]], style: _Style | None = None
) -> Iterator[Row]:
    """Rows of cells under the names in the first that is not blank."""
    padded, ruled = (style.padded, style.delimiter == "|") if style else (False, False)
    place, header = next(((n, c) for n, c in records if any(map(str.strip, c))), (0, []))
    body = list(islice(records, _BODY))
    names = _names(reading, header)
    _refuse_headless(reading, place, names, [cells for _, cells in body])
    if padded:
        reading.say("Spaces around cells were taken off, as the header has them.")
    unnamed: set[int] = set()
    for number, cells in chain(body, records):
        if padded:
            cells = [cell.strip() for cell in cells]
        row = _row(reading, names, number, cells, unnamed)
        if cells == header or [cell.strip() for cell in cells] == names:
            reading.drop("Repeated header lines")
        elif not (ruled and row and all(_RULE.fullmatch(cell.strip()) for cell in row.values())):
            # and not the rule under the header of a table in Markdown
            yield number, row
    _say_unnamed(reading, names, unnamed)


def _style(reading: Reading, lines: Lines) -> tuple[_Style, list[str]]:
    """How the text is separated, and the lines that were read to see it."""
    given = ""
    sample: list[str] = []
    size = 0
    for line in lines:
        if not sample and not line.strip("\ufeff \r\n"):
            continue
        if not sample and (told := re.fullmatch(r"\ufeff?sep=(.)\s*", line, re.IGNORECASE)):
            given = told[1]
            continue
        sample.append(line)
        size += len(line)
        if len(sample) >= _SAMPLE_LINES or size >= _SAMPLE_CHARS:
            break
    if not sample:
        return _Style(","), sample
    style = _likeliest(reading, sample, given)
    if style.delimiter not in (",", _NONE):
        what = _DELIMITERS.get(style.delimiter, repr(style.delimiter))
        reading.say(f"Columns were read as separated by {what}.")
    return style, sample


def _likeliest(reading: Reading, sample: list[str], given: str) -> _Style:
    """The style under which most records have as many cells as the header, and it the most."""
    scored: list[tuple[float, int, _Style]] = []
    alone: list[tuple[str, int]] = []
    for delimiter in given or _DELIMITERS:
        style = _Style(delimiter, _is_padded(delimiter, sample))
        header, *widths = _widths(style, sample) or [0]
        if header > 1:
            share = sum(width == header for width in widths) / (len(widths) or 1)
            scored.append((share, header, style))
        elif len(widths) > 1 and len(set(widths)) == 1 and widths[0] > 1:
            alone.append((delimiter, widths[0]))
    if scored:
        return max(scored, key=lambda one: one[:2])[2]
    if alone:
        delimiter, width = alone[0]
        raise BadInput(
            f"The first line of {reading.name} has one column ({shown(sample[0].strip())}), and "
            f"the lines after it have {width}, separated by {_DELIMITERS[delimiter]}.",
            "Name every column in the first line; or, if there is one column, quote its texts.",
        )
    if any(sign in line for line in sample for sign in _DELIMITERS):
        reading.say("All was read as one column.")
    return _Style(given or _NONE)


def _is_padded(delimiter: str, sample: list[str]) -> bool:
    try:
        header = next(_Style(delimiter).reader(sample))
    except csv.Error:
        return False
    return delimiter != "\t" and any(cell != cell.strip() for cell in header)


def _widths(style: _Style, sample: list[str]) -> list[int]:
    """How many cells each record has, as far as they can be read; blank ones at the end count as
    far as the header goes."""
    widths: list[int] = []
    try:
        for cells in style.reader(sample):
            if any(map(str.strip, cells)):
                most = widths[0] if widths else len(cells)
                while len(cells) > most and not cells[-1].strip():
                    cells.pop()
                widths.append(len(cells))
    except csv.Error:  # also where the sample ends inside a quoted text
        return widths
    return widths


def _records(
    reading: Reading, style: _Style, lines: Iterable[str], before: int
) -> Iterator[tuple[int, list[str]]]:
    """Records with the number of the line that each begins on; `before` lines were read before."""
    number = before

    def numbered() -> Iterator[str]:
        nonlocal number
        for line in lines:
            number += 1
            yield line

    reader = style.reader(numbered())
    while True:
        begins = number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _broken(reading, begins, error) from error
        if cells:
            yield begins, cells


def _broken(reading: Reading, line: int, error: csv.Error) -> BadInput:
    if "field limit" in str(error):
        return BadInput(
            f"A text that begins on line {line} of {reading.name} has more than "
            f"{reading.most:,} characters.",
            "Shorten it; or, if it is not so long, close the quotation mark that it begins with.",
        )
    return BadInput(f"Line {line} of {reading.name} is not valid CSV: {error}.", _QUOTE)


def _names(reading: Reading, header: Sequence[str]) -> list[str]:
    """The columns' names without spaces around them; one that stands twice gets a number, one that
    is missing stays empty."""
    names: list[str] = []
    for cell in header:
        name = cell.strip("\ufeff \t\r\n")
        free = free_name(name, names) if name else ""
        if free != name:
            reading.say(f"The column {shown(name)} stands twice: the second is {shown(free)}.")
        names.append(free)
    bare = [cell.strip("\ufeff") for cell in header]
    if padded := [cell.strip() for cell in bare if cell.strip() and cell != cell.strip()]:
        reading.say(f"Spaces around names of columns were taken off ({listed(padded)}).")
    return names


def _row(
    reading: Reading, names: list[str], place: int, cells: list[str], unnamed: set[int]
) -> dict[str, str]:
    """A record as a row. Raises BadInput if it has not as many cells as there are names."""
    while len(cells) > len(names) and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) != len(names) and any(map(str.strip, cells)):
        raise BadInput(
            f"{reading.noun.capitalize()} {place} of {reading.name} has {len(cells)} "
            f"column{'s' if len(cells) != 1 else ''}; the header has {len(names)} "
            f"({listed(names)}).",
            _QUOTE,
        )
    row = {}
    for i, (name, cell) in enumerate(zip(names, cells, strict=False)):
        if name:
            row[name] = cell
        elif cell.strip():
            unnamed.add(i)
            row[_column(i)] = cell
    return row


def _column(i: int) -> str:
    return f"column {i + 1}"


def _say_unnamed(reading: Reading, names: list[str], unnamed: set[int]) -> None:
    blank = [i for i, name in enumerate(names) if not name and i not in unnamed]
    if blank:
        reading.say(f"Blank columns: {len(blank)} left out.")
    if unnamed:
        made = listed([_column(i) for i in sorted(unnamed)])
        reading.say(f"Columns without a name were named by their place: {made}.")


def _refuse_headless(reading: Reading, place: int, names: list[str], body: list[list[str]]) -> None:
    """Raises BadInput where the first line is a row like those below, and not the names."""
    for i, name in enumerate(names):
        below = [cells[i].strip() for cells in body if len(cells) > i and cells[i].strip()]
        if len(name) > MAX_NAME or (name and below and _is_alike(name, below)):
            raise BadInput(
                f"{reading.noun.capitalize()} {place} of {reading.name} looks like a row "
                f"({listed(names)}), not like the names of the columns.",
                "Put a line with the names first, such as question,answer.",
            )


def _is_alike(name: str, below: list[str]) -> bool:
    """Whether a header's cell is of the kind that all cells below it are: a number, a question,
    or one of a few values that come again and again."""
    if _NUMBER.fullmatch(name):
        return all(_NUMBER.fullmatch(cell) for cell in below)
    if name.endswith("?"):
        return all(cell.endswith("?") for cell in below)
    return below.count(name) > 1 and len(set(below)) <= len(below) // 2
