"""Replies of models: whole or refused.

A reply is read against the JSON schema that was asked for. A cut-off, empty, refused or ill-formed
one raises Malformed, whose reason goes back to the model in one repair call; it never becomes a
value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from ..schemas.completions import Completion
from ..schemas.errors import ReplyError
from ..schemas.text import cleaned, no_constant, unstorable

Schema = dict[str, Any]
_WORK_PER_CHAR = 20  # failed attempts at reading an object may cost so many passes over the reply
_START = re.compile(r'\{\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"|\})', re.DOTALL)
_NUMBER = re.compile(r"\s*-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?\s*", re.ASCII)


class Malformed(ReplyError):
    """A reply that cannot be used. `reason` tells the model that wrote it what to fix."""

    @property
    def reason(self) -> str:
        """What is wrong and what to write instead, in one or two sentences."""
        return self.message


def object_schema(fields: dict[str, Schema]) -> Schema:
    """The JSON schema of an object with exactly these fields, all required."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def check_completion(completion: Completion, *, needs_text: bool = True) -> None:
    """Raises Malformed for a completion that is refused, cut off, filtered, empty or unstorable.

    With `needs_text=False` an empty text is fine (an external function may print nothing).
    """
    if completion.refusal:
        raise Malformed(f"The model refused: {_cut(completion.refusal)}")
    if completion.finish == "length":
        raise Malformed("The reply was cut off at the token limit. Write a shorter, whole reply.")
    if completion.finish == "content_filter":
        raise Malformed("The reply was withheld by the endpoint's content filter.")
    if needs_text and not completion.text.strip():
        raise Malformed("The reply was empty. Write the text that was asked for.")
    if unstorable(completion.text):
        raise Malformed("The reply holds a NUL or half of a character. Leave such characters out.")


def parse_object(text: str, schema: Schema) -> dict[str, Any]:
    """The last top-level JSON object in `text` that fits `schema`.

    Prose and code fences around it and raw line breaks inside its strings are tolerated; a number
    written as a string becomes a number, and what cannot be stored a replacement character. A
    *broken* object with a key that was asked for spoils the reply even if another one fits: the
    other may be a quotation inside the broken one.
    Raises Malformed.
    """
    problem = ""
    fitting: dict[str, Any] | None = None
    for found in _objects(text, schema):
        value = _coerced(cleaned(found), schema)
        problems = _problems(value, schema)
        if not problems:
            fitting = value
        else:
            problem = problems
    if fitting is not None:
        return fitting
    raise Malformed(problem or f"No JSON object was found. {_wanted(schema)}")


def _objects(text: str, schema: Schema) -> Iterator[dict[str, Any]]:
    """Top-level JSON objects in order of appearance."""
    decoder = json.JSONDecoder(strict=False, parse_constant=no_constant)
    position, work = 0, _WORK_PER_CHAR * len(text)
    while (start := _START.search(text, position)) and work >= 0:
        try:
            value, position = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError) as error:
            if start[1] in schema.get("properties", {}):
                raise Malformed(_broken(text, start.start(), error)) from error
            position = start.start() + 1
            work -= getattr(error, "pos", len(text)) - start.start()
        else:
            yield value


def _broken(text: str, start: int, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "The JSON object is nested too deeply. Write a flat one."
    if not isinstance(error, json.JSONDecodeError):
        return f"The JSON object is broken: {error}."
    if not text[error.pos :].strip() or "Unterminated" in error.msg:
        return "The JSON object is not closed: the reply is cut off, or a quote is missing."
    near = _cut(text[max(start, error.pos - 30) : error.pos + 30], 60)
    return (
        f"The JSON object is broken ({error.msg}) near: {near}\n"
        'Write quotes inside a string as \\" and backslashes as \\\\.'
    )


def _coerced(value: Any, schema: Schema) -> Any:
    """`value` with harmless slips mended: numbers given as strings, 3.0 for an integer."""
    match schema.get("type"), value:
        case "object", dict():
            kinds = schema.get("properties", {})
            return {key: _coerced(item, kinds.get(key, {})) for key, item in value.items()}
        case "array", list():
            return [_coerced(item, schema.get("items", {})) for item in value]
        case ("number" | "integer") as kind, str() if _NUMBER.fullmatch(value):
            number = json.loads(value)
            return int(number) if kind == "integer" and number == int(number) else number
        case "integer", float() if value.is_integer():
            return int(value)
    return value


def _problems(value: dict[str, Any], schema: Schema) -> str:
    """What is wrong with `value`, in sentences; empty if it fits."""
    known = schema.get("properties", {})
    missing = [key for key in schema.get("required", []) if key not in value]
    extra = [key for key in value if key not in known]
    sentences = []
    if missing:
        sentences.append(f"The JSON object lacks {_listed(missing)}.")
    if extra and schema.get("additionalProperties") is False:
        sentences.append(f"It has {_listed(extra)}, which was not asked for.")
    if sentences:
        return " ".join([*sentences, _wanted(schema)])
    return _first_error(value, schema) or _infinite(value)


def _first_error(value: dict[str, Any], schema: Schema) -> str:
    # 0.1 s to import: only where a reply is read
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(value))
    if error is None:
        return ""
    key = ".".join(str(step) for step in error.absolute_path) or "the object"
    return f"The value of {key} does not fit: {_cut(error.message)}."


def _infinite(value: Any) -> str:
    if isinstance(value, dict):
        return next(filter(None, map(_infinite, [*value, *value.values()])), "")
    if isinstance(value, list):
        return next(filter(None, map(_infinite, value)), "")
    if isinstance(value, float) and not math.isfinite(value):
        return "A number is too large. Write an ordinary number."
    return ""


def _wanted(schema: Schema) -> str:
    keys = ", ".join(f'"{key}": …' for key in schema.get("properties", {}))
    return f"Reply with one JSON object of the form {{{keys}}} and nothing else."


def _listed(keys: list[str]) -> str:
    shown = ", ".join(f'"{_cut(key, 40)}"' for key in keys[:8])
    return shown + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")


def _cut(text: str, length: int = 200) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
