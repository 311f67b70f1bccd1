"""A reply is whole and in the form asked for, or it is refused with a reason."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.replies import (
    Malformed,
    check_completion,
    object_schema,
    parse_object,
)
from textgrad_mcp.schemas.completions import Completion
from textgrad_mcp.schemas.errors import ReplyError

VALUE = object_schema({"value": {"type": "string"}})
JUDGED = object_schema(
    {"score": {"type": "number", "minimum": 0, "maximum": 1}, "feedback": {"type": "string"}}
)
STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


def reason(text: str, schema: dict[str, Any]) -> str:
    with pytest.raises(Malformed) as caught:
        parse_object(text, schema)
    return caught.value.reason


@pytest.mark.requirement("texts-unchanged")
@given(STORABLE)
def test_any_text_comes_back_unchanged_from_every_wrapping(value: str) -> None:
    for body in (json.dumps({"value": value}), json.dumps({"value": value}, ensure_ascii=False)):
        for reply in (body, f"```json\n{body}\n```", f"Sure! {{here}} it is:\n{body}\nHope so."):
            assert parse_object(reply, VALUE, value) == {"value": value}


@given(STORABLE.filter(lambda text: '"' not in text and "\\" not in text))
def test_raw_line_breaks_and_tabs_in_strings_are_tolerated(value: str) -> None:
    assert parse_object(f'{{"value": "a\n\tb{value}"}}', VALUE) == {"value": f"a\n\tb{value}"}


@pytest.mark.requirement("no-bad-values")
@given(STORABLE, st.data())
def test_no_cut_off_object_is_ever_accepted(value: str, data: st.DataObject) -> None:
    body = json.dumps({"value": f'quotes {{"value": "{value}"}} inside'})
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(Malformed):
        parse_object(body[:cut], VALUE)


@given(st.text())
def test_whatever_the_text_it_parses_or_is_malformed(text: str) -> None:
    with suppress(Malformed):
        assert set(parse_object(text, JUDGED)) == {"score", "feedback"}


def test_the_last_object_that_fits_wins() -> None:
    reply = '{"value": "draft"} no: {"value": "final"} {"other": 1}'
    assert parse_object(reply, VALUE) == {"value": "final"}


@pytest.mark.parametrize(
    "reply",
    [
        '{"before": {"value": "old"}, "after": {"value": "new"}}',
        '{"before": {"value": "old"}, "text": "new"}',
        '{"thought": "say {\'value\': \'draft\'}", "plan": no quotes, "value": "final"}',
        "{\"thought\": \"say {'value': 'draft'} and then",
    ],
)
def test_an_object_inside_another_one_is_not_taken(reply: str) -> None:
    assert reason(reply, VALUE)


def test_a_quotation_inside_a_broken_object_is_not_taken_for_the_answer() -> None:
    broken = 'Here: {"value": "Reply as {"value": "x"} only."}'
    assert '\\"' in reason(broken, VALUE)


def test_a_fitting_object_before_a_broken_one_is_not_taken() -> None:
    assert "not closed" in reason('{"value": "a"} or better {"value": "b', VALUE)


def test_braces_of_prose_and_code_do_not_disturb() -> None:
    reply = 'if (x) { y = {"a" } \\frac{1}{2} {"note": oops}\n{"value": "ok"}'
    assert parse_object(reply, VALUE) == {"value": "ok"}


@pytest.mark.parametrize("score", ['"0.8"', '" 0.8 "', "0.8", "8e-1"])
def test_a_number_may_be_written_as_a_string(score: str) -> None:
    reply = f'{{"score": {score}, "feedback": "f"}}'
    assert parse_object(reply, JUDGED) == {"score": 0.8, "feedback": "f"}


def test_whole_floats_become_integers_where_integers_are_wanted() -> None:
    schema = object_schema({"best": {"type": "array", "items": {"type": "integer"}}})
    parsed = parse_object('{"best": [1.0, "2", "3.0"]}', schema)
    assert parsed == {"best": [1, 2, 3]}
    assert all(type(number) is int for number in parsed["best"])


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("", "No JSON object was found"),
        ("0.8", r'form \{"score": …, "feedback": …\} and nothing else'),
        ('["score"]', "No JSON object"),
        ('{"score": 0.5}', 'lacks "feedback"'),
        ('{"score": 0.5, "y": "f", "x": 1}', 'lacks "feedback". It has "y", "x", which was not'),
        ('{"score": "high", "feedback": "f"}', "value of score does not fit: 'high' is not of"),
        ('{"score": true, "feedback": "f"}', "True is not of type 'number'"),
        ('{"score": null, "feedback": "f"}', "None is not of type 'number'"),
        ('{"score": 8, "feedback": "f"}', "8 is greater than the maximum of 1"),
        ('{"score": NaN, "feedback": "f"}', "NaN is not JSON"),
        ('{"score": 0.5, "feedback": [true]}', "value of feedback does not fit"),
        ('{"score": 8, "feedback": "f", "feedback": "g"}', 'it has "feedback" twice'),
        ('{"score": 0.5, "feedback": "f"', "not closed"),
        ("{'score': 0.5, 'feedback': 'It's'}", "broken"),
    ],
)
def test_the_reason_says_what_to_fix(reply: str, says: str) -> None:
    assert re.search(says, reason(reply, JUDGED))


@pytest.mark.parametrize("bad", ["\\u0000", "\\ud800"])
def test_what_cannot_be_stored_is_replaced(bad: str) -> None:
    reply = f'{{"score": 0.5, "feedback": "a{bad}b"}}'
    assert parse_object(reply, JUDGED) == {"score": 0.5, "feedback": "a\ufffdb"}


def test_an_infinite_number_is_refused_where_no_maximum_stops_it() -> None:
    assert "too large" in reason('{"n": 1e999}', object_schema({"n": {"type": "number"}}))


def test_reasons_stay_short_however_long_the_reply() -> None:
    reply = json.dumps({"score": "x" * 100_000, "feedback": "f"})
    assert len(reason(reply, JUDGED)) < 400


@pytest.mark.parametrize(
    "piece",
    [
        *('{"a":', "{", '{"a":[', '{"value', '{"a": 1} ', '{"a": "b" c', '{"a": "x" /* '),
        *('{"a": "x "y" z", ', '{"a": ""b" c" ', "{ # x\n", "{a: b} ", '{"a": "\\t'),
    ],
)
def test_hostile_repetition_is_read_in_bounded_work(piece: str) -> None:
    with pytest.raises(Malformed):
        parse_object(piece * 20_000, VALUE)


def test_the_schema_is_strict() -> None:
    assert VALUE["required"] == ["value"]
    assert VALUE["additionalProperties"] is False


@pytest.mark.parametrize(
    ("completion", "says"),
    [
        (Completion(text=""), "empty"),
        (Completion(text=" \n"), "empty"),
        (Completion(text="half a sen", finish="length"), "cut off"),
        (Completion(text="", finish="length"), "cut off"),
        (Completion(text="x", finish="content_filter"), "content filter"),
        (Completion(text="", refusal="I cannot help with that."), "refused: I cannot help"),
        (Completion(text="a\x00b"), "NUL"),
        (Completion(text="a\ud83d"), "half of a character"),
    ],
)
def test_a_completion_that_cannot_be_used_is_refused(completion: Completion, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        check_completion(completion)


def test_a_whole_completion_passes() -> None:
    check_completion(Completion(text="four"))
    check_completion(Completion(text=""), needs_text=False)


def test_a_malformed_reply_is_an_error_that_can_be_explained() -> None:
    assert issubclass(Malformed, ReplyError)
