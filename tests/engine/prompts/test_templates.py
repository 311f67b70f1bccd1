"""Templates fill in known names and leave every other brace alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.prompts.template import check, placeholders, render
from textgrad_mcp.schemas.errors import BadInput

NAMES = st.sampled_from(["a", "b", "question", "_x", "größe"])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Q: {question}", "Q: why?"),
        ("{question}{question}", "why?why?"),
        ('{"q": "{question}", "n": {"k": 1}}', '{"q": "why?", "n": {"k": 1}}'),
        ('{"n": {question}}', '{"n": why?}'),
        (r"\frac{a}{b} and \sqrt{{x}}", r"\frac{a}{b} and \sqrt{{x}}"),
        ("{unknown} {0} {} { question } {question!r} {question:>9}", None),
        ("write {{question}} to ask", "write {question} to ask"),
        ("{{{question}}}", "{{why?}}"),
        ("{{unknown}} {{}} }}{{", None),
        ("f'{x!r}' % {1: 2}", None),
    ],
)
def test_only_known_names_in_braces_are_replaced(template: str, expected: str | None) -> None:
    assert render(template, {"question": "why?"}) == (template if expected is None else expected)


@given(st.dictionaries(NAMES, st.text()))
def test_values_are_never_expanded_again(values: dict[str, str]) -> None:
    tricky = {name: f"{{{other}}}{text}" for other, (name, text) in zip("ab", values.items())}  # noqa: B905
    template = "|".join(f"{{{name}}}" for name in tricky)
    assert render(template, tricky) == "|".join(tricky.values())


@given(st.text(), st.text())
def test_a_template_without_known_names_is_itself(template: str, value: str) -> None:
    assert render(template, {"not_in_there_at_all": value}) == template


def test_placeholders_are_the_names_in_single_braces_once_each() -> None:
    text = '{b} {a} {b} {{c}} {1} {"d": {e}} {größe}'
    assert placeholders(text) == ["b", "a", "e", "größe"]


def test_an_input_that_the_template_never_uses_is_named() -> None:
    with pytest.raises(BadInput, match=r"never uses \{text\}; it has \{txt\}"):
        check("Read {txt}", ["text"])


def test_doubled_braces_do_not_count_as_use() -> None:
    with pytest.raises(BadInput, match="single braces"):
        check("Read {{text}}", ["text"])


def test_an_input_name_that_cannot_stand_in_braces_is_refused() -> None:
    with pytest.raises(BadInput, match="'my text' cannot be a placeholder"):
        check("Read {my text}", ["my text"])


def test_a_placeholder_near_an_input_gets_a_suggestion_and_others_one_note() -> None:
    notes = check(r"{question} {qestion} \frac{x}{y}", ["question"])
    assert notes == [
        "{qestion} is no input and is left as it is. Did you mean {question}?",
        "No input, so left as it is: {x}, {y}.",
    ]


def test_a_template_that_uses_all_its_inputs_needs_no_note() -> None:
    assert check("{a} and {b}", ["a", "b"]) == []


def test_many_unknown_placeholders_make_one_short_note() -> None:
    notes = check("{q}" + "".join(f"{{name{n}}}" for n in range(9)), ["q"])
    assert len(notes) == 1
    assert notes[0].endswith("{name4} and 4 more.")
