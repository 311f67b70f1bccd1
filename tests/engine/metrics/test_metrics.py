"""Metrics score outputs from 0 to 1 and say in words what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from textgrad_mcp.engine.metrics import METRICS, check, score
from textgrad_mcp.schemas.errors import BadInput, ExampleError

NEEDED: dict[str, dict[str, Any]] = {
    "regex": {"pattern": "x"},
    "json_schema": {"schema": {"type": "object"}},
}


def points(metric: str, output: str, answer: str | None = None, **options: Any) -> float:
    inputs = {"output": output} if answer is None else {"output": output, "answer": answer}
    value = score(metric, inputs, options).score
    assert value is not None
    return value


def feedback(metric: str, output: str, answer: str | None = None, **options: Any) -> str:
    inputs = {"output": output} if answer is None else {"output": output, "answer": answer}
    return score(metric, inputs, options).text


CHEAP = st.sampled_from(sorted(set(METRICS) - {"regex", "json_schema"}))


@given(CHEAP, st.text(), st.sampled_from(["B 42", "(A) -1.5e3"]) | st.text())
def test_every_score_is_from_0_to_1_with_short_feedback(
    metric: str, output: str, answer: str
) -> None:
    try:
        value = score(metric, {"output": output, "answer": answer}, {})
    except ExampleError:  # an answer without a number, a letter or anything at all
        assume(False)
    assert value.score is not None
    assert 0 <= value.score <= 1
    assert (value.text == "Correct.") == (value.score == 1)
    assert 0 < len(value.text) < 1000


@given(st.sampled_from(["exact_match", "f1", "edit_similarity"]), st.text())
def test_the_right_answer_itself_scores_1(metric: str, text: str) -> None:
    assert points(metric, text, text) == 1


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_feedback_on_a_long_output_stays_short(metric: str) -> None:
    answer = "42" if metric == "json_match" else "B 42"
    text = feedback(metric, "a b" * 100_000, answer, **NEEDED.get(metric, {}))
    assert len(text) < 1200


# exact_match


@pytest.mark.parametrize(
    ("output", "answer", "options", "expected"),
    [
        (" Paris\n", "Paris", {}, 1),
        ("paris", "Paris", {}, 0),
        ("paris", "Paris", {"ignore_case": True}, 1),
        ("a  b\nc", "a b c", {}, 0),
        ("a  b\nc", "a b c", {"ignore_whitespace": True}, 1),
        ("'Paris.'", "Paris", {"ignore_punctuation": True}, 1),
        ("“Paris”!", "Paris", {"ignore_punctuation": True}, 1),
        ("STRASSE", "straße", {"ignore_case": True}, 1),
        ("", "", {}, 1),
    ],
)
def test_exact_match(output: str, answer: str, options: dict[str, Any], expected: int) -> None:
    assert points("exact_match", output, answer, **options) == expected


@pytest.mark.parametrize(
    ("output", "answer", "says"),
    [
        ("", "Paris", "Expected exactly 'Paris' but the output was empty."),
        ("PARIS", "Paris", "only upper and lower case differs: it differs first at character 2"),
        ("It is Paris.", "Paris", "the right answer is in it, but nothing else may stand around"),
        ("2021-3-4", "2021-03-04", "character 6: '3-4' instead of '03-04'"),
        ("Par", "Paris", "it stops too early, before 'is'"),
        ("a,b", "ab", "only punctuation differs"),
    ],
)
def test_exact_match_says_what_differs(output: str, answer: str, says: str) -> None:
    assert says in feedback("exact_match", output, answer)


# contains, f1, edit_similarity


def test_contains_looks_for_the_answer_anywhere() -> None:
    assert points("contains", "The answer is Paris, France.", "Paris") == 1
    assert points("contains", "The answer is PARIS.", "Paris") == 0
    assert points("contains", "The answer is PARIS.", "Paris", ignore_case=True) == 1
    assert "other upper and lower case only" in feedback("contains", "PARIS", "Paris")
    assert "must contain 'Paris' but was 'Rome'" in feedback("contains", "Rome", "Paris")


def test_contains_refuses_an_empty_answer() -> None:
    with pytest.raises(ExampleError, match="right answer is empty"):
        points("contains", "anything", " ")


@pytest.mark.parametrize(
    ("output", "answer", "expected"),
    [
        ("The cat sat.", "a cat sat", 1),
        ("cat", "cat sat", 2 / 3),
        ("dog", "cat", 0),
        ("", "", 1),
        ("the", "", 1),
        ("", "cat", 0),
        ("cat cat", "cat", 2 / 3),
    ],
)
def test_f1_counts_shared_words_as_squad_does(output: str, answer: str, expected: float) -> None:
    assert points("f1", output, answer) == pytest.approx(expected)


def test_f1_names_missing_and_surplus_words() -> None:
    text = feedback("f1", "cat ran home", "cat sat")
    assert text.endswith("is 0.40. Missing words: sat. Words too many: ran, home.")


def test_edit_similarity_is_the_share_of_what_stayed() -> None:
    assert points("edit_similarity", "kitten", "sitting") == pytest.approx(1 - 3 / 7)
    assert points("edit_similarity", "abc", "xyz") == 0
    assert "3 edits on 7 characters" in feedback("edit_similarity", "kitten", "sitting")


def test_edit_similarity_compares_long_texts_by_words_and_then_by_lines() -> None:
    words = ["word"] * 10_000
    changed = ["other", *words[1:]]
    text = feedback("edit_similarity", " ".join(changed), " ".join(words))
    assert "is 1.00: 1 edits on 10000 words" in text
    lines = "w w\n" * 15_000
    assert "1 edits on 15000 lines" in feedback("edit_similarity", "x" + lines, lines)


def test_edit_similarity_never_gives_full_points_to_another_text() -> None:
    assert points("edit_similarity", "a " * 20_000, "a  " * 20_000) < 1


# names and options


@pytest.mark.parametrize(
    "names",
    [
        ("output", "answer"),
        ("answer", "output"),
        ("prediction", "expected"),
        ("target", "text"),
        ("first", "second"),
        ("reply", "reference"),
    ],
)
def test_output_and_answer_are_found_by_name_or_order(names: tuple[str, str]) -> None:
    answer_first = names[0] in ("answer", "target")
    values = ("right", "the right thing") if answer_first else ("the right thing", "right")
    inputs = dict(zip(names, values, strict=True))
    check("contains", names, {})
    assert score("contains", inputs, {}).score == 1


@pytest.mark.parametrize(
    ("metric", "names", "options", "says"),
    [
        ("exact", ["output", "answer"], {}, r"no metric 'exact'. Did you mean exact_match\?"),
        ("Exact_Match", ["output", "answer"], {}, "Did you mean exact_match"),
        ("bleu", ["output", "answer"], {}, "Metrics: exact_match, contains, regex"),
        ("exact_match", ["output"], {}, "none was given"),
        ("exact_match", ["answer"], {}, "needs an output"),
        ("exact_match", [], {}, "needs an output"),
        ("exact_match", ["output", "answer", "more"], {}, "cannot use more"),
        ("json_valid", ["output", "answer"], {}, "takes an output only; it cannot use answer"),
        (
            "exact_match",
            ["output", "answer"],
            {"ignore_cases": True},
            r"no option 'ignore_cases'. Did you mean ignore_case\?",
        ),
        ("f1", ["output", "answer"], {"x": 1}, "Options of f1: none"),
        ("regex", ["output"], {}, "needs the option 'pattern'. Options of regex: pattern, ig"),
        ("json_schema", ["output"], {}, "needs the option 'schema'"),
        ("numeric", ["output", "answer"], {"absolute_tolerance": -1}, "absolute_tolerance"),
        ("numeric", ["output", "answer"], {"relative_tolerance": "nan"}, "relative_tolerance"),
        ("multiple_choice", ["output", "answer"], {"choices": "a-z"}, "choices"),
    ],
)
def test_a_metric_that_cannot_work_is_refused_with_what_would(
    metric: str, names: list[str], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput) as caught:
        check(metric, names, options)
    assert caught.match(says)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_every_metric_passes_its_own_check_and_says_what_it_does(metric: str) -> None:
    names = ["output", "answer"] if METRICS[metric].needs_answer else ["output"]
    check(metric, names, NEEDED.get(metric, {}))
    assert METRICS[metric].summary


@pytest.mark.parametrize(
    ("output", "answer", "score"),
    [
        ('{"currency": "EUR", "amount": 3.0}', '{"amount": 3, "currency": "EUR"}', 1),
        ('{"amount": 3, "currency": "USD"}', '{"amount": 3, "currency": "EUR"}', 0.5),
        ('{"amount": 3}', '{"amount": 3, "currency": "EUR"}', 0.5),
        ('{"amount": 3, "note": ""}', '{"amount": 3}', 0.5),
        ('{"a": true}', '{"a": 1}', 0),
        ("[1, [2]]", "[1, [2.0]]", 1),
        ("[1, 2]", "[2, 1]", 0),
        ("three", "3", 0),
        ("```json\n3\n```", "3", 1),
        ("~~~\n3\n~~~", "```\n3\n```", 1),
        ("Here: ```json\n3\n```", "3", 0),
        ("1e999", "1", 0),
        ("[" * 101 + "]" * 101, "[]", 0),
    ],
)
def test_json_match_compares_by_value_and_counts_fields(
    output: str, answer: str, score: float
) -> None:
    assert points("json_match", output, answer) == score


def test_json_match_names_the_fields_that_are_wrong_and_refuses_an_answer_that_is_no_json() -> None:
    said = feedback("json_match", '{"a": 1, "x": 0}', '{"a": 2, "b": [3]}')
    for words in ('"a" should be 2 but is 1', '"b" is missing', '"x" does not belong there'):
        assert words in said
    with pytest.raises(ExampleError, match="not JSON"):
        score("json_match", {"output": "1", "answer": "one"}, {})


# what a critic is told


ORDER = {f"field_{n}": {"value": n, "tags": [n, str(n)]} for n in range(20)}


def test_json_match_shows_the_whole_expected_object_and_every_kind_of_difference() -> None:
    given = {**ORDER, "field_3": {"value": 4, "tags": [3]}, "sum": 1}
    del given["field_9"]
    said = feedback("json_match", json.dumps(given), json.dumps(ORDER))
    assert said.startswith("Of 21 fields 3 are wrong: ")
    assert '"field_3"["value"] should be 3 but is 4' in said
    assert '"field_3"["tags"] has 1 items instead of 2' in said
    assert '"field_9" is missing, it should be {"value": 9, "tags": [9, "9"]}' in said
    assert '"sum" does not belong there' in said
    assert said.endswith("Expected, by value: " + json.dumps(ORDER))


def test_json_match_with_keys_of_its_own_still_tells_the_values() -> None:
    said = feedback("json_match", '{"customer": "x"}', json.dumps(ORDER))
    assert said.count("it should be") == 10
    assert "; and more. Expected" in said
    assert json.dumps(ORDER) in said
    assert len(feedback("json_match", "{}", json.dumps({"a": "x" * 9000}))) < 3000


def test_json_match_says_what_was_expected_of_what_is_no_object() -> None:
    assert feedback("json_match", "[1, 2]", "[1, 3]").startswith(
        "The JSON is another one: [1] should be 3 but is 2. Expected, by value: [1, 3]"
    )
    assert feedback("json_match", "so: 3", '{"a": 3}').endswith('Expected, by value: {"a": 3}')


def test_json_match_can_demand_bare_json() -> None:
    fenced = '```json\n{"a": 1}\n```'
    assert points("json_match", fenced, '{"a": 1}') == 1
    assert points("json_match", fenced, '{"a": 1}', allow_fence=False) == 0
    assert "write it bare" in feedback("json_match", fenced, '{"a": 1}', allow_fence=False)


TEXT = " ".join(f"word{n}" for n in range(200))


@pytest.mark.parametrize("metric", ["exact_match", "contains", "f1", "edit_similarity"])
def test_a_long_right_answer_is_shown_whole(metric: str) -> None:
    assert f"'{TEXT}'" in feedback(metric, "something else", TEXT)
    assert len(feedback(metric, "something else", TEXT * 50)) < 2500


@pytest.mark.parametrize("metric", ["exact_match", "contains", "edit_similarity"])
def test_long_texts_are_shown_where_they_differ(metric: str) -> None:
    said = feedback(metric, TEXT.replace("word150", "ward150"), TEXT)
    assert "'ord145 word146 word147 word148 word149 w': 'ard150 word151" in said
    assert "instead of 'ord150 word151" in said
    if metric != "contains":
        assert "it stops too early, after '" in feedback(metric, TEXT[:-4], TEXT)
