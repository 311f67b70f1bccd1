"""CSV and its kin as people have them: separators, headers, blanks, sizes, and refusals by line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrad_mcp.schemas.errors import BadInput

from .reading import notes_of, read, rows_of

QA = [{"question": "2+2?", "answer": "4"}, {"question": "1+1?", "answer": "2"}]
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TOLD = "Columns were read as separated by "


@pytest.mark.requirement("tables")
@pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical")])
def test_columns_are_told_apart_by_what_the_header_and_the_rows_agree_on(
    sign: str, word: str
) -> None:
    text = "question,answer\n2+2?,4\n1+1?,2\n".replace(",", sign)
    assert rows_of(text) == QA
    assert TOLD + word in notes_of(text)


def test_commas_need_no_word() -> None:
    assert notes_of("question,answer\n2+2?,4\n") == ""


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("name;price\nx;1,5\ny;2,5\n", {"name": "x", "price": "1,5"}),
        ("q\ta\nx, y; z\t1\n", {"q": "x, y; z", "a": "1"}),
        ("q;a\nyes, no, maybe;1\n", {"q": "yes, no, maybe", "a": "1"}),
        ('q,a\n"a;b;c",x\n"d;e;f",y\n', {"q": "a;b;c", "a": "x"}),
        ("sep=;\r\nq;a\r\n1,5;2\r\n", {"q": "1,5", "a": "2"}),
        ("\ufeffsep=|\nq|a\n1,5|2\n", {"q": "1,5", "a": "2"}),
        ("q;a;\nx;1;\n", {"q": "x", "a": "1"}),
        ("\r\n\r\nq,a\r\nx,1\r\n", {"q": "x", "a": "1"}),
        ("q,a\rx,1\ry,2\r", {"q": "x", "a": "1"}),
        ("question\nhow are you; fine\n", {"question": "how are you; fine"}),
        ("| q | a |\n|---|:-:|\n| x, y | 1 |\n", {"q": "x, y", "a": "1"}),
    ],
)
def test_signs_inside_texts_are_no_separators(text: str, row: dict[str, str]) -> None:
    assert rows_of(text)[0] == row


@settings(deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"q": texts, "a": texts}), min_size=1), st.sampled_from(",;\t|")
)
def test_any_texts_survive_in_quotes(rows: list[dict[str, str]], sign: str) -> None:
    rows = [row | {"n": f"row {n}"} for n, row in enumerate(rows)]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["q", "a", "n"], quoting=csv.QUOTE_ALL, delimiter=sign)
    writer.writerow({"q": "the question", "a": "the answer", "n": "the row"})
    writer.writerows(rows)
    named = {"q": "the question", "a": "the answer", "n": "the row"}
    assert rows_of(out.getvalue()) == [{named[k]: v for k, v in row.items()} for row in rows]


def test_spaces_around_names_and_cells_are_taken_off_and_said() -> None:
    text = 'question, answer\nq1, a1\nq2, "a, b" \n'.replace(" \n", "\n")
    assert rows_of(text) == [
        {"question": "q1", "answer": "a1"},
        {"question": "q2", "answer": "a, b"},
    ]
    assert "Spaces around" in notes_of(text)
    assert rows_of("question,answer\n q1 , a1\n") == [{"question": " q1 ", "answer": " a1"}]


def test_a_column_that_stands_twice_keeps_both_under_names_that_are_said() -> None:
    text = "question,answer,answer\nq1,right,other\n"
    assert rows_of(text) == [{"question": "q1", "answer": "right", "answer 2": "other"}]
    assert "'answer' stands twice: the second is 'answer 2'" in notes_of(text)


def test_blank_rows_and_columns_are_left_out_and_counted() -> None:
    text = "question,answer,,\nq1,a1,,\n,,,\n \t,,,\n\nq2,a2,,\n,,,\n"
    assert rows_of(text) == [
        {"question": "q1", "answer": "a1"},
        {"question": "q2", "answer": "a2"},
    ]
    assert "Blank columns: 2 left out." in notes_of(text)
    assert "Blank rows: 3 left out." in notes_of(text)


def test_a_column_without_a_name_that_holds_something_is_named_by_its_place() -> None:
    text = "question,,answer\nq1,x,a1\nq2,,a2\n"
    assert rows_of(text)[0] == {"question": "q1", "column 2": "x", "answer": "a1"}
    assert "named by their place: column 2" in notes_of(text)


def test_dashes_are_cells_as_well() -> None:
    assert rows_of("q, a\n-, -\n--, x\n") == [{"q": "-", "a": "-"}, {"q": "--", "a": "x"}]


def test_a_header_that_is_repeated_is_no_row() -> None:
    text = "q,a\n1,2\nq,a\n3,4\n"
    assert rows_of(text) == [{"q": "1", "a": "2"}, {"q": "3", "a": "4"}]
    assert "Repeated header lines: 1 left out." in notes_of(text)


@pytest.mark.requirement("tables")
@pytest.mark.parametrize(
    "text",
    [
        "2+2?,4\n1+1?,2\n",
        "What is it?,Paris\nWhere is it?,Rome\n",
        "good,positive\nbad,negative\nfine,positive\nso so,positive\npoor,negative\n",
        f"{'long ' * 50},1\nshort,x\n",
    ],
)
def test_a_file_without_a_header_is_refused_and_not_robbed_of_its_first_row(text: str) -> None:
    with pytest.raises(BadInput, match="Line 1 of examples looks like a row") as caught:
        rows_of(text)
    assert "names" in caught.value.next


def test_questions_are_good_names_where_the_cells_are_none() -> None:
    assert rows_of("How are you?,Year\nfine,2020\nwell?,2021\n")[0]["How are you?"] == "fine"


def test_a_text_of_a_megabyte_is_read_and_a_longer_one_is_refused_by_its_line() -> None:
    long = "word " * 200_000
    assert rows_of(f'q,a\n"{long}",1\n')[0]["q"] == long
    with pytest.raises(BadInput, match="begins on line 3 of examples has more than 1,000,000"):
        rows_of(f'q,a\nx,y\n"{long}and more",1\n')
    with pytest.raises(BadInput, match="'q' of line 3 has 1,000,001 characters"):
        rows_of(f'q,a\nx,y\n"{long}!",1\n')


@pytest.mark.requirement("tables")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q,a\n1,2\n3\n", "Line 3 of examples has 1 column; the header has 2 (q, a)"),
        ("q,a\n1,2,3\n", "Line 2 of examples has 3 columns"),
        ('\n\nq,a\n"x\ny\nz",2\n3\n', "Line 7 of examples has 1 column"),
        ('sep=;\nq;a\n"x\ny";2\n3\n', "Line 5 of examples has 1 column"),
        ('q,a\n1,2\n"a"b,2\n', "Line 3 of examples is not valid CSV"),
        ('q,a\n1,2\n"a,2\nb,3\n', "Line 3 of examples is not valid CSV"),
        (
            "question\nwhat, now\nand, then\n",
            "one column ('question'), and the lines after it have 2",
        ),
        ("", "no rows in examples"),
        ("q,a\n", "no rows in examples"),
        ("q,a\n,\n", "no rows in examples"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line_and_what_to_do(text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(text)
    assert says in caught.value.message
    assert caught.value.next


def test_the_line_of_a_refusal_is_right_far_behind_what_was_looked_at_first() -> None:
    lines = ["q,a", *(f'"text {n}\nmore",{n}' for n in range(3000)), "alone"]
    with pytest.raises(BadInput, match="Line 6002 of examples has 1 column"):
        rows_of("\n".join(lines))
