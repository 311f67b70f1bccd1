"""Constraints: what code can check is checked, and everything is put into words for a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.constraints.constraints import Constraints, parse, violations
from textgrad_mcp.engine.constraints.rules import RULES
from textgrad_mcp.engine.prompts.length import tokens
from textgrad_mcp.schemas.errors import BadInput

OLD = "Answer the {question} briefly. Cite {source}."


def faults(line: str, new: str, old: str = OLD) -> list[str]:
    return violations(parse([line], old), old, new)


@pytest.mark.parametrize(
    ("line", "good", "bad", "says"),
    [
        ("max_chars=5", "12345", "1234567", "It has 7 characters: cut 2 to get to 5."),
        ("max_words=2", " two words\n", "now three words", "It has 3 words: cut 1 to get to 2."),
        ("max_chars = 1,000", "x" * 1000, "x" * 1001, "cut 1 to get to 1000"),
        ("max_tokens=2", "12345678", "123456789", "about 3 tokens: cut it to 2 (about 8 char"),
        ("contains=a = b", "so a = b", "so a=b", "must contain this text: a = b"),
        ("keep=Cite {source}.", "Cite {source}. X", "Cite it.", "put it back: Cite {source}."),
        ("placeholders=keep", "{source} {question}", "{source}", "placeholders {question}, braces"),
        ("parses=json", '{"a": 1}', "{'a': 1}", "not valid JSON: Expecting property name"),
        ("parses=python", "x = '\\d'", "x = (", "not valid Python: '(' was never closed"),
        ("parses=Python", "x = 1", "```python\nx = 1\n```", "Leave out the code fence."),
        ("MAX_CHARS=5", "12345", "123456", "cut 1"),
    ],
)
def test_a_broken_rule_says_what_to_fix(line: str, good: str, bad: str, says: str) -> None:
    assert faults(line, good) == []
    [fault] = faults(line, bad)
    assert says in fault


def test_max_change_counts_words() -> None:
    old = "one two three four five six seven eight nine ten"
    new = "one two three four five six seven 8 9 10"
    assert faults("max_change=0.3", new, old) == []
    assert faults("max_change=30%", new, old) == []
    [fault] = faults("max_change=0.2", new, old)
    assert fault == "30% of its words changed and at most 20% may: edit less."


@given(st.text(), st.floats(0.01, 1))
def test_an_unchanged_text_breaks_no_rule_about_change(text: str, share: float) -> None:
    lines = [f"max_change={share}", "placeholders=keep", f"max_chars={len(text) + 1}"]
    assert violations(parse(lines, text), text, text) == []


@given(st.text(min_size=1).filter(str.strip), st.text(), st.text())
def test_a_kept_span_is_missed_exactly_when_it_is_gone(span: str, before: str, after: str) -> None:
    kept = span.strip()
    constraints = parse([f"keep={span}"], before + span + after)
    assert violations(constraints, "", before + kept + after) == []
    assert violations(constraints, "", after.replace(kept, "")) != [] or kept in after.replace(
        kept, ""
    )


@pytest.mark.parametrize("text", ["\x00", "(" * 5000, "-" * 200_000 + "1", "\ud800", "[" * 100_000])
def test_text_that_breaks_parsers_is_only_a_violation(text: str) -> None:
    assert len(faults("parses=python", text)) == 1
    assert len(faults("parses=json", text)) == 1


def test_python_is_parsed_and_never_run() -> None:
    assert faults("parses=python", "raise SystemExit(3)") == []


def test_every_broken_rule_is_reported_and_free_words_are_not_checked() -> None:
    constraints = parse(["max_chars=3", "Be polite.", "contains=x"])
    assert len(violations(constraints, "", "abcd")) == 2


def test_all_constraints_are_put_into_words() -> None:
    lines = ["Be polite.", "", "max_chars=500", "keep={source}", "parses=python", "max_change=0.3"]
    constraints = parse([*lines, "max_tokens=9", "contains=x", "placeholders=keep"], OLD)
    assert constraints.words == [
        "Be polite.",
        "It must have at most 500 characters.",
        "This part must stay as it is, character by character: {source}",
        "It must be valid Python, without a code fence around it.",
        "At most 30% of its words may change.",
        "It must have at most about 9 tokens.",
        "It must contain this text, character by character: x",
        "Every {placeholder} of the current text must stay in it, braces included.",
    ]


@pytest.mark.parametrize(
    "line", ["Use == for equality.", "Say a=b", "x == 1 must hold", "Keep it short", "1=2"]
)
def test_sentences_with_an_equals_sign_stay_free_words(line: str) -> None:
    assert parse([line]) == Constraints(free=(line,))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("max_char=5", r"no constraint 'max_char'. Did you mean max_chars\?"),
        ("temperature=1", "Constraints with '=': max_chars, max_words"),
        ("max_chars=many", "max_chars=many is not a whole number above 0. Write max_chars=500"),
        ("max_chars=0", "not a whole number above 0"),
        ("max_chars=-5", "not a whole number"),
        ("max_tokens=1.5", "not a whole number"),
        ("max_change=2", "not a share between 0 and 1"),
        ("max_change=nan", "not a share"),
        ("max_change=0", "not a share"),
        ("contains=", "contains needs a value. Write contains=TEXT"),
        ("keep=  ", "keep needs a value"),
        ("keep=Answer now", "keep=Answer now is not in the variable's text. Copy"),
        ("parses=pythn", r"Cannot check parses=pythn. Did you mean parses=python\?"),
        ("parses=yaml", "Cannot check parses=yaml"),
        ("placeholders=drop", "Write placeholders=keep"),
    ],
)
def test_a_constraint_that_cannot_be_checked_is_refused(line: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse([line], OLD)
    assert caught.match(says)


def test_keep_is_unchecked_where_the_text_is_not_known_yet() -> None:
    assert parse(["keep=anything"]).words


@pytest.mark.parametrize("key", sorted(RULES))
def test_every_documented_rule_exists(key: str) -> None:
    with pytest.raises(BadInput, match="needs a value"):
        parse([f"{key}="])


def test_tokens_are_characters_over_four_rounded_up() -> None:
    assert [tokens("x" * n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
