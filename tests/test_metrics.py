"""Metrics score outputs from 0 to 1 and say in words what is wrong with them."""

from __future__ import annotations

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


# numeric


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("6 times 7 is 42", "42"),
        ("so #### 1,234.50 dollars", "1234.5"),
        ("-$5", "-5"),
        ("\u22125 degrees", "-5"),
        ("the range 3-4", "4"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("42.", "42"),
        ("$1,000,000.", "1000000"),
        ("x=1, 2, 3", "3"),
        ("12,34", "34"),
        ("10000000000000000001", "10000000000000000001"),
        ("It is 7\n\n#### 7", "He eats 3 and 4.\n#### 7"),
    ],
)
def test_numeric_reads_the_last_number(output: str, answer: str) -> None:
    assert points("numeric", output, answer) == 1


@pytest.mark.parametrize(
    ("output", "answer"),
    [("41", "42"), ("5", "-5"), ("10000000000000000001", "10000000000000000002"), ("none", "1")],
)
def test_numeric_refuses_other_numbers(output: str, answer: str) -> None:
    assert points("numeric", output, answer) == 0


def test_numeric_tolerances_are_exact_at_the_edge() -> None:
    assert points("numeric", "0.4", "0.3", absolute_tolerance=0.1) == 1
    assert points("numeric", "0.41", "0.3", absolute_tolerance=0.1) == 0
    assert points("numeric", "-101", "-100", relative_tolerance=0.01) == 1
    assert points("numeric", "102", "100", relative_tolerance=0.01) == 0


def test_numeric_says_what_it_found() -> None:
    assert "Expected the number 42 but the last number in the output is 7" in feedback(
        "numeric", "6 or 7", "42"
    )
    assert "'many', has none" in feedback("numeric", "many", "42")


def test_numeric_needs_a_number_as_the_right_answer() -> None:
    with pytest.raises(ExampleError, match="'forty-two' holds no number"):
        points("numeric", "42", "forty-two")


@pytest.mark.parametrize("output", ["9" * 5000, "1e9999", "-" * 50_000, "1," * 50_000, "1,234" * 9])
def test_numeric_copes_with_hostile_numbers(output: str) -> None:
    assert points("numeric", output, "42") == 0


# multiple_choice


@pytest.mark.parametrize(
    "output",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B) Paris",
        "Answer: B",
        "**Answer:** B",
        "The answer is (B).",
        "the answer is option B, Paris",
        "A is wrong, C is wrong.\nAnswer: B",
        "\\boxed{B}",
        "$\\boxed{\\text{(B)}}$",
        "I think it is B",
        "(A) is false, so (B)",
        "Final answer = B",
        "B: Paris",
    ],
)
def test_multiple_choice_finds_the_letter(output: str) -> None:
    assert points("multiple_choice", output, "(B)") == 1


@pytest.mark.parametrize("output", ["", "A or B", "Paris", "I am not sure", "Because", "Answer: Z"])
def test_multiple_choice_finds_no_letter_where_none_is_chosen(output: str) -> None:
    assert "names no single choice" in feedback("multiple_choice", output, "B")


@pytest.mark.parametrize("piece", ["answer ", " ", "answer\n\n", "(", "\\boxed{ ", "**"])
def test_multiple_choice_reads_hostile_repetition_in_bounded_work(piece: str) -> None:
    assert points("multiple_choice", piece * 50_000 + " " * 200_000 + "Z", "B") == 0


def test_multiple_choice_names_the_wrong_choice() -> None:
    assert "Expected choice B but the output chose C" in feedback("multiple_choice", "(C)", "B")


def test_multiple_choice_can_have_other_letters() -> None:
    assert points("multiple_choice", "Answer: K", "K", choices="KLM") == 1
    with pytest.raises(ExampleError, match="names no choice"):
        points("multiple_choice", "K", "A", choices="KLM")


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
        ("```json\n3\n```", "3", 0),
    ],
)
def test_json_match_compares_by_value_and_counts_fields(
    output: str, answer: str, score: float
) -> None:
    assert points("json_match", output, answer) == score


def test_json_match_names_the_fields_that_are_wrong_and_refuses_an_answer_that_is_no_json() -> None:
    said = feedback("json_match", '{"a": 1, "x": 0}', '{"a": 2, "b": [3]}')
    for words in ("\"a\" should be '2'", '"b" is missing', '"x" does not belong there'):
        assert words in said
    with pytest.raises(ExampleError, match="not JSON"):
        score("json_match", {"output": "1", "answer": "one"}, {})
