"""Examples out of files and texts, few and many, beneath the operator's directory alone."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.tables import load_rows, parse_rows, read_rows
from textgrad_mcp.schemas.errors import BadInput

from .helpers import Tools, assisted, drive

ROWS = [{"q": "1+1?", "a": "2"}, {"q": 'say "hi",\nplease', "a": "ü"}]
JSON_LINES = "\n".join(json.dumps(row) for row in ROWS)
CSV = 'q,a\n1+1?,2\n"say ""hi"",\nplease",ü\n'


@pytest.mark.parametrize("text", [JSON_LINES, json.dumps(ROWS), CSV, "\ufeff" + CSV, "\n" + CSV])
def test_the_same_rows_come_out_of_every_form(text: str) -> None:
    assert parse_rows(text) == ROWS


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.fixed_dictionaries({"q": texts, "a": texts}), min_size=1))
def test_any_texts_survive_json_lines(rows: list[dict[str, str]]) -> None:
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert parse_rows(text) == rows


@given(st.lists(st.fixed_dictionaries({"q": texts, "a": texts.filter(bool)}), min_size=1))
def test_any_texts_survive_csv(rows: list[dict[str, str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["q", "a"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    assert parse_rows(out.getvalue()) == rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"q": 1}\n{"q": \n', "Line 2"),
        ('{"q": 1}\n[1]', "Row 2"),
        ('[{"q": 1}, 2]', "Row 2"),
        ("[", "not valid JSON"),
        ("q,a\n1,2\n3\n", "CSV row 3"),
        ("q,a\n1,2,3\n", "CSV row 2"),
        ('q,a\n"1,2\n', "not valid CSV"),
        ("", "no rows"),
        ("q,a\n", "no rows"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse_rows(text)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "deep/er/rows.jsonl", "./rows.csv"])
def test_a_file_beneath_the_data_directory_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CSV if name.endswith("csv") else JSON_LINES, encoding="utf-8")
    assert read_rows(name, tmp_path) == ROWS


@pytest.mark.requirement("confined-files")
@pytest.mark.parametrize(
    "name", ["../secret.jsonl", "link.jsonl", "dir", "none.jsonl", "/etc/hosts"]
)
def test_nothing_else_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.jsonl").write_text(JSON_LINES)
    data = tmp_path / "data"
    (data / "dir").mkdir(parents=True)
    (data / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(BadInput, match="beneath the data directory"):
        read_rows(name, data)


def test_line_breaks_inside_a_quoted_text_of_a_file_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'q,a\r\n"one\r\ntwo",3\r\n')
    assert read_rows("t.csv", tmp_path) == [{"q": "one\r\ntwo", "a": "3"}]
    (tmp_path / "t.jsonl").write_bytes(b'{"q": "1"}\r\n{"q": "2"}\r\n')
    assert read_rows("t.jsonl", tmp_path) == [{"q": "1"}, {"q": "2"}]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"q\n\xff\xfe\n")
    with pytest.raises(BadInput, match="UTF-8"):
        read_rows("t.csv", tmp_path)


def test_rows_and_a_path_together_or_neither_are_refused(tmp_path: Path) -> None:
    for given_rows, path in ((None, None), (ROWS, "rows.csv")):
        with pytest.raises(BadInput, match="either examples or path"):
            load_rows(given_rows, path, tmp_path)


@pytest.mark.requirement("confined-files")
def test_without_a_data_directory_no_file_is_read_and_the_way_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV)

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        words = await call.refused("add_examples", session_id=s, split="train", path="rows.csv")
        assert "--data-dir" in words

    drive(main, assisted(tmp_path / "t.db"))


def test_a_hundred_thousand_rows_load_from_a_file_and_a_step_uses_a_handful(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with (data / "big.jsonl").open("w") as out:
        out.writelines(f'{{"q": "question {n}", "a": "{n}"}}\n' for n in range(100_000))

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="prompt", value="P"))["session_id"]
        await call("create_variable", session_id=s, role="q", example_field="q")
        added = await call("add_examples", session_id=s, split="train", path="big.jsonl")
        assert (added["added"], added["total"]) == (100_000, 100_000)
        again = await call("add_examples", session_id=s, split="train", path="big.jsonl")
        assert (again.get("added", 0), again["skipped"]) == (0, 100_000)
        inputs = {"q": "v2"}
        first = await call("forward", session_id=s, operation="llm", system="v1", inputs=inputs)
        assert first["pending_total"] == 8
        shown = await call("inspect", session_id=s, id="e100000")
        assert "question 99999" in str(shown["view"])

    drive(main, assisted(tmp_path / "t.db", data_dir=data))


def test_a_split_that_leaks_into_another_is_said_with_a_count(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        await call("add_examples", session_id=s, split="train", examples=JSON_LINES)
        held = [*ROWS, {"q": "new", "a": "1"}]
        added = await call("add_examples", session_id=s, split="validation", examples=held)
        assert added["added"] == 3
        assert any(note.startswith("2 of these") for note in added["notes"])

    drive(main, assisted(tmp_path / "t.db"))


def test_rows_with_other_fields_than_the_rest_are_counted(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        rows = [{"q": "1", "a": "1"}, {"q": "2"}]
        added = await call("add_examples", session_id=s, split="train", examples=rows)
        assert any("1 lack some of the fields a, q" in note for note in added["notes"])

    drive(main, assisted(tmp_path / "t.db"))
