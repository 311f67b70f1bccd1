"""The words of a text, so that case, spacing, punctuation and unicode's forms do not count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

SAYS, LETTERS = 3, 12
CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")  # without spaces each character is a word
_PIECE = re.compile(r".{1,20000}(?=\s|\Z)|.{1,20000}", re.DOTALL)  # others have their turn between
_PLAIN = {i: chr(i).lower() if chr(i).isalnum() else " " for i in range(128)}
_UNSEEN = dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))


def words(text: str) -> list[str]:
    """The words, in order: letters and digits, case folded."""
    return [word for piece in _PIECE.findall(text) for word in _in_order(piece)]


def runs(of: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    """Every `length` words that follow each other."""
    return zip(*(of[start:] for start in range(length)), strict=False)


def says_much(of: Sequence[str]) -> bool:
    """Whether so many words hardly stand in two places by chance: labels and numbers may."""
    return weight(of) >= SAYS or sum(map(len, of)) >= LETTERS


def weight(of: Sequence[str]) -> int:
    """How much so many words say: without spaces, three characters count as a word."""
    single = sum(len(word) == 1 and word > "\u3000" for word in of)
    return len(of) - single + single // 3


def _in_order(piece: str) -> list[str]:
    if piece.isascii():
        return piece.translate(_PLAIN).split()
    plain = unicodedata.normalize("NFKC", piece).translate(_UNSEEN).casefold()
    return _WORD.findall(plain)
