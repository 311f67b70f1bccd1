"""Bytes as text: the encoding of a file is known from its marks, or guessed and said."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO, TextIO

from ...schemas.errors import BadInput
from .reading import Reading, shown

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does: asked first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = "cp1251 cp1253 cp1255 cp1256 cp874 koi8_r gb18030 big5 cp932 euc_jp cp949"
_LATIN = ("cp1252", "cp1250", "cp1254")
_RARE = bytes.fromhex(
    "81838687 88898a8b 8d8e8f90 989a9b9d 9e9fa4a5 a6a8acad afb3b8b9 d0d7def0 f7fe"
)
"""Signs of windows-1252 that Western texts hardly ever have."""
_FEW = 0.2
"""What texts in Latin letters hold less of beyond ASCII, as a share of the lines that have any."""
_HEAD = 4096
_CHUNK = 1 << 16
_SAMPLE = 1 << 12
"""Bytes of lines beyond ASCII that an encoding is guessed from."""
_SAVE = "Save it as UTF-8 (in Excel: CSV UTF-8) and load it again."


def decoded(reading: Reading, file: BinaryIO) -> TextIO:
    """The file as text, from its start, with line ends as they are. Raises BadInput."""
    encoding = _marked(reading, file.read(_HEAD))
    file.seek(0)
    if encoding is None:
        encoding = "utf-8" if _is_utf8(file) else _guessed(reading, file)
        file.seek(0)
    return io.TextIOWrapper(file, encoding, newline="")


def _marked(reading: Reading, head: bytes) -> str | None:
    """The encoding that a byte order mark, or the zeros of wide characters, give away."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            if encoding != "utf-8-sig":
                reading.say(f"{reading.name} was read as {encoding.upper()}.")
            return encoding
    if b"\x00" not in head:
        return None
    encoding = "utf-16-le" if 0 not in head[::2] else "utf-16-be"
    text = head[: len(head) // 4 * 4].decode(encoding, "replace")
    if (0 in head[::2] and 0 in head[1::2]) or not all(
        c.isprintable() or c in "\t\r\n" for c in text
    ):
        raise BadInput(
            f"{reading.name} is a binary file.",
            "Give a text file (CSV, JSON Lines, JSON), an .xlsx workbook or a Parquet file.",
        )
    reading.say(f"{reading.name} was read as {encoding.upper()}.")
    return encoding


def _is_utf8(file: BinaryIO) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := file.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _guessed(reading: Reading, file: BinaryIO) -> str:
    """What a file that is not UTF-8 is most likely written in. Raises BadInput."""
    from charset_normalizer import from_bytes  # takes its time, and is seldom needed

    sample, broken = _sampled(reading, file)
    found = from_bytes(sample, cp_isolation=[*_LATIN, *_OTHERS.split()])
    likely = [name for match in found for name in (match.encoding, *match.could_be_from_charset)]
    encoding = _likeliest(likely, sample)
    if encoding is None:
        raise BadInput(
            f"{reading.name} is not UTF-8 text (first seen on line {broken}), and what else it is "
            "cannot be told.",
            _SAVE,
        )
    reading.say(_guess(reading, encoding, sample))
    return encoding


def _likeliest(likely: list[str], sample: bytes) -> str | None:
    """One of the encodings that a sample is likely in: what Excel writes in the West, if it can
    be; a few letters are too little to tell a language from, and taken for Western ones."""
    if _LATIN[0] in likely:
        return _LATIN[0]
    beyond = [byte for byte in sample if byte > 127]
    few = not likely or (likely[0] not in _LATIN and len(beyond) < _FEW * len(sample))
    if few and not any(byte in _RARE for byte in beyond):
        return _LATIN[0]
    return likely[0] if likely else None


def _sampled(reading: Reading, file: BinaryIO) -> tuple[bytes, int]:
    """Lines beyond ASCII, and the number of the first that is not UTF-8. Raises BadInput where
    some are UTF-8 and some are not."""
    sample, broken, sound = bytearray(), 0, False
    file.seek(0)
    for number, line in _beyond_ascii(file):
        try:
            line.decode("utf-8")
            sound = True
        except UnicodeDecodeError:
            broken = broken or number
            sample += line[:_SAMPLE]
        if sound and broken:
            raise BadInput(
                f"{reading.name} is UTF-8 in some lines and something else in others (such as "
                f"line {broken}).",
                _SAVE,
            )
        if len(sample) > _SAMPLE:
            break
    return bytes(sample), broken


def _beyond_ascii(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that hold more than ASCII, with their numbers."""
    number = 1
    while line := file.readline(_CHUNK):
        if not line.isascii():
            yield number, line
        number += line.endswith(b"\n")


def _guess(reading: Reading, encoding: str, sample: bytes) -> str:
    text = sample.decode(encoding, "replace")
    word = next((word for word in text.split() if not word.isascii()), text.strip())
    spoken = encoding.replace("cp125", "windows-125")
    return (
        f"{reading.name} is not UTF-8 and was read as {spoken} (it holds {shown(word)}). If "
        "letters are wrong, save it as UTF-8 and load that."
    )
