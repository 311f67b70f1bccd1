"""Files of rows: encodings, packing, workbooks, and what is no table; beneath one folder alone."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.data.reading import MAX_BYTES
from textgrad_mcp.schemas.errors import BadInput

from .reading import in_file, read

ROWS = [{"q": "1+1?", "a": "2"}, {"q": 'say "hi",\nplease', "a": "ü"}]
JSON_LINES = "\n".join(json.dumps(row) for row in ROWS)
CSV = 'q,a\n1+1?,2\n"say ""hi"",\nplease",ü\n'


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "deep/er/rows.jsonl", "./rows.csv"])
def test_a_file_beneath_the_data_directory_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    in_file(tmp_path, name, CSV if name.endswith("csv") else JSON_LINES)
    assert read(path=name, beneath=tmp_path)[0] == ROWS
    assert read(path=str(tmp_path / name), beneath=tmp_path)[0] == ROWS


@pytest.mark.requirement("confined-files")
@pytest.mark.parametrize(
    "name",
    ["../secret.jsonl", "link.jsonl", "dir", "none.jsonl", "/etc/hosts", "", "a\0b", "n" * 5000],
)
def test_nothing_else_is_read(tmp_path: Path, name: str) -> None:
    in_file(tmp_path, "secret.jsonl", JSON_LINES)
    data = tmp_path / "data"
    (data / "dir").mkdir(parents=True)
    (data / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(BadInput, match="beneath the data directory"):
        read(path=name, beneath=data)


def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        in_file(tmp_path, name, CSV)
    for wrong in ("tain.csv", "."):
        with pytest.raises(BadInput) as caught:
            read(path=wrong, beneath=tmp_path)
        assert "train.csv" in caught.value.next
    (tmp_path.parent / "elsewhere.csv").write_text(CSV)
    with pytest.raises(BadInput) as caught:
        read(path="../elsewher.csv", beneath=tmp_path)
    assert "elsewhere" not in caught.value.next


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_is_read_however_it_is_encoded(tmp_path: Path, codec: str) -> None:
    rows, loaded = read(**in_file(tmp_path, "t.csv", "q;a\r\nGrüße;„ja“\r\n", codec))
    assert rows == [{"q": "Grüße", "a": "„ja“"}]
    told = any(f"was read as {codec.upper()}" in note for note in loaded.notes)
    assert told == (not codec.startswith("utf-8"))


@pytest.mark.requirement("tables")
@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Frage;Antwort\nWie heißt die Hauptstadt?;Köln\n", "cp1252"),
        ("question;réponse\nOù est le café ?;là\n", "cp1252"),
        ("q,a\nprice?,5 €\n", "cp1252"),
        ("q,a\nit’s “so”,1\n", "cp1252"),  # noqa: RUF001
        ("q;a\n" + "".join(f"{n};é\n" for n in range(3000)), "latin-1"),
        ("вопрос;ответ\nКак дела?;Хорошо\n", "cp1251"),  # noqa: RUF001
        ("pytanie;odpowiedź\nJaka jest stolica Polski?;Warszawa jest źródłem\n", "cp1250"),
        ("問題,答案\n台灣的首都是哪裡?,台北\n", "big5"),
        ("質問,答え\n日本の首都は?,東京\n", "shift_jis"),
    ],
)
def test_other_encodings_are_guessed_and_said_with_a_word_to_check(
    tmp_path: Path, text: str, codec: str
) -> None:
    rows, loaded = read(**in_file(tmp_path, "t.csv", text, codec))
    told = next(note for note in loaded.notes if "not UTF-8 and was read as" in note)
    sign = ";" if ";" in text else ","
    assert rows[0] == dict(zip(*(line.split(sign) for line in text.split("\n")[:2]), strict=True))
    assert any(not word.isascii() and word in told for word in text.split()), told


@pytest.mark.requirement("tables")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"q,a\n\xc3\xbc,1\n\xe9,2\n", "UTF-8 in some lines and something else in others (such as"),
        ("q,réponse\nOù est le café?,là\n".encode("mac-roman"), "cannot be told"),
        (b"\x00\x01\x02\x00\x03abc\x00\x00", "binary file"),
        (b"q,a\n" + b"x,1\n" * 2000 + b"y\x00,2\n", "'q' of line 2002 holds a NUL"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel file"),
        (b"SQLite format 3\x00", "a SQLite database"),
        (b"PAR1" + b"x" * 100, "not a sound Parquet file"),
        (b"PK\x03\x04rest", "not a sound zip file"),
        (gzip.compress(CSV.encode() * 999)[:-9], "cannot be unpacked to its end"),
        (gzip.compress(b"q\n" + b"x" * MAX_BYTES), "more than 256 MiB"),
        (b"", "no rows in 't.csv'"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_why(
    tmp_path: Path, content: bytes, says: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read(**in_file(tmp_path, "t.csv", content))
    assert says in caught.value.message
    assert caught.value.next


def test_the_first_line_that_is_not_like_the_others_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\(such as line 2\)"):
        read(**in_file(tmp_path, "t.csv", b"q,a\n\xe9,2\n\xc3\xbc,1\n"))


def test_a_file_larger_than_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(BadInput, match="more than 256 MiB"):
        read(path="t.csv", beneath=tmp_path)


def test_a_packed_file_is_unpacked_and_that_is_said(tmp_path: Path) -> None:
    rows, loaded = read(**in_file(tmp_path, "t.csv.gz", gzip.compress(CSV.encode())))
    assert rows == ROWS
    assert any("gzip" in note for note in loaded.notes)


def test_line_breaks_inside_a_quoted_text_stay_as_they_are(tmp_path: Path) -> None:
    found = read(**in_file(tmp_path, "t.csv", b'q,a\r\n"one\r\ntwo",3\r\n'))[0]
    assert found == [{"q": "one\r\ntwo", "a": "3"}]
    found = read(**in_file(tmp_path, "t.jsonl", '{"q": "a\u2028b"}\r\n{"q": "2"}\r\n'))[0]
    assert found == [{"q": "a\u2028b"}, {"q": "2"}]


def workbook(*sheets: list[list[Any]]) -> bytes:
    """An Excel workbook with these sheets."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for n, lines in enumerate(sheets):
        sheet = book.create_sheet(f"Sheet {n + 1}")
        for line in lines:
            sheet.append(line)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_workbook_is_read_as_the_same_table_in_csv_is(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 1, 2)
    lines: list[list[Any]] = [
        ["q", " when ", None, "n"],
        ["x", day, None, 4],
        [],
        ["y", day, None, 2.50],
    ]
    rows, loaded = read(**in_file(tmp_path, "t.xlsx", workbook(lines, [["other"], ["sheet"]])))
    assert rows == [
        {"q": "x", "when": "2026-01-02", "n": "4"},
        {"q": "y", "when": "2026-01-02", "n": "2.5"},
    ]
    said = "\n".join(loaded.notes)
    assert "Of 2 sheets the first was read: 'Sheet 1'." in said
    assert "Blank columns: 1 left out." in said
    assert "Blank rows: 1 left out." in said


