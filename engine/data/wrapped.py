"""What rows are wrapped in: a list under a name, columns, numbered rows, names apart from cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...schemas.errors import BadInput
from .reading import Reading, Row, listed, shown
from .separated import table
from .transcripts import turns_of
from .values import text_of

ROWS = 'Give rows such as {"question": "...", "answer": "..."}.'
_NAMES = frozenset(
    (
        *("data", "examples", "rows", "items", "records", "results", "instances", "samples"),
        *("questions", "dataset", "values", "entries", "conversations"),
        *("train", "validation", "valid", "dev", "test"),
    )
)
"""What lists of rows are called in an object that holds other things, too."""
Rows = Iterator[dict[str, Any]]


def unwrapped(reading: Reading, line: int, found: dict[str, Any]) -> Iterator[Row]:
    """The rows in the only object of a text, or that object as the only row. Raises BadInput."""
    for form in (_within, _list, _names_apart, _numbered, _columns):
        if (rows := form(reading, found)) is not None:
            yield from ((line, row) for row in rows)
            return
    yield line, found


def row_in(reading: Reading, number: int, row: Any) -> dict[str, Any]:
    """A row of a list, out of what numbers it. Raises BadInput."""
    if not isinstance(row, dict):
        raise BadInput(f"Row {number} of {reading.name} is not an object.", ROWS)
    inner = row.get("row")
    return inner if isinstance(inner, dict) and "row_idx" in row else row


def say_wrapped(reading: Reading, key: str, others: list[str]) -> None:
    """Note which list was read, and what beside it was not."""
    aside = f" ({listed(others)} beside it was not read)" if others else ""
    reading.say(f"The rows are those of {shown(key)}{aside}.")


def _within(reading: Reading, found: dict[str, Any]) -> Rows | None:
    """The rows of an object that is itself within this one."""
    inner = [k for k in _known(found) if isinstance(found[k], dict) and _lists(found[k])]
    if len(inner) != 1:
        return None
    say_wrapped(reading, inner[0], [k for k in found if k not in inner])
    return _list(reading, found[inner[0]])


def _list(reading: Reading, found: dict[str, Any]) -> Rows | None:
    """The rows of the only list of them."""
    lists = _lists(found)
    if len(lists) > 1:
        raise BadInput(
            f"{reading.name} holds several lists of rows: {listed(lists)}.",
            "Give one of them as a file of its own, or in the call.",
        )
    if not lists:
        return None
    say_wrapped(reading, lists[0], [k for k in found if k != lists[0]])
    return (row_in(reading, number, row) for number, row in enumerate(found[lists[0]], 1))


def _known(found: dict[str, Any]) -> list[str]:
    return [k for k in found if k.lower() in _NAMES or len(found) == 1]


def _lists(found: dict[str, Any]) -> list[str]:
    """The names of lists of rows; messages are one row."""
    return [
        k
        for k in _known(found)
        if isinstance(found[k], list)
        and all(isinstance(row, dict) for row in found[k])
        and turns_of(found[k]) is None
    ]


def _names_apart(reading: Reading, found: dict[str, Any]) -> Rows | None:
    """A data frame as names, and rows of cells."""
    names, data = found.get("columns"), found.get("data")
    if not isinstance(names, list) or not isinstance(data, list):
        return None
    lines = [names, *data]
    if not all(isinstance(cells, list) for cells in lines):
        raise BadInput(f"The data of {reading.name} are no lists of cells.", ROWS)
    cells = ((n, [text_of(cell) or "" for cell in line]) for n, line in enumerate(lines))
    return (row for _, row in table(reading, cells))


def _numbered(reading: Reading, found: dict[str, Any]) -> Rows | None:
    """A data frame by its rows' numbers."""
    numbered = all(k.isdigit() and isinstance(v, dict) for k, v in found.items())
    return iter(found.values()) if found and numbered else None


def _columns(reading: Reading, found: dict[str, Any]) -> Rows | None:
    """A data frame by columns: lists of one length, or objects with the same numbers as names."""
    columns: dict[str, list[Any]] = {}
    shapes = set[object]()
    for name, column in found.items():
        if isinstance(column, dict) and all(map(str.isdigit, column)):
            shapes.add(tuple(column))
            columns[name] = list(column.values())
        elif isinstance(column, list):
            shapes.add(len(column))
            columns[name] = column
    cells = [cell for column in columns.values() for cell in column]
    if len(columns) != len(found) or len(shapes) != 1 or not cells:
        return None
    if any(isinstance(cell, dict | list) for cell in cells):
        return None
    reading.say(f"The rows were put together from columns: {listed(list(columns))}.")
    return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
