"""Rows out of JSON in the forms that people and programs write it in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.data.reading import MAX_ROW
from textgrad_mcp.schemas.errors import BadInput

from .reading import notes_of, read, rows_of

ROWS = [{"q": "1+1?", "a": "2"}, {"q": 'say "hi",\nplease', "a": "ü"}]
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.one_of(texts.filter(str.strip), st.integers(), st.booleans(), st.lists(texts))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(row) for row in ROWS),
        "\r\n".join(json.dumps(row) for row in ROWS),
        "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n",
        "".join(json.dumps(row) for row in ROWS),
        ",\n".join(json.dumps(row) for row in ROWS) + ",\n",
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        json.dumps(ROWS),
        json.dumps(ROWS, indent=1),
        "\ufeff \n" + json.dumps(ROWS),
        json.dumps({"data": ROWS}),
        json.dumps({"version": 1, "examples": ROWS}, indent=2),
        json.dumps({"rows": [{"row_idx": n, "row": row} for n, row in enumerate(ROWS)]}),
        json.dumps({"anything": ROWS}),
        json.dumps([["q", "a"], *([row["q"], row["a"]] for row in ROWS)]),
        json.dumps({k: [row[k] for row in ROWS] for k in ("q", "a")}),
        json.dumps({k: {str(n): row[k] for n, row in enumerate(ROWS)} for k in ("q", "a")}),
        json.dumps({str(n): row for n, row in enumerate(ROWS)}),
        json.dumps({"columns": ["q", "a"], "index": [0, 1], "data": [[*r.values()] for r in ROWS]}),
        json.dumps({"status": "ok", "data": {"items": ROWS, "total": 2}}),
    ],
)
def test_the_same_rows_come_out_of_every_form(text: str) -> None:
    assert rows_of(text) == ROWS


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"q": texts, "a": texts.filter(str.strip)}), min_size=1))
def test_any_texts_survive(rows: list[dict[str, str]]) -> None:
    rows = [row | {"n": str(n)} for n, row in enumerate(rows)]
    for form in (
        "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        json.dumps(rows, indent=1),
    ):
        assert rows_of(form) == rows


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), values, min_size=1), min_size=1))
def test_a_call_and_a_text_are_read_alike(rows: list[dict[str, object]]) -> None:
    assert rows_of(json.dumps(rows)) == rows_of(rows)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (2.0, "2"),
        (2.50, "2.5"),
        (1e3, "1000"),
        (0.1, "0.1"),
        (-1e-9, "-1e-09"),
        (1e300, "1e+300"),
        (True, "true"),
        (False, "false"),
        ([1, None, 2.5], "[1, null, 2.5]"),
        ({"a": {"b": "ü"}}, '{"a": {"b": "ü"}}'),
        ("null", "null"),
        ("NaN", "NaN"),
        ("007", "007"),
    ],
)
def test_values_are_texts_as_a_person_would_write_them(value: object, text: str) -> None:
    row = {"q": "x", "v": value}
    assert rows_of([row]) == [{"q": "x", "v": text}]
    assert rows_of(json.dumps(row)) == [{"q": "x", "v": text}]


@pytest.mark.requirement("tables")
def test_null_and_nan_are_missing_fields_and_never_texts() -> None:
    text = '{"q": "x", "v": null}\n{"q": "y", "v": NaN}\n{"q": "z", "v": 1}\n{"q": null}\n'
    rows, loaded = read(text)
    assert rows == [{"q": "x"}, {"q": "y"}, {"q": "z", "v": "1"}]
    said = "\n".join(loaded.notes)
    assert "null (their fields are missing in those rows): 3 left out." in said
    assert "Blank rows: 1 left out." in said
    assert loaded.uneven == 2


def test_a_row_that_is_there_twice_counts_twice_and_is_handed_on_once() -> None:
    rows, loaded = read('{"q": "x"}\n{"q": "y"}\n{"q": "x"}\n')
    assert (rows, loaded.rows) == ([{"q": "x"}, {"q": "y"}], 3)


def test_nested_values_are_said() -> None:
    assert "JSON text: d, e" in notes_of('{"q": "x", "e": [1], "d": {"a": 2}}')


def test_what_rows_are_wrapped_in_is_said() -> None:
    wrapped = json.dumps({"version": 1, "license": "x", "data": ROWS})
    assert "those of 'data' (version, license beside it was not read)" in notes_of(wrapped)
    assert "put together from columns: q, a" in notes_of('{"q": ["1", "2"], "a": ["3", "4"]}')


def test_a_single_row_with_a_list_in_it_is_a_row() -> None:
    row = {"question": "?", "choices": [{"id": "A"}, {"id": "B"}]}
    assert rows_of(json.dumps(row)) == [{"question": "?", "choices": json.dumps(row["choices"])}]


def test_whole_numbers_of_any_length_stay_as_they_are() -> None:
    assert rows_of('{"q": ' + "9" * 6000 + "}") == [{"q": "9" * 6000}]


@pytest.mark.requirement("tables")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"q": 1}\n{"q": \n', "Line 2 of examples is not valid JSON"),
        ('{"q": 1}\n\n{"q": "a" "b"}\n{"q": 3}', "Line 3 of examples is not valid JSON"),
        ('[\n{"q": 1},\n{"q" 3}\n]', "Line 3 of examples is not valid JSON"),
        ('[\n{"q": 1},\n{"q":\n  3 4}\n]', "is not valid JSON: expecting ',' delimiter on line 4"),
        ('[{"q": 1}', "is not valid JSON"),
        ("[", "is not valid JSON"),
        ('{"q": "a\n', "Line 1 of examples is not valid JSON"),
        ('{"q": 1}\n[1]', "Line 2 of examples does not begin with a JSON object"),
        ('{"q": 1}\nq,a', "Line 2 of examples does not begin with a JSON object"),
        ('[{"q": 1}, 2]', "Row 2 of examples is not an object"),
        ('["a", "b"]', "Row 1 of examples is not an object"),
        ('{"q": 1, "q": 2}', "the field 'q' stands twice"),
        ('{"q": 1, " q": 2}', "The field 'q' stands twice in line 1"),
        ('{"train": [{"q": 1}], "test": [{"q": 2}]}', "several lists of rows: train, test"),
        ('{"q": ' + "[" * 5000 + "]" * 5000 + "}", "nested too deeply"),
        ('{"data": []}', "no rows in examples"),
        ("[]", "no rows in examples"),
        ("{}", "no rows in examples"),
        ('{"": 1}', "has no name"),
        ('{"' + "n" * 201 + '": 1}', "a name of more than 200 characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(text)
    assert says in caught.value.message
    assert caught.value.next


def test_a_list_that_is_longer_than_one_row_may_be_is_read_piece_by_piece() -> None:
    row = {"q": "x" * 990_000}
    rows = [row | {"n": str(n)} for n in range(MAX_ROW // 990_000 + 2)]
    wrapped = json.dumps({"version": {"n": 1}, "data": rows, "more": [1]})
    assert len(wrapped) > MAX_ROW
    assert rows_of(json.dumps(rows)) == rows
    assert rows_of(wrapped) == rows
    assert "version, more beside it" in notes_of(wrapped)


def test_a_row_that_is_too_long_is_refused_by_its_line() -> None:
    text = '{"q": 1}\n{"q": "' + "x" * (MAX_ROW + 1)
    with pytest.raises(BadInput, match="row on line 2 of examples has more than 2,000,000"):
        read(text)


def test_a_first_row_that_is_too_long_is_refused_and_not_lost() -> None:
    row = {f"f{n}": "x" * 900_000 for n in range(4)}
    with pytest.raises(BadInput, match="row on line 1 of examples has more than 2,000,000"):
        read(f'{json.dumps(row)}\n{{"f1": "y"}}\n')


def test_too_many_rows_or_fields_are_refused() -> None:
    with pytest.raises(BadInput, match="more than 500,000 rows"):
        read("q\n" + "x\n" * 500_001)
    with pytest.raises(BadInput, match="more than 1,000 different fields"):
        read([{f"f{n}": "x"} for n in range(1001)])
