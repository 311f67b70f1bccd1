"""What nobody sees never decides a score, and what looks alike is told apart in words."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.metrics import canonical, score
from textgrad_mcp.engine.metrics.base import plain

C, D = "caf\u00e9", "cafe\u0301"
UNSEEN = ["\ufeff", "\u200b", "\u200d", "\u2060", "\u00ad", "\u200e", "\ufe0f", "\u034f"]


def points(metric: str, output: str, answer: str = "", **options: Any) -> float | None:
    return score(metric, {"output": output, "answer": answer}, options).score


def feedback(metric: str, output: str, answer: str) -> str:
    return score(metric, {"output": output, "answer": answer}, {}).text


@given(st.text())
def test_a_plain_text_is_composed_and_stays_as_it_is(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    assert plain(unicodedata.normalize("NFD", text)) == plain(text)
    lines = plain(text)
    assert plain(lines.replace("\n", "\r\n")) == lines


@given(st.text(alphabet="aé 1\n中", min_size=1), st.sampled_from(UNSEEN), st.integers(0, 9))
def test_no_invisible_character_changes_a_text(text: str, unseen: str, at: int) -> None:
    assert plain(text[:at] + unseen + text[at:]) == plain(text)


@pytest.mark.requirement("as-seen")
@pytest.mark.parametrize(
    ("metric", "output", "answer"),
    [
        ("exact_match", C, D),
        ("exact_match", f"\ufeff{C}\u200b", C),
        ("exact_match", "a\r\nb", "a\nb"),
        ("exact_match", "10\u00a0km", "10 km"),
        ("exact_match", "10\u202fkm", "10 km"),
        ("contains", f"the {C} is open", D),
        ("contains", "the ca\u00adfe", "cafe"),
        ("f1", f"{C} noir", f"{D} noir"),
        ("f1", "cafe\u200b noir", "cafe noir"),
        ("edit_similarity", C, D),
        ("json_match", json.dumps({D: [D]}), json.dumps({C: [C]})),
        ("json_match", f'\ufeff{{"{C}":\u00a0"{C}"}}', json.dumps({D: D}, ensure_ascii=False)),
        ("json_match", '{"a": "x\\r\\ny\\u200b"}', '{"a": "x\\ny"}'),
        ("multiple_choice", "Answer:\u00a0(\u200bB)", "B"),
        ("multiple_choice", "\ufeffB", "B"),
        ("numeric", "\ufeff4\u200b2", "42"),
    ],
)
def test_it_is_the_same_answer_in_every_metric(metric: str, output: str, answer: str) -> None:
    assert points(metric, output, answer) == 1
    assert points(metric, answer, output) == 1 or metric == "contains"


@pytest.mark.requirement("as-seen")
def test_so_it_is_for_patterns_and_schemas() -> None:
    for output, pattern in (
        (C, f"^{D}$"),
        (D, f"^{C}$"),
        (f"\ufeff{C}", f"^{C}"),
        ("a\r\nb", "a\nb"),
    ):
        assert points("regex", output, pattern=pattern) == 1
    assert points("regex", "10\u00a0km", pattern="^10 km$", full_match=True) == 1
    schema = {"type": "object", "properties": {C: {"enum": [D]}}, "required": [D]}
    assert points("json_schema", json.dumps({D: C}), schema=schema) == 1
    assert points("json_valid", '\ufeff{"a":\u00a01}') == 1


def test_a_pattern_that_names_a_character_by_its_number_sees_it() -> None:
    assert points("regex", "a\u200bb", pattern=r"\u200b") == 1
    assert points("regex", "a\u00a0b", pattern=r"^[\x00-\x7f]*$") == 0
    assert points("regex", "a\r\nb", pattern=r"\r") == 1


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("\uff21", "A"),
        ("“x”", '"x"'),
        ("ﬁn", "fin"),
        ("x²", "x2"),
        ("½", "1/2"),
        ("a\u2013b", "a-b"),
    ],
)
def test_an_exact_match_is_exact_about_what_is_seen(output: str, answer: str) -> None:
    assert points("exact_match", output, answer) == 0


@pytest.mark.requirement("as-seen")
@pytest.mark.parametrize("metric", ["exact_match", "contains", "f1", "edit_similarity"])
def test_texts_that_look_alike_are_told_apart_by_number_and_name(metric: str) -> None:
    said = feedback(metric, "the \u0441afe", "the cafe")
    assert "U+0441 CYRILLIC SMALL LETTER ES instead of U+0063 LATIN SMALL LETTER C" in said
    assert "U+201C LEFT DOUBLE QUOTATION MARK" in feedback("exact_match", "\u201cx\u201d", '"x"')
    assert "U+0009" in feedback("exact_match", "a\tb", "a b")


def test_so_are_the_values_and_keys_of_a_document() -> None:
    said = feedback("json_match", '{"a": "\u0415UR"}', '{"a": "EUR"}')
    assert "U+0415 CYRILLIC CAPITAL LETTER IE" in said
    said = feedback("json_match", '{"\u0430b": 1}', '{"ab": 1}')
    assert "U+0430 CYRILLIC SMALL LETTER A instead of U+0061" in said


def test_letters_that_differ_in_sight_are_not_spelt_out() -> None:
    assert "U+" not in feedback("exact_match", "北京", "南京")


@given(
    st.text(alphabet="aá\u0301 \u200b\ufeff\u0441"), st.text(alphabet="aá\u0301 \u200b\ufeff\u0441")
)
def test_what_counts_as_wrong_never_shows_the_same_twice(output: str, answer: str) -> None:
    value = score("exact_match", {"output": output, "answer": answer}, {})
    shown = value.text.removeprefix("Expected exactly ").partition("; ")[0]
    expected, _, there = shown.partition(" but the output was ")
    assert value.score == 1 or expected != there or "U+" in value.text


def test_votes_count_texts_as_the_same_that_look_the_same() -> None:
    assert canonical("exact_match", f"\ufeff{C} ", {}) == canonical("exact_match", D, {})