def test_a_workbook_without_a_header_is_refused_by_its_row(tmp_path: Path) -> None:
    lines: list[list[Any]] = [["", ""], ["2+2", 4], ["1+1", 2]]
    with pytest.raises(BadInput, match=r"Row 2 of 't.xlsx' looks like a row \(2\+2, 4\)"):
        read(**in_file(tmp_path, "t.xlsx", workbook(lines)))


def test_a_parquet_file_is_read_with_its_numbers_and_nested_values(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {
        "q": ["x", None],
        "n": [1.0, 2.5],
        "chat": [[{"role": "user", "words": "hi"}], []],
        "day": [datetime.date(2026, 1, 2)] * 2,
        "bytes": [b"text", b"\xff\xfe"],
    }
    parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
    rows, loaded = read(path="t.parquet", beneath=tmp_path)
    assert any(note.startswith("Values that are binary") for note in loaded.notes)
    assert rows == [
        {
            "q": "x",
            "n": "1",
            "chat": '[{"role": "user", "words": "hi"}]',
            "day": "2026-01-02",
            "bytes": "text",
        },
        {"n": "2.5", "chat": "[]", "day": "2026-01-02"},
    ]


@pytest.mark.parametrize(
    ("library", "content"),
    [("pyarrow.parquet", b"PAR1"), ("openpyxl", None)],
)
def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, content: bytes | None
) -> None:
    given = in_file(tmp_path, "t.xlsx", content or workbook([["q"], ["x"]]))
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(BadInput) as caught:
        read(**given)
    assert "textgrad-mcp[data]" in caught.value.next
    assert library.partition(".")[0] in caught.value.message


def test_an_archive_that_is_no_workbook_or_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    def archive(member: str, size: int) -> bytes:
        out = io.BytesIO()
        packed = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED)
        with packed, packed.open(member, "w") as file:
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
        return out.getvalue()

    with pytest.raises(BadInput, match="is a zip archive"):
        read(**in_file(tmp_path, "t.zip", archive("rows.csv", 1 << 20)))
    with pytest.raises(BadInput, match="more than 256 MiB"):
        read(**in_file(tmp_path, "t.xlsx", archive("xl/workbook.xml", MAX_BYTES + (2 << 20))))


def test_how_long_a_text_may_be_is_the_operators_word(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    given = in_file(tmp_path, "t.csv", f"q,a\n{'x' * 5001},1\n")
    with pytest.raises(BadInput, match="at most 5,000 are taken"):
        read(**given, most=5000)
    assert csv.field_size_limit() >= limit
