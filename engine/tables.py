"""Rows of examples out of text: JSON, JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ..schemas.errors import BadInput

MAX_BYTES = 256 << 20


def parse_rows(text: str) -> list[dict[str, Any]]:
    """Rows from a JSON array, JSON Lines, or CSV with a header. Raises BadInput with the line."""
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("["):
        return _array(start)
    if start.startswith("{"):
        return _json_lines(start)
    return _csv(start)


def load_rows(
    given: list[dict[str, Any]] | str | None, path: str | None, beneath: Path | None
) -> list[dict[str, Any]]:
    """Rows as they were given: as rows, as text, or as a file. Raises BadInput."""
    if (given is None) == (path is None):
        raise BadInput("Give either examples or path.", "For example examples=[{'question': ...}].")
    if path is not None:
        return read_rows(path, beneath)
    return parse_rows(given) if isinstance(given, str) else given or []


def read_rows(path: str, beneath: Path | None) -> list[dict[str, Any]]:
    """Rows of a file beneath the directory that the operator allowed. Raises BadInput."""
    if beneath is None:
        raise BadInput(
            "This server reads no files: the operator has allowed no directory.",
            "Give the rows in the call, or start the server with --data-dir DIR.",
        )
    root = beneath.resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root) or not found.is_file():
        raise BadInput(
            f"There is no file {path!r} beneath the data directory.",
            "Give a path relative to it, such as 'train.jsonl'.",
        )
    if found.stat().st_size > MAX_BYTES:
        raise BadInput(f"{path!r} is larger than {MAX_BYTES >> 20} MiB.", "Split it.")
    try:
        return parse_rows(found.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path!r} is not UTF-8 text.", "Convert it.") from error


def _array(text: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"examples is not valid JSON: {_why(error)}.", "Mend it and call again."
        ) from error
    return [_object(row, i) for i, row in enumerate(rows, 1)]


def _json_lines(text: str) -> list[dict[str, Any]]:
    rows = []
    # Not splitlines, which would cut strings at U+2028 and its like.
    for i, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(_object(json.loads(line), i))
            except (ValueError, RecursionError) as error:
                raise BadInput(
                    f"Line {i} is not valid JSON: {_why(error)}.", "Give one JSON object a line."
                ) from error
    return rows


def _why(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _object(row: Any, i: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadInput(f"Row {i} is not an object.", 'Give rows such as {"question": "..."}.')
    return row


def _csv(text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise BadInput(
            f"Line {reader.line_num} is not valid CSV: {error}.",
            "Quote texts that hold commas, quotes or line breaks; or give JSON Lines.",
        ) from error
    for i, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise BadInput(
                f"CSV row {i} has not as many columns as the header.", "Quote texts with commas."
            )
    if not rows:
        raise BadInput("There are no rows in examples.", "Give a header line and rows, or JSON.")
    return rows
