"""The fast edit distance agrees with the textbook one."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.schemas.distance import levenshtein, share_changed

SHORT = st.text("abcä", max_size=12)


def textbook(a: Sequence[object], b: Sequence[object]) -> int:
    """The table, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


@given(SHORT, SHORT)
def test_it_agrees_with_the_textbook_on_characters(a: str, b: str) -> None:
    assert levenshtein(a, b) == textbook(a, b)


@given(st.lists(SHORT), st.lists(SHORT))
def test_it_agrees_with_the_textbook_on_words(a: list[str], b: list[str]) -> None:
    assert levenshtein(a, b) == textbook(a, b)


@given(st.text("ab", max_size=150), st.text("ab", max_size=150))
def test_it_agrees_with_the_textbook_beyond_a_machine_word(a: str, b: str) -> None:
    assert levenshtein(a, b) == textbook(a, b)


@given(SHORT, SHORT)
def test_the_share_changed_is_between_nothing_and_everything(a: str, b: str) -> None:
    assert 0 <= share_changed(a, b) <= 1
    assert (share_changed(a, b) == 0) == (a == b)


def test_long_texts_are_compared_whole() -> None:
    assert levenshtein("ab" * 5_000, "ba" * 5_000) == 2
    assert share_changed("a" * 10_000, "b" * 10_000) == 1.0
