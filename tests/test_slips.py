r"""What a person reads without doubt in a model's JSON is read; what is in doubt is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.replies import Malformed, object_schema, parse_object

VALUE = object_schema({"value": {"type": "string"}})
SCORED = object_schema({"score": {"type": "number"}})
MAYBE = object_schema({"score": {"type": ["number", "null"]}})
BETTER = object_schema({"better": {"type": "string", "enum": ["first", "second"]}})


@pytest.mark.parametrize(
    "reply",
    [
        '{"value": "x", }',
        '{"value": "x", "why": {"value": "y"}}',
        "{'value': 'x'}",
        '{value: "x"}',
        '{"value": `x`}',
        '{"value": """x"""}',
        "{“value”: “x”}",
        '{"value": "x" // the text\n}',
        '{ # the text\n "value": "x"}',
        '{/* the text */ "value": "x"}',
        '{"Value": "x"}',
        '{"VALUE ": "x"}',
        '{"value": ["x"]}',
        '{"response": {"value": "x"}}',
        '{"result": [{"value": "x"}], "model": "m"}',
        '[{"value": "x"}]',
        '{"name": "reply", "arguments": "{\\"value\\": \\"x\\"}"}',
        '{"type": "object", "properties": {"value": "x"}}',
        '"{\\"value\\": \\"x\\"}"',
        '{\\"value\\": \\"x\\"}',
        '```json\n{"value": "x",}\n```',
        'Here it is:\n\n{"value": "x"}\n\nI hope {this} helps.',
    ],
)
def test_the_form_may_slip_where_the_reading_is_clear(reply: str) -> None:
    assert parse_object(reply, VALUE) == {"value": "x"}


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"value": "Say "yes" or "no"."}', 'Say "yes" or "no".'),
        ('```json\n{"value": "Say "yes""}\n```', 'Say "yes"'),
        ('{"value": "Reply {"a": 1}", "why": "is "it""}', 'Reply {"a": 1}'),
        ('{"why": "so"\n"value": "x"}', "x"),
    ],
)
def test_quotes_that_nobody_escaped_are_read_in_pairs(reply: str, value: str) -> None:
    assert parse_object(reply, VALUE, "old") == {"value": value}


@pytest.mark.requirement("no-bad-values")
@pytest.mark.parametrize(
    "reply",
    [
        '{"value": "Say "yes"}',
        '{"value": "Reply {"a": "x"} only"}',
        '{"value": "Reply {"a": "x"}"}',
        '{"value": "Reply {"value": 1}"}',
        '{"value": "Use "a", "b": then stop."}',
        '{"value": "Say "yes" or "no"."} and more',
        '{"value": "Say "yes" or "no".',
        '{"value": "x',
        '{"value": "x"',
        "{'value': 'x",
        '{"value": """x"}',
        '{"value": "x" /* the text }',
        '{"response": {"value": "x',
        '{"VALUE": "x", "Value": "y"}',
        '{"value": "x", "value": "y"}',
        '{"value": {"x": "y"}}',
        '{"value": true}',
        '{"value": 3}',
        '{"value": x}',
        '{"value": "x", "score"}',
        '{"text": "x"}',
        "value: x",
    ],
)
def test_what_is_cut_off_or_in_doubt_is_refused(reply: str) -> None:
    with pytest.raises(Malformed):
        parse_object(reply, VALUE, "old")


@pytest.mark.requirement("no-bad-values")
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\\")), st.data())
def test_no_cut_off_object_is_accepted_whatever_its_quotes(text: str, data: st.DataObject) -> None:
    quote = data.draw(st.sampled_from(['"', "'", "`", '"""']))
    body = f"{{value: {quote}{text.replace(quote[0], '')}{quote}}}"
    with pytest.raises(Malformed):
        parse_object(body[: data.draw(st.integers(0, len(body) - 1))], VALUE)


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ('"8/10"', 0.8),
        ("8/10", 0.8),
        ('"4 out of 5"', 0.8),
        ('"80%"', 0.8),
        ("80%", 0.8),
        ('"0,8"', 0.8),
        ('" 0.8 "', 0.8),
        ('"Score: 0.8"', 0.8),
        (".8", 0.8),
        ("[0.8]", 0.8),
        ('{"value": 0.8}', 0.8),
        ('"1"', 1),
        ('"10/10"', 1.0),
    ],
)
def test_a_score_may_be_written_as_a_share(said: str, score: float) -> None:
    assert parse_object(f'{{"score": {said}}}', SCORED) == {"score": score}


