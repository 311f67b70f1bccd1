"""Workbooks and Parquet files, where the libraries that read them are installed."""

from __future__ import annotations

import gc
import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from ...schemas.errors import BadInput
from .reading import MAX_BYTES, Reading, Row, shown
from .separated import table
from .values import text_of

_ZIP, _PARQUET = b"PK\x03\x04", b"PAR1"
_OLD_EXCEL, _ARROW, _SQLITE = b"\xd0\xcf\x11\xe0", b"ARROW1", b"SQLite format 3"
_OTHERS = {
    _OLD_EXCEL: ("an old Excel file (.xls)", "Save it as .xlsx or as CSV UTF-8."),
    _ARROW: ("an Arrow file", "Save it as Parquet."),
    _SQLITE: ("a SQLite database", "Export the table as CSV."),
    b"%PDF": ("a PDF", "Give its table as CSV."),
}
_BATCH = 500
"""Rows of a Parquet file that are unpacked at a time."""


def binary_rows(reading: Reading, file: BinaryIO) -> Iterator[Row] | None:
    """The rows of a workbook or a Parquet file; None if it is neither. Raises BadInput."""
    head = file.read(16)
    file.seek(0)
    for mark, (what, instead) in _OTHERS.items():
        if head.startswith(mark):
            raise BadInput(f"{reading.name} is {what}, which is not read.", instead)
    if head.startswith(_PARQUET):
        return _parquet(reading, file)
    return _workbook(reading, file) if head.startswith(_ZIP) else None


def _parquet(reading: Reading, file: BinaryIO) -> Iterator[Row]:
    parquet = _library(reading, "pyarrow.parquet", "a Parquet file")
    try:
        batches = parquet.ParquetFile(file).iter_batches(batch_size=_BATCH)
        rows = (row for batch in batches for row in batch.to_pylist())
        yield from enumerate(rows, 1)
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own are among these
        raise _damaged(reading, "Parquet", error) from error


def _workbook(reading: Reading, file: BinaryIO) -> Iterator[Row]:
    _check_archive(reading, file)
    openpyxl = _library(reading, "openpyxl", "an Excel workbook")
    yield from table(reading, _cells(reading, openpyxl, file))


def _cells(reading: Reading, openpyxl: Any, file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """The cells of the first sheet that is shown, as texts."""
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if len(sheets) > 1:
            reading.say(f"Of {len(sheets)} sheets the first was read: {shown(sheets[0].title)}.")
        for sheet in sheets[:1]:
            sheet.reset_dimensions()  # what the file says of its size is often wrong
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                yield number, [text_of(cell) or "" for cell in cells]
    except (ParseError, LookupError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(reading, "Excel", error) from error


def _check_archive(reading: Reading, file: BinaryIO) -> None:
    """Raises BadInput for an archive that is no workbook, or that unpacks to too much."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise _damaged(reading, "zip", error) from error
    if "xl/workbook.xml" not in {member.filename for member in members}:
        raise BadInput(f"{reading.name} is a zip archive.", "Unpack it and name a file of it.")
    if sum(member.file_size for member in members) > MAX_BYTES:
        raise BadInput(
            f"{reading.name} has more than {MAX_BYTES >> 20} MiB (unpacked).", "Save it as CSV."
        )
    file.seek(0)


def _library(reading: Reading, name: str, what: str) -> Any:
    try:
        known = name in sys.modules
        library = import_module(name)
        if not known:  # else each collection goes through all imports again, and everybody waits
            gc.freeze()
        return library
    except ImportError as error:
        raise BadInput(
            f"{reading.name} is {what}; reading one needs {name.partition('.')[0]}, which is not "
            "installed beside the server.",
            "The operator can: pip install 'textgrad-mcp[data]'. Or save it as CSV UTF-8.",
        ) from error


def _damaged(reading: Reading, form: str, error: Exception) -> BadInput:
    said = str(error).partition("\n")[0][:200]
    return BadInput(
        f"{reading.name} is not a sound {form} file: {said}.", "Save it anew, or as CSV."
    )
