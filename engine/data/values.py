"""What a value of a row is as text: one rule for rows of every form, and of a call."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Any

from ...schemas.errors import BadInput
from ...schemas.text import unstorable
from .reading import MAX_FIELDS, MAX_NAME, Reading, Row, shown

EXACT = 10**15
"""Up to here a float that is a whole number is written as one."""


def texts(reading: Reading, rows: Iterator[Row]) -> Iterator[dict[str, str]]:
    """Rows with all values as texts; what is missing is left out, and blank rows are dropped.

    Raises BadInput for a value that cannot be stored, with its row.
    """
    for place, row in rows:
        fields = row_of(reading, place, row)
        if any(text.strip() for text in fields.values()):
            yield fields
        else:
            reading.drop("Blank rows")


def row_of(reading: Reading, place: int | str, row: Mapping[str, Any]) -> dict[str, str]:
    """One row with its values as texts, without those that are missing. Raises BadInput."""
    fields: dict[str, str] = {}
    for key, value in row.items():
        name = reading.names.get(key) or _name(reading, place, key)
        if name in fields:
            raise BadInput(
                f"The field {shown(name)} stands twice in {reading.noun} {place}.", "Rename one."
            )
        try:
            text = text_of(value)
        except (RecursionError, ValueError):
            raise BadInput(
                f"The field {shown(name)} of {reading.noun} {place} is nested too deeply, or holds "
                "a number of too many digits.",
                "Give it as text.",
            ) from None
        if text is None:
            what = "binary" if isinstance(value, bytes) else "null"
            reading.drop(f"Values that are {what} (their fields are missing in those rows)")
            continue
        if isinstance(value, list | tuple | dict):
            reading.nested.add(name)
        if len(text) > reading.most or unstorable(text):
            raise _refused(reading, place, name, text)
        fields[name] = text
    return fields


def text_of(value: Any) -> str | None:
    """A value as text: numbers as short as can be, dates in ISO form, nested values as JSON; None
    where there is none (null, NaN, bytes that are no text)."""
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _short(value)
    if isinstance(value, datetime | date | time):
        return _moment(value)
    if isinstance(value, list | tuple | dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    return _decoded(value) if isinstance(value, bytes) else str(value)


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _short(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(int(value)) if value.is_integer() and abs(value) < EXACT else repr(value)


def _moment(value: datetime | date | time) -> str:
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat()


def _plain(value: Any) -> Any:
    """A nested value with nothing in it that JSON has no word for."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else text_of(value)


def _name(reading: Reading, place: int | str, key: str) -> str:
    name = str(key).strip("\ufeff \t\r\n")
    if name and len(name) <= MAX_NAME and not unstorable(name):
        if len(reading.names) >= MAX_FIELDS:
            raise BadInput(
                f"The rows have more than {MAX_FIELDS:,} different fields.",
                "Give one row for each example, with the same few fields in all.",
            )
        return reading.names.setdefault(key, name)
    what = "a name that holds a NUL or half of a surrogate pair, which cannot be stored"
    if not name:
        what = "no name"
    if len(name) > MAX_NAME:
        what = f"a name of more than {MAX_NAME} characters ({shown(name)})"
    raise BadInput(f"A field of {reading.noun} {place} has {what}.", "Rename it.")


def _refused(reading: Reading, place: int | str, name: str, text: str) -> BadInput:
    where = f"The field {shown(name)} of {reading.noun} {place}"
    if len(text) > reading.most:
        much = f"{len(text):,} characters; at most {reading.most:,} are taken"
        return BadInput(f"{where} has {much}.", "Shorten it.")
    return BadInput(
        f"{where} holds a NUL or half of a surrogate pair, which cannot be stored.", "Remove it."
    )