@pytest.mark.parametrize("said", ["8", '"8"', '"11/10"'])
def test_a_number_on_another_scale_is_left_as_it_is_for_the_range_to_refuse(said: str) -> None:
    assert parse_object(f'{{"score": {said}}}', SCORED)["score"] > 1


@pytest.mark.parametrize("said", ['"high"', '"1,000"', '"1/0"', "true", "null", '"0.5 to 0.7"'])
def test_what_is_no_number_without_doubt_is_refused(said: str) -> None:
    with pytest.raises(Malformed):
        parse_object(f'{{"score": {said}}}', SCORED)


@pytest.mark.parametrize("said", ["null", "None", '"N/A"', '"none"', '""'])
def test_no_score_may_be_said_in_words_where_there_may_be_none(said: str) -> None:
    assert parse_object(f'{{"score": {said}}}', MAYBE) == {"score": None}


@pytest.mark.parametrize("said", ["First", "FIRST.", "*first*"])
def test_a_choice_may_be_spelt_otherwise(said: str) -> None:
    assert parse_object(json.dumps({"better": said}), BETTER) == {"better": "first"}
    with pytest.raises(Malformed):
        parse_object(json.dumps({"better": "the first"}), BETTER)


def test_prose_may_come_in_parts_and_a_rewrite_in_lines() -> None:
    parts: dict[str, Any] = {"value": {"good": ["a", "b"], "bad": "c"}}
    assert parse_object(json.dumps(parts), VALUE)["value"] == "good: a\nb\nbad: c"
    assert parse_object('{"value": ["a", "", "b"]}', VALUE, "old")["value"] == "a\n\nb"


def test_a_field_that_need_not_be_there_spoils_nothing() -> None:
    schema = object_schema({"rule": {"type": "string"}, "v1": {"type": "string"}})
    needed = schema | {"required": ["v1"]}
    assert parse_object('{"rule": true, "v1": "f"}', needed) == {"v1": "f"}


@pytest.mark.requirement("texts-unchanged")
@pytest.mark.parametrize(
    "text",
    [
        r"Write \frac{a}{b} as a/b.",
        r"Use \theta, \times, \tilde{x}, \text{if} and \textbf{so}.",
        r"$\nabla f$, \notin, \rho, \right) and \begin{array}",
        r"Find \bword\b, \d+, \s*, \w and \(x\).",
        r"as x \to 0, $\tan x$ and $\nu$",
        r"\underline{x} \alpha \usepackage{y}",
    ],
)
def test_a_backslash_that_was_not_doubled_is_put_back(text: str) -> None:
    assert parse_object(f'{{"value": "{text}"}}', VALUE, "old") == {"value": text}
    assert parse_object(json.dumps({"value": text}), VALUE, "old") == {"value": text}


@pytest.mark.requirement("texts-unchanged")
@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n\treturn x\n\n\tif not x:\n\t\ttext = 'an'\n",
        "id\ttext\tlabel\nu\te\ni\to\n",
        "first\nnext\nnot\nnew\tan\r\nrest\r\n",
        "a\\\\b \\n \\t",
        "é 😀 \u2028 / \"quoted\" 'quoted'",
    ],
)
def test_line_breaks_and_tabs_of_code_and_tables_stay(text: str) -> None:
    assert parse_object(json.dumps({"value": text}), VALUE, "old") == {"value": text}


@pytest.mark.requirement("texts-unchanged")
@pytest.mark.parametrize("reply", [r'{"value": "a\u000cb"}', '{"value": "a\x08b"}'])
def test_a_control_character_gets_into_no_rewrite_unless_the_text_had_it(reply: str) -> None:
    with pytest.raises(Malformed, match="control character"):
        parse_object(reply, VALUE, "old")
    assert "old" not in parse_object(reply, VALUE, "old \x08 \x0c")["value"]


@pytest.mark.requirement("texts-unchanged")
def test_a_page_break_that_the_text_has_already_may_be_written_as_one() -> None:
    assert parse_object(r'{"value": "page\fnext"}', VALUE, "one\x0ctwo")["value"] == "page\x0cnext"


@pytest.mark.requirement("texts-unchanged")
def test_what_was_shown_may_be_quoted_with_the_control_characters_it_has() -> None:
    reply = json.dumps({"value": "it says page\x0cnext and a\rb"})
    quoted = parse_object(reply, VALUE, material="page\x0cnext, a\rb")
    assert quoted == json.loads(reply)
    assert parse_object(reply, VALUE)["value"] == r"it says page\fnext and a\rb"
