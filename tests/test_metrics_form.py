"""Metrics on form: JSON, JSON schemas and regular expressions."""

from __future__ import annotations

from typing import Any

import pytest
from textgrad_mcp.engine.metrics import check, score
from textgrad_mcp.schemas.errors import BadInput, ExampleError

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
    },
    "required": ["name", "age"],
}


def points(metric: str, output: str, **options: Any) -> float | None:
    return score(metric, {"output": output}, options).score


def feedback(metric: str, output: str, **options: Any) -> str:
    return score(metric, {"output": output}, options).text


# json_valid, json_schema


@pytest.mark.parametrize("output", ['{"a": [1, null]}', " 3\n", '"x"', "[]"])
def test_json_valid_accepts_any_json(output: str) -> None:
    assert points("json_valid", output) == 1


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("", "empty, not JSON"),
        ('{"a": 1,}', "line 1, column"),
        ("{'a': 1}", "not valid JSON"),
        ('Sure: {"a": 1}', "near 'Sure"),
        ("NaN", "NaN is not JSON"),
        ("[" * 100_000, "not usable JSON"),
        ("9" * 5000, "not usable JSON"),
        ("```json\n{}\n```", "stands in a markdown code fence"),
    ],
)
def test_json_valid_says_what_is_wrong(output: str, says: str) -> None:
    assert points("json_valid", output) == 0
    assert says in feedback("json_valid", output)


def test_a_code_fence_can_be_allowed() -> None:
    assert points("json_valid", "```json\n{}\n```", allow_fence=True) == 1


def test_json_schema_says_where_the_document_does_not_fit() -> None:
    assert points("json_schema", '{"name": "Ada", "age": 36}', schema=SCHEMA) == 1
    text = feedback("json_schema", '{"name": "ada", "age": -1}', schema=SCHEMA)
    assert '$["age"]: -1 is less than the minimum of 0' in text
    assert "$[\"name\"]: 'ada' does not match '^[A-Z]'" in text
    assert "'age' is a required property" in feedback("json_schema", '{"name": "A"}', schema=SCHEMA)
    assert "not valid JSON" in feedback("json_schema", "name: Ada", schema=SCHEMA)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "strin"}, "not valid at type"),
        ({"properties": {"a": {"pattern": "("}}}, "a.pattern: '\\(' is not a 'regex'"),
        ({"patternProperties": {"(": {}}}, "is not a 'regex'"),
    ],
)
def test_a_broken_schema_is_refused_when_the_loss_is_made(schema: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check("json_schema", ["output"], {"schema": schema})


def test_a_schema_cannot_make_us_fetch_anything() -> None:
    with pytest.raises(BadInput, match="cannot be followed"):
        points("json_schema", "{}", schema={"$ref": "http://127.0.0.1:9/schema.json"})


@pytest.mark.parametrize("depth", [101, 700, 900])
def test_what_is_nested_too_deeply_is_wrong_or_no_right_answer(depth: int) -> None:
    nested = "[" * depth + "1" + "]" * depth
    found = score("json_match", {"output": nested, "answer": "[1]"}, {})
    assert "nested more than 100 levels" in found.text
    with pytest.raises(ExampleError, match="is not JSON that can be read"):
        score("json_match", {"output": nested, "answer": nested}, {})


# regex


def test_regex_searches_or_matches_the_whole_output() -> None:
    assert points("regex", "id AB-12 ok", pattern=r"[A-Z]{2}-\d\d") == 1
    assert points("regex", "id AB-12 ok", pattern=r"[A-Z]{2}-\d\d", full_match=True) == 0
    assert points("regex", " AB-12\n", pattern=r"[A-Z]{2}-\d\d", full_match=True) == 1
    assert points("regex", "ab", pattern="AB", ignore_case=True) == 1
    assert "must match the regular expression: ^x\nIt was 'abc'" in feedback(
        "regex", "abc", pattern="^x"
    )


def test_a_pattern_that_does_not_compile_is_refused_when_the_loss_is_made() -> None:
    with pytest.raises(BadInput, match=r"does not compile: .*unterminated"):
        check("regex", ["output"], {"pattern": "[a"})
