"""The metric numeric reads what an output states, in every notation, and guesses nothing."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from textgrad_mcp.engine.metrics import canonical, score
from textgrad_mcp.schemas.errors import ExampleError


def points(output: str, answer: str, **options: Any) -> float | None:
    return score("numeric", {"output": output, "answer": answer}, options).score


def feedback(output: str, answer: str) -> str:
    return score("numeric", {"output": output, "answer": answer}, {}).text


# notations

Notation = Callable[[int, str], str]
"""Writes a number of these whole units and these digits behind the mark."""


def grouped(whole: int, mark: str) -> str:
    return f"{whole:,}".replace(",", mark)


def indian(whole: int) -> str:
    digits = str(whole)
    head, tail = digits[:-3], digits[-3:]
    start = len(head) % 2
    parts = [head[:start], *(head[i : i + 2] for i in range(start, len(head), 2)), tail]
    return ",".join(part for part in parts if part)


def in_digits(zero: str, point: str) -> Notation:
    table = {ord(str(n)): chr(ord(zero) + n) for n in range(10)}
    return lambda whole, rest: f"{whole}{point if rest else ''}{rest}".translate(table)


def marked(group: str, point: str) -> Notation:
    return lambda whole, rest: grouped(whole, group) + (point + rest if rest else "")


def power(template: str) -> Notation:
    def write(whole: int, rest: str) -> str:
        return template.format(f"{whole}{rest}", -len(rest))

    return write


def fraction(template: str) -> Notation:
    def write(whole: int, rest: str) -> str:
        value = Fraction(f"{whole}.{rest or 0}")
        return template.format(value.numerator, value.denominator)

    return write


def mixed(whole: int, rest: str) -> str:
    part = Fraction(f"0.{rest or 0}")
    if not part or not whole:
        return str(Decimal(f"{whole}.{rest or 0}"))
    return f"{whole} {part.numerator}/{part.denominator}"


NOTATIONS: dict[str, Notation] = {
    "plain": marked("", "."),
    "English": marked(",", "."),
    "German": marked(".", ","),
    "French": marked(" ", ","),
    "thin spaces": marked("\u202f", "."),
    "no-break spaces": marked("\u00a0", ","),
    "Swiss": marked("’", "."),
    "Python": marked("_", "."),
    "decimal comma": marked("", ","),
    "Indian": lambda whole, rest: indian(whole) + (f".{rest}" if rest else ""),
    "Arabic": in_digits("٠", "٫"),
    "Devanagari": in_digits("०", "."),
    "full width": in_digits("０", "．"),
    "e": power("{}e{}"),
    "E": power("{}.0E{:+03d}"),
    "times": power("{} x 10^{}"),
    "LaTeX power": power(r"{} \times 10^{{{}}}"),
    "fraction": fraction("{}/{}"),
    "fraction slash": fraction("{}⁄{}"),
    "frac": fraction(r"\frac{{{}}}{{{}}}"),
    "dfrac": fraction(r"\dfrac{{{}}}{{{}}}"),
    "mixed": mixed,
}
STATED = {
    "alone": "{}",
    "sentence": "She starts with 3 and 4. The answer is {}.",
    "answer": "Answer: {}\n\nConfidence: 95%",
    "final": "The answer could be 7.\nFinal answer: {} (see table 2)",
    "hashes": "3 and 4 make 7\n#### {}\n\nQuestion: and the next?\n#### 5",
    "boxed": r"So \boxed{{{}}}. Check: step 2 holds.",
    "bold": "**{}**\n\nThis took 3 steps.",
    "bold answer": "**Answer:** {}",
    "dollars": "The answer is ${}$.",
    "last": "He has 3 apples and 4 pears, so it makes {}",
    "equation": "x = {}",
    "tag": "<answer>{}</answer> (95% sure)",
    "German": "Die Antwort ist {}. Ich bin zu 95 % sicher.",
    "Spanish": "La respuesta es {}.",
    "Russian": "Ответ: {}\nПроверка: 3*6",
    "Chinese": "答案是 {}。",
    "heading": "### Final Answer\n\n{}",
}
NUMBER = st.tuples(
    st.booleans(),
    st.integers(0, 999) | st.integers(1000, 10**9),
    st.text(alphabet="0123456789", max_size=4),
)
Parts = tuple[bool, int, str]


def value_of(parts: Parts) -> Fraction:
    return (-1 if parts[0] else 1) * Fraction(f"{parts[1]}.{parts[2] or 0}")


def written(parts: Parts, notation: str) -> str:
    negative, whole, rest = parts
    text = NOTATIONS[notation](whole, rest)
    # A lone comma or point before three digits can mean either: 1.234 and 1,234.
    odd = notation in ("German", "decimal comma", "French", "no-break spaces")
    assume(not (odd and whole >= 1 and len(text.lstrip("-")) < 8 and len(rest) in (0, 3)))
    return f"{'−' if negative else ''}{text}"


@given(NUMBER, st.sampled_from(sorted(NOTATIONS)), st.sampled_from(sorted(STATED)))
def test_a_number_in_any_notation_is_read_as_itself_wherever_it_is_stated(
    parts: Parts, notation: str, where: str
) -> None:
    output = STATED[where].format(written(parts, notation))
    assert points(output, written(parts, "plain")) == 1, output


@pytest.mark.requirement("verdicts")
@given(NUMBER, NUMBER, *[st.sampled_from(sorted(NOTATIONS))] * 2, st.sampled_from(sorted(STATED)))
def test_two_different_numbers_are_never_equal(
    one: Parts, other: Parts, mine: str, its: str, where: str
) -> None:
    assume(value_of(one) != value_of(other))
    output = STATED[where].format(written(one, mine))
    assert points(output, written(other, its)) == 0


@pytest.mark.requirement("verdicts")
@given(st.integers(1, 999), st.integers(0, 999))
def test_a_mark_that_can_mean_two_things_is_refused_and_said(whole: int, rest: int) -> None:
    text = f"{whole}.{rest:03d}"
    assert points(text, text) == 1
    assert points(text, f"{whole}{rest:03d}") == 0
    assert "can be read in two ways" in feedback(text, f"{whole}{rest:03d}")
    assert points(f"{whole},{rest:03d}", text) == 0
    assert points(f"{whole},{rest:03d}", f"{whole}{rest:03d}") == 1


@given(st.text(alphabet="0123456789.,' -+/^e×%$()[]{}\\=or xand\n#*", max_size=60))
def test_an_output_is_right_against_itself_or_not_read_at_all(text: str) -> None:
    try:
        assert points(text, text) == 1
    except ExampleError as error:
        assert "holds no" in error.message  # noqa: PT017


# where it is stated


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("6 times 7 is 42", "42"),
        ("10 minus 5 is 5", "5"),
        (r"\boxed 5, 7 steps", "5"),
        ("so #### 1,234.50 dollars", "1234.5"),
        ("It is 7\n\n#### 7", "He eats 3 and 4.\n#### 7"),
        ("#### 1. Add\n#### 2. Multiply\nThe total is 42", "42"),
        (r"$$\boxed{\frac{3}{4}}$$ and 5 steps", "0.75"),
        (r"\boxed{\text{18 apples}}", "18"),
        (r"\boxed{18~\text{km}}", "18"),
        (r"\boxed{3}, wait \boxed{5}", "5"),
        (r"\boxed{}" + "\nAnswer: 5", "5"),
        ("Answer: 18\n\nHuman: next?\nAnswer: 5", "18"),
        ("A: 18\n\nQ: next?\nA: 5", "18"),
        ("The answer is 5. Wait, the answer is 7.", "7"),
        ("The answer is not 18, but 20.", "20"),
        ("The answer is 18 apples, since 3 times 6 is 18", "18"),
        ("Answer: 3 × 6 = 18 apples", "18"),
        ("Final Answer: The final answer is $18$. I hope it is correct.", "18"),
        ("The final answer to question 2 is 42.", "42"),
        ("18 is the final answer. Confidence 95%.", "18"),
        ('{"answer": 18, "confidence": 0.95}', "18"),
        ("| Answer | 18 |", "18"),
        ("Answer:\n```text\n18\n```", "18"),
        ("### Final Answer\n$$\n18\n$$", "18"),
        ("18\n\nExplanation: 3 times 6", "18"),
        ("Result: 18\nNote: based on 3 facts", "18"),
        ("The result is **42** (see equation 3).", "42"),
        ("**3** + **4** = **7**", "7"),
        ("3\n4\nTotal is 7", "7"),
        ("42 = 6 × 7", "42"),
        ("The answer is 42 [1].", "42"),
        ("답: 18", "18"),
        ("答えは18です", "18"),
        ("La réponse est 1 234,50 €", "1234.5"),
    ],
)
def test_a_stated_answer_counts_before_the_last_number(output: str, answer: str) -> None:
    assert points(output, answer) == 1


@pytest.mark.requirement("verdicts")
@pytest.mark.parametrize(
    "output",
    [
        "18 or 20", "20 or 18", "Answer: 20 or 18", "18 and 20", "18, 19, 20", "18 to 20", "18-20",
        "between 18 and 20", "from 18 to 20", "18 20", "18/20/20", "x = 18, y = 20", "18\n20",
        "x = 18 or x = 20", "(18, 20)", "(18,20)", "18 ± 20", "18 × 20", "2x + 20", "20x", "20π",
        "18√20", "√20", r"\sqrt{20}", "log 20", r"\frac{x}{20}", "20i", "18+20i", "12:20", "3:20",
        "2021-03-20", "20.03.2021", "18.3.20", "at least 20", "more than 20", "< 20", "±20", "20K",
        "20 thirds", "not 20", "The answer is not 20.", "20% of 18", "18 out of 20", "555-20",
        "She has **20** apples. The total is 7.", r"\boxed{18} or \boxed{20}", "20abc",
        "over 20", "20+", "20 +/- 2", "18+20", "mindestens 20", "9" * 500 + " 1/20",
    ],
)  # fmt: skip
def test_what_is_not_one_clear_number_is_refused(output: str) -> None:
    assert points(output, "20") == 0
    assert "no single number" in feedback(output, "20")


@pytest.mark.parametrize("answer", ["3-4", "18 or 20", "12:30", "x = 3, y = 4", "3π", "at least 5"])
def test_so_it_is_in_a_right_answer(answer: str) -> None:
    with pytest.raises(ExampleError, match="holds no single number"):
        points("4", answer)


@pytest.mark.parametrize("output", ["none", "GPT-4", "x1 and x2", "", "five or six", "one of them"])
def test_an_output_without_a_number_is_said_to_have_none(output: str) -> None:
    assert "has none" in feedback(output, "4")


@pytest.mark.parametrize(
    ("output", "answer"),
    [("eighteen", "18"), ("forty-two", "42"), ("The answer is one hundred and five.", "105"),
     ("two thousand", "2000"), ("zero", "0")],
)  # fmt: skip
def test_a_number_in_english_words_is_read_where_there_is_nothing_else(
    output: str, answer: str
) -> None:
    assert points(output, answer) == 1


# units


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("50%", "50%"), ("50", "50%"), ("50%", "50"), ("50 percent", "50%"), ("50 per cent", "50%"),
        ("٥٠٪", "50%"), ("5 ‰", "0.5%"), ("$18", "18"), ("18 dollars", "$18"), ("USD 18", "$18"),
        ("18 apples", "18"), ("18 apples", "18 eggs"), ("$18 per hour", "$18"), ("5 km", "5000 m"),
        ("120 minutes", "2 hours"), ("1 l", "1000 cm^3"), ("7 m²", "7 m^2"), ("36 km/h", "10 m/s"),
        ("5 pounds", "5 lb"), ("5 pounds", "£5"), ("20 °C", "20°"), ("20 degrees Celsius", "20 °C"),
        ("$3M", "3,000,000"), ("1.2 million", "1200000"), ("5 Mio. €", "5,000,000 €"),
        ("2 dozen", "24"), ("5万人", "50000"), ("-$5", "-5"), ("$-5", "-5"), ("minus 5", "-5"),
        ("It got negative 5 °C", "-5"),
        ("CHF 1’234.50", "1234.5"),
    ],
)  # fmt: skip
def test_units_that_agree_are_the_same(output: str, answer: str) -> None:
    assert points(output, answer) == 1


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("50%", "0.5"), ("0.5", "50%"), ("75%", "3/4"), ("18 euros", "$18"), ("18%", "18 dollars"),
        ("5 km", "5 m"), ("5 m^2", "7 m^2"), ("5 cm", "5 cm^2"), ("5 hours", "5 minutes"),
        ("5 pounds", "5 kg"), ("20 °C", "20 °F"), ("5 MB", "5 GB"), ("5 ‰", "5%"), ("5 k€", "5 €"),
        ("1.2 million", "1.2 billion"), ("1.2 million", "1.2"), ("$5B", "5"), ("5 tausend", "5"),
        ("The answer is minus 5", "5"), ("5 kg/m^3", "3"), ("5 years", "5 days"),
        ("5 miles", "5 km"),
    ],
)  # fmt: skip
def test_units_that_differ_are_not(output: str, answer: str) -> None:
    assert points(output, answer) == 0


# tolerances, feedback, bounds


@pytest.mark.parametrize(
    ("output", "answer"),
    [("41", "42"), ("5", "-5"), ("10000000000000000001", "10000000000000000002"), ("1/3", "0.333")],
)
def test_other_numbers_are_wrong(output: str, answer: str) -> None:
    assert points(output, answer) == 0


def test_tolerances_are_exact_at_the_edge() -> None:
    assert points("0.4", "0.3", absolute_tolerance=0.1) == 1
    assert points("0.41", "0.3", absolute_tolerance=0.1) == 0
    assert points("-101", "-100", relative_tolerance=0.01) == 1
    assert points("102", "100", relative_tolerance=0.01) == 0
    assert points("1/3", "0.333", absolute_tolerance=0.001) == 1
    assert points("5001 m", "5 km", relative_tolerance=0.001) == 1


def test_feedback_says_what_was_expected_and_what_was_read() -> None:
    assert feedback("so it is 7 km", "42 km") == (
        "Expected the number '42 km' but the answer in the output is '7 km'. "
        "The output was 'so it is 7 km'."
    )
    assert "it names '6' and '7' together" in feedback("6 or 7", "42")
    assert "it only says what the answer is not" in feedback("not 7", "42")
    assert "'many', has none" in feedback("many", "42")
    assert "a point is taken for a decimal one" in feedback("1234", "1.234")


def test_the_right_answer_needs_to_be_one_number() -> None:
    with pytest.raises(ExampleError, match="'N/A' holds no number"):
        points("42", "N/A")
    with pytest.raises(ExampleError, match="holds no single number: it names '3' and '4' together"):
        points("4", "3-4")


@pytest.mark.parametrize(
    "output",
    ["9" * 5000, "1e9999", "10^9999", "1/0", "-" * 50_000, "1," * 50_000, "1,234" * 9,
     "1 " * 50_000, "answer " * 50_000, "answer is " * 50_000, r"\boxed{ " * 50_000, "\n" * 300_000,
     "<answer>" * 50_000, "####\n" * 50_000, "**" * 50_000, r"\frac{" * 50_000, "(" * 99_999],
)  # fmt: skip
def test_hostile_outputs_are_read_in_bounded_work(output: str) -> None:
    assert points(output, "42") == 0


def test_votes_count_a_number_as_the_same_in_every_notation() -> None:
    spellings = ["so 1,234.5", "1 234,5", r"\boxed{1234.50}", "1.2345e3", "2469/2", "$1,234.50"]
    assert {canonical("numeric", text, {}) for text in spellings} == {"2469/2"}
    assert canonical("numeric", " 18 or 20 ", {}) == "18 or 20"
    assert canonical("numeric", "5 km", {}) == canonical("numeric", "5000 m", {})
