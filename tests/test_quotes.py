"""Which rows a text quotes: whole ones, never what right answers share."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.quotes import known, quoted, touched

TICKET = {"q": "My card was charged twice for the March invoice.", "a": "FIN"}
ESSAY = "Write on a question of eight words without an answer"
WORDS = st.lists(st.sampled_from(["red", "green", "blue", "one", "two", "three"]), max_size=30)
Row = dict[str, str]


def page(*rows: Row) -> list[tuple[int, str]]:
    return [(n, json.dumps(row)) for n, row in enumerate(rows, 1)]


def rows_in(text: str, *rows: Row) -> list[int]:
    return [n for n, _ in quoted(page(*rows), ["q"], ["a"], [text])]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("E.g. 'my CARD was charged twice, for the march\n invoice' is fin.", TICKET),
        ("3 March 2021 -> 2021-03-03", {"q": "3 March 2021", "a": "2021-03-03"}),
        ('{"q":"order-2231-x","a":4}', {"q": "order-2231-x", "a": "4"}),
        ("例如:请把下面的句子翻译成英文。答案:好", {"q": "请把下面的句子翻译成英文", "a": "好"}),
        ("Cafe\u0301 au lait, please: yes", {"q": "caf\u00e9 au lait please", "a": "yes"}),
        (f"{ESSAY}. Yes.", {"q": ESSAY, "a": ""}),
    ],
)
def test_a_whole_row_is_found_whatever_its_case_spacing_and_punctuation(
    text: str, row: Row
) -> None:
    assert rows_in(text, row) == [1]


LABELS = ["replace a broken garden chair", "配送到了错误的地址", "E-4711/b", "parcel was damaged"]
KEYS = '{"customer": "...", "sku": "...", "quantity": 0}'
SKELETON = "select count from ord join cust using cid where"


@pytest.mark.requirement("no-leaks")
@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            "\n".join(LABELS),
            [{"q": f"my request {n}, today", "a": x} for n, x in enumerate(LABELS)],
        ),
        (KEYS, [{"q": "two cups for Ann Lee", "a": KEYS.replace("...", "Ann Lee")}]),
        (f"Write {SKELETON} ...", [{"q": "orders of Ann in May", "a": f"{SKELETON} name = 'Ann'"}]),
        ("How many? SELECT count", [{"q": "How many?", "a": "select count"}]),
        ("Answer yes or no.", [{"q": "no", "a": "yes"}]),
        ("Count up to 42 in steps of 7.", [{"q": "7", "a": "42"}, {"q": "42", "a": "7"}]),
        ("Dates are like 2021-03-03.", [{"q": "3 March 2021", "a": "2021-03-03"}]),
        ("On 3 March 2021 we met.", [{"q": "3 March 2021", "a": "2021-03-03"}]),
        ("My card was charged twice is FIN.", [TICKET]),
        ("Anything", [{"q": "?!", "a": ""}]),
    ],
)
def test_labels_keys_skeletons_numbers_and_halves_of_rows_are_no_quotation(
    text: str, rows: list[Row]
) -> None:
    assert rows_in(text, *rows) == []


@given(WORDS, WORDS, WORDS)
def test_a_row_is_quoted_exactly_when_its_input_and_its_answer_stand_there(
    before: list[str], question: list[str], after: list[str]
) -> None:
    row = {"q": " ".join(["What", "about", *question]) + "?", "a": "purple"}
    around = f"{' '.join(before)} {{}} {' '.join(after)}"
    assert (rows_in(around.format(row["q"] + " Purple."), row) == [1]) is (len(question) > 0)
    assert rows_in(around.format(row["q"]), row) == []
    assert rows_in(around.format("purple"), row) == []


def test_every_input_that_is_quoted_is_told() -> None:
    rows = page({"q": "who wrote it then", "doc": "a long shared document", "a": "Ann"})
    text = "Given a long shared document: who wrote it then? Ann."
    found = quoted(rows, ["doc", "q"], ["a"], [text])
    assert found == [(1, "a long shared document"), (1, "who wrote it then")]


def test_where_nothing_may_be_quoted_an_input_or_a_run_of_it_is_enough() -> None:
    rows = page(TICKET, {"q": "another ticket of mine", "a": "my card was charged twice for"})
    alone = "My card was charged twice for the March invoice."
    assert {n for n, _ in touched(rows, ["q"], f"E.g. {alone}", "")} == {1}
    part = "card was charged twice for the March invoice"
    assert touched(rows, ["q"], part, "") == [(1, part.lower())]
    assert touched(rows, ["q"], "Card was charged twice for the May invoice", "") == []
    assert touched(rows, ["q"], f"E.g. {alone} X", alone) == []


def test_an_input_is_recognised_in_other_rows() -> None:
    assert known(page(TICKET), ["q"], ["my card was charged twice for the march invoice"])
    assert not known(page(TICKET), ["q"], ["my card was charged"])
