"""Metrics on JSON: json_valid, json_schema, json_match."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ...schemas.errors import BadInput, ExampleError
from ...schemas.graph import Value
from ...schemas.text import no_constant
from .base import (
    CORRECT,
    EXPECTED,
    FIX,
    Metric,
    Options,
    difference,
    plain,
    quoted,
    skeleton,
    wrong,
)
from .patterns import matches

_FENCED = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*\n(.*?)\n?[ \t]*\1\s*", re.DOTALL)
DIFFERENCES = 10
"""So many differences at most are told of one output."""
DEEPEST = 100
"""So many levels of a document at most are compared."""
PART = 160
"""How many characters of a part of a document are told."""


class Fences(Options):
    """Options of `json_valid`: whether a code fence around the JSON is fine."""

    allow_fence: bool = False


class Match(Options):
    """Options of `json_match`, which compares what a code fence holds, unless it is forbidden."""

    allow_fence: bool = True


class Schema(Fences):
    """Options of `json_schema`."""

    schema_: Annotated[dict[str, Any], AfterValidator(lambda schema: _plain(schema))] = Field(
        alias="schema"
    )


class _NotJsonError(Exception):
    """The output is not JSON; the message is the feedback."""


def _loaded(text: str) -> Any:
    try:
        return _plain(json.loads(text, parse_constant=no_constant, parse_float=_finite))
    except json.JSONDecodeError as error:
        near = quoted(text[max(0, error.pos - 20) : error.pos + 20])
        where = f"line {error.lineno}, column {error.colno}, near {near}"
        raise _NotJsonError(f"The output is not valid JSON: {error.msg} at {where}.") from error
    except (ValueError, RecursionError) as error:
        raise _NotJsonError(f"The output is not usable JSON: {error}.") from error


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{quoted(text, 40)} is too large")
    return number


def _plain(value: Any, depth: int = 0) -> Any:
    """`value` with every text in it, keys included, as it looks. Raises ValueError if too deep."""
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        return {plain(key): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, depth + 1) for one in value]
    return plain(value) if isinstance(value, str) else value


def _parsed(output: str, options: Fences | Match) -> Any:
    if not output.strip():
        raise _NotJsonError("The output is empty, not JSON.")
    fenced = _FENCED.fullmatch(output)
    if fenced is None:
        return _loaded(output)
    value = _loaded(fenced[2])
    if not options.allow_fence:
        raise _NotJsonError("The JSON is valid but stands in a markdown code fence: write it bare.")
    return value


def _json_valid(output: str, answer: str, options: Fences) -> Value:
    try:
        _parsed(output, options)
    except _NotJsonError as problem:
        return wrong(str(problem))
    return CORRECT


def _json_schema(output: str, answer: str, options: Schema) -> Value:
    try:
        value = _parsed(output, options)
        problems = [_sentence(error) for error in _errors(value, options.schema_)]
    except _NotJsonError as problem:
        return wrong(str(problem))
    if not problems:
        return CORRECT
    more = f" And {len(problems) - 3} more." if len(problems) > 3 else ""
    return wrong(f"The JSON does not fit its schema. {' '.join(problems[:3])}{more}")


def _right_json(answer: str, options: Match) -> Any:
    try:
        return _parsed(answer, Match())
    except _NotJsonError as problem:
        words = f"The right answer {quoted(answer, 80)} is not JSON that can be read."
        raise ExampleError(words, FIX) from problem


def _json_match(output: str, answer: str, options: Match) -> Value:
    expected = _right_json(answer, options)
    whole = f"Expected, by value: {_told(expected, EXPECTED)}"
    try:
        value = _parsed(output, options)
    except _NotJsonError as problem:
        return wrong(f"{problem} {whole}")
    if _same(value, expected):
        return CORRECT
    said = list(islice(_differences(value, expected), DIFFERENCES + 1))
    words = "; ".join(said[:DIFFERENCES]) + ("; and more" if len(said) > DIFFERENCES else "")
    if not isinstance(value, dict) or not isinstance(expected, dict):
        return wrong(f"The JSON is another one: {words}. {whole}")
    keys = value.keys() | expected.keys()
    off = sum(k not in value or k not in expected or not _same(value[k], expected[k]) for k in keys)
    return wrong(f"Of {len(keys)} fields {off} are wrong: {words}. {whole}", 1 - off / len(keys))


def _same(one: Any, other: Any) -> bool:
    """Equal by value: 3 is 3.0 and the order of keys does not count, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _differences(value: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Where two documents differ, in words."""
    if isinstance(value, dict) and isinstance(expected, dict):
        for key in [*expected, *(key for key in value if key not in expected)]:
            name = json.dumps(key, ensure_ascii=False)
            here = f"{path}[{name}]" if path else name
            if key not in value:
                yield f"{here} is missing, it should be {_told(expected[key])}"
            elif key not in expected:
                yield f"{here} does not belong there{_meant(key, expected)}"
            else:
                yield from _differences(value[key], expected[key], here)
    elif isinstance(value, list) and isinstance(expected, list):
        if len(value) != len(expected):
            yield f"{path or 'the list'} has {len(value)} items instead of {len(expected)}"
        for index, pair in enumerate(zip(value, expected, strict=False)):
            yield from _differences(*pair, f"{path}[{index}]")
    elif not _same(value, expected):
        wanted, there = _told(expected), _told(value)
        yield f"{path or 'it'} should be {wanted} but is {there}{_where(value, expected)}"


def _meant(key: str, expected: dict[str, Any]) -> str:
    """How a key differs from one that looks alike."""
    looks = next((k for k in expected if skeleton(k) == skeleton(key)), None)
    return f" and only looks like one that does: {difference(looks, key)}" if looks else ""


def _where(value: Any, expected: Any) -> str:
    """Where two texts differ that are long, or look alike."""
    if not isinstance(value, str) or not isinstance(expected, str):
        return ""
    alike = skeleton(value) == skeleton(expected)
    return f" ({difference(expected, value)})" if alike or len(expected) > PART else ""


def _told(value: Any, most: int = PART) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else quoted(text, most)


def _sentence(error: Any) -> str:
    path = "".join(f"[{json.dumps(step)}]" for step in error.absolute_path)
    message = error.message if len(error.message) <= 160 else error.message[:159] + "…"
    return f"At {'$' + path}: {message}."


def _errors(value: Any, schema: dict[str, Any]) -> list[Any]:
    """jsonschema's errors, in the order of the document. Raises BadInput for a broken schema."""
    from referencing.exceptions import Unresolvable

    try:
        return sorted(_validator(schema).iter_errors(value), key=lambda e: str(e.absolute_path))
    except (Unresolvable, RecursionError, re.error) as error:
        raise BadInput(
            f"The JSON schema cannot be followed: {error}.",
            "References must stay inside it, and patterns be regular expressions.",
        ) from error


def _validator(schema: dict[str, Any]) -> Any:
    """A validator that fetches nothing, and quotes no more than a little."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend
    from referencing import Registry

    def pattern(validator: Any, wanted: str, instance: Any, schema: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not matches(wanted, instance):
            yield ValidationError(f"{quoted(instance, 80)} does not match {quoted(wanted, 80)}")

    brief: Any = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": pattern}
    )
    return brief(schema, registry=Registry())


def _check_schema(options: Schema) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(options.schema_)
    except SchemaError as error:
        path = ".".join(map(str, error.absolute_path)) or "the top"
        raise BadInput(
            f"The JSON schema is not valid at {path}: {error.message}.", "Mend it and call again."
        ) from error


JSON_VALID = Metric(
    "json_valid", "1 if the output is JSON", Fences, _json_valid, needs_answer=False
)
JSON_SCHEMA = Metric(
    "json_schema",
    "1 if the output is JSON that fits a schema (option `schema`)",
    Schema,
    _json_schema,
    needs_answer=False,
    check=_check_schema,
)
JSON_MATCH = Metric(
    "json_match",
    "1 if the output is JSON equal to the answer by value, else the share of fields that are",
    Match,
    _json_match,
    check_answer=_right_json,
)
