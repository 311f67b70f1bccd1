"""Metrics on JSON: json_valid, json_schema, json_match."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from ...schemas.errors import BadInput
from ...schemas.graph import Value
from ...schemas.text import no_constant
from .base import CORRECT, Metric, Options, quoted, wrong
from .patterns import matches

_FENCED = re.compile(r"\s*```[a-zA-Z]*\n(.*?)\n?```\s*", re.DOTALL)


class Fences(Options):
    """Options of `json_valid`, `json_match`: whether a code fence around the JSON is fine."""

    allow_fence: bool = False


class Schema(Fences):
    """Options of `json_schema`."""

    schema_: dict[str, Any] = Field(alias="schema")


class _NotJsonError(Exception):
    """The output is not JSON; the message is the feedback."""


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        near = quoted(text[max(0, error.pos - 20) : error.pos + 20])
        where = f"line {error.lineno}, column {error.colno}, near {near}"
        raise _NotJsonError(f"The output is not valid JSON: {error.msg} at {where}.") from error
    except (ValueError, RecursionError) as error:
        raise _NotJsonError(f"The output is not usable JSON: {error}.") from error


def _parsed(output: str, options: Fences) -> Any:
    if not output.strip():
        raise _NotJsonError("The output is empty, not JSON.")
    fenced = _FENCED.fullmatch(output)
    if fenced is None:
        return _loaded(output)
    value = _loaded(fenced[1])
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


def _json_match(output: str, answer: str, options: Fences) -> Value:
    try:
        expected = _loaded(answer)
    except _NotJsonError as problem:
        raise BadInput(
            f"The right answer {quoted(answer, 80)} is not JSON.",
            "Give answers as JSON, or compare texts with exact_match.",
        ) from problem
    try:
        value = _parsed(output, options)
    except _NotJsonError as problem:
        return wrong(f"{problem} Expected, by value: {quoted(answer)}.")
    if _same(value, expected):
        return CORRECT
    if not isinstance(value, dict) or not isinstance(expected, dict):
        return wrong(f"Expected {quoted(answer)}, by value; the output is {quoted(output)}.")
    keys = [*expected, *(key for key in value if key not in expected)]
    off = [
        k for k in keys if k not in value or k not in expected or not _same(value[k], expected[k])
    ]
    said = "; ".join(_field(k, value, expected) for k in off[:3])
    more = f"; and {len(off) - 3} more" if len(off) > 3 else ""
    return wrong(
        f"Of {len(keys)} fields {len(off)} are wrong: {said}{more}.", 1 - len(off) / len(keys)
    )


def _same(one: Any, other: Any) -> bool:
    """Equal by value: 3 is 3.0 and the order of keys does not count, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _field(key: str, value: dict[str, Any], expected: dict[str, Any]) -> str:
    name = json.dumps(key, ensure_ascii=False)
    if key not in value:
        return f"{name} is missing"
    if key not in expected:
        return f"{name} does not belong there"
    wanted = json.dumps(expected[key], ensure_ascii=False)
    return f"{name} should be {quoted(wanted, 80)}"


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
    Fences,
    _json_match,
)
