"""The metric multiple_choice reads the letter that is chosen, and no article, no name, no doubt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.metrics import canonical, score
from textgrad_mcp.schemas.errors import ExampleError


def points(output: str, answer: str, **options: Any) -> float | None:
    return score("multiple_choice", {"output": output, "answer": answer}, options).score


def feedback(output: str, answer: str) -> str:
    return score("multiple_choice", {"output": output, "answer": answer}, {}).text


FORMS = [
    "{}", "({})", "{}.", "{})", "{}: Paris", "{} - Paris", "**{}**", "**{}) Paris**", "[{}]",
    r"\boxed{{{}}}", r"$\boxed{{\text{{({})}}}}$", "Option {}", "Answer: {}", "**Answer:** {}",
    "Answer: **{}**", "The answer is ({}).", "the answer is option {}, Paris", "Final answer = {}",
    "ANSWER IS {}. It fits.", "Answer seems to be {}.", "Answer:\n\n{}", "### Answer\n{}",
    "<answer>{}</answer>", '{{"answer": "{}"}}', "#### {}", "I choose ({}).", "It is ({})",
    "{}\n\nExplanation: this fits.", "Answer: {}\n\nQuestion: next?\nAnswer: Z", "({}) is correct.",
    "Antwort: {}", "Die richtige Antwort ist {}.", "La réponse est {}.", "La respuesta es la {}",
    "Ответ: {}", "答案是{}", "答案：{}", "选{}", "答えは{}です", "정답은 {}입니다",
    "Risposta: {}",
    '"{}"', "<b>{}</b>", "A: {}", "The answer is a bit tricky, but it is ({}).", "({}) it is",
]  # fmt: skip
LETTERS = st.sampled_from("ABCDEFGHIJ")


@given(st.sampled_from(FORMS), LETTERS)
def test_a_letter_is_read_as_itself_wherever_it_is_stated(form: str, letter: str) -> None:
    assert points(form.format(letter), f"({letter})") == 1, form


@pytest.mark.requirement("verdicts")
@given(st.sampled_from(FORMS), LETTERS, LETTERS)
def test_it_is_never_read_as_another(form: str, letter: str, other: str) -> None:
    assert points(form.format(letter), other) == (letter == other)


@pytest.mark.parametrize("form", ["{}", "({})", "{}.", "{}) Paris", "Answer: {}", "answer: ({})",
                                  "Option {}", "The answer is {}.", r"\boxed{{{}}}"])  # fmt: skip
@pytest.mark.parametrize("letter", "abcdei")
def test_a_small_letter_counts_where_it_stands_alone(form: str, letter: str) -> None:
    if not (form == "Option {}" and letter in "aei"):
        assert points(form.format(letter), letter.upper()) == 1


@given(st.sampled_from(FORMS), st.sampled_from(list(zip("АВСЕН", "ABCEH", strict=True))))
def test_letters_of_other_scripts_that_look_the_same_are_the_same(
    form: str, pair: tuple[str, str]
) -> None:
    if form != "({}) it is":  # there it may be a word
        assert points(form.format(pair[0]), pair[1]) == 1, form
    wide = chr(ord(pair[1]) + 0xFEE0)
    assert points(form.format(wide), pair[1]) == 1, form


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("Answer: a combination of these, so D", "D"),
        ("Answer: It is not B, the answer is D", "D"),
        ("Answer: rules out C, leaving D", "D"),
        ("Answer: D, not B", "D"),
        ("Answer: I think it is C", "C"),
        ("I would pick B — a safe choice.", "B"),
        ("The answer is C because I computed the integral.", "C"),
        ("ANSWER IS D. A is incorrect.", "D"),
        ("The answer is B. Note that A is a common distractor.", "B"),
        ("I considered (A), but it is incorrect. Final answer: D.", "D"),
        ("B. Explanation: A is wrong", "B"),
        ("A. Paris\nB. Rome\nC. Berlin\n\nThe answer is B", "B"),
        ("A. Paris\nB. Rome\n\nB", "B"),
        ("I think it is B. A would be too small. C would be too large.", "B"),
        ("(A) is false, so (B)", "B"),
        ("Neither A nor B, so C", "C"),
        ("It can't be A or B. C is too big. Therefore D.", "D"),
        ("A, B and C are wrong, so D.", "D"),
        ("Both A and B are possible but C is best.", "C"),
        ("Not A but C", "C"),
        ("A? No, C.", "C"),
        ("(A) or (B)? I'd go with (B).", "B"),
        ("The answer is D (both A and B)", "D"),
        ("the answer is (a) because b is wrong", "A"),
        ("b) is wrong; c) is right", "C"),
        ("C'est la réponse B", "B"),
        ("A priori, B.", "B"),
        ("Plan B is best, so (C)", "C"),
        ("C is the answer because A is not", "C"),
        ("A is not the answer; B is.", "B"),
        ("The answer is C.\nThe answer is D.", "D"),
        ("Answer B is correct because A is heavier", "B"),
        ("Answer A is wrong; answer B is right", "B"),
        ("My answer I think is C", "C"),
        ("Only (d) holds; (a) fails", "D"),
    ],
)
def test_what_is_denied_or_explained_is_not_chosen(output: str, letter: str) -> None:
    assert points(output, letter) == 1


@pytest.mark.requirement("verdicts")
@pytest.mark.parametrize(
    "output",
    [
        "", "Paris", "I am not sure", "Because", "Answer: Z", "I cannot answer a question",
        "The answer is a dog", "A dog", "A question", "As an AI I cannot choose", "Answer: I can't",
        "A or B", "A and C", "B/C", "B & C", "A, B", "Answer: A or B", "Answer: (A) or (B)", "AB",
        "Answer: both A and C", "Either A or B", "Not sure, maybe A, maybe B", "B? or A", "not A",
        "The correct answer is not B.", "None of A, B or C", "It is a tie between (B) and (A)",
        "Hepatitis B", "Answer: vitamin A", "The answer is C++", "A+", "37°C", "U.S.A.",
        "C-section", "A. Paris\nB. Rome\nC. Berlin", "I choose a",
        "option a is right", "Answer: a) or b)", "What is a b?", "Answer: none of these",
    ],
)  # fmt: skip
@pytest.mark.parametrize("letter", "ABCI")
def test_no_letter_is_found_where_none_is_chosen(output: str, letter: str) -> None:
    assert points(output, letter) == 0
    assert "names no single choice" in feedback(output, letter)


@pytest.mark.parametrize(
    "option",
    ["Wrong, right", "either (a) or (b)", "B is heavier than A", "A dog", "not C", "P(B|A)"],
)
def test_the_text_of_an_option_does_not_decide_which_it_is(option: str) -> None:
    for output in ("D", f"D) {option}", f"The answer is D. {option}", f"**D: {option}**"):
        assert points(output, f"D) {option}") == 1
        assert points(output, "B") == 0
    assert points("P(A|B) decreases", "B") == 0


def test_the_text_of_the_right_option_stands_for_its_letter() -> None:
    for output in (
        "Paris",
        "The answer is Paris.",
        "**paris**",
        "Final answer: Paris",
        "B",
        "(B) Paris",
    ):
        assert points(output, "B. Paris") == 1
    assert points("Answer: vitamin C", "B) Vitamin C") == 1
    for output in ("Rome", "A. Paris", "It may be Paris or Rome"):
        assert points(output, "B. Paris") == 0
    assert "Expected choice B ('Paris') but the output chose A" in feedback("A. Paris", "B. Paris")


@pytest.mark.parametrize(
    "piece", ["answer ", " ", "answer\n\n", "(", "\\boxed{ ", "**", "A or ", "A, "]
)
def test_hostile_repetition_is_read_in_bounded_work(piece: str) -> None:
    assert points(piece * 50_000 + " " * 200_000 + "Z", "B") == 0


def test_feedback_names_the_choice_or_those_that_were_named() -> None:
    assert "Expected choice B but the output chose C" in feedback("(C)", "B")
    assert "no single choice (it names A and C)" in feedback("A and C", "A")
    assert "It should end like 'Answer: A'" in feedback("A and C", "A")


def test_there_can_be_other_letters_and_votes_know_them() -> None:
    assert points("Answer: K", "K", choices="KLM") == 1
    assert canonical("multiple_choice", "Answer: K", {"choices": "KLM"}) == "K"
    assert canonical("multiple_choice", " K or L", {"choices": "KLM"}) == "K or L"
    with pytest.raises(ExampleError, match="names no choice"):
        points("K", "A", choices="KLM")
