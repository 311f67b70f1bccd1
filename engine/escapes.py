r"""Backslashes in the strings of a model's JSON, where `\frac` often stands for `\\frac`.

JSON makes a form feed of `\f`, a backspace of `\b`, a tab of `\t`: nobody means the first two, and
a tab before `heta` is the rest of `\theta`. Such a backslash is put back; all others are JSON's.
"""

from __future__ import annotations

import re

_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SAME = "\"'\\/`"
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_LOW = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_LETTERS = re.compile(r"[A-Za-z]*")
_BARE_RETURN = re.compile(r"\r(?!\n)")
_COMMANDS = {
    "t": re.compile(
        r"(?:heta|imes|ilde|herefore|hinspace|hickspace|riangle[a-z]*|oprule)(?![A-Za-z])"
        r"|(?:ext[a-z]*|frac|binom|ilde|ag|itle)(?=\s*[{*])"
    ),
    "n": re.compile(
        r"(?:abla|otin|ewline|ewcommand|ewpage|ewenvironment|oindent|onumber|earrow)(?![A-Za-z])"
    ),
}
r"""What is left of LaTeX's commands where that is no word: the rest of `\theta` and `\nabla`."""
_SHORT = {
    "t": re.compile(r"an|anh|au|o|op|ext[a-z]*|frac|binom"),
    "n": re.compile(r"u|e|eq|eg|i|ot|mid|leq|geq|exists"),
}
"""The same, where a word or a name could begin so: only where the text before it is a formula."""
_IN_FORMULA = {"t": re.compile(r"[ ${(^_=+*&,|-]"), "n": re.compile(r"[${(^_=+*&|]")}


def read(text: str, at: int, like: str = "") -> tuple[str, int]:
    """What the backslash at `at` and the characters after it stand for, and where they end.

    Control characters that `like` holds may be meant.
    """
    mark = text[at + 1 : at + 2]
    if mark == "u":
        return _character(text, at)
    if mark in _PLAIN:
        kept = _is_command(text, at, mark, like)
        return (f"\\{mark}" if kept else _PLAIN[mark]), at + 2
    if mark and mark in _SAME:
        return mark, at + 2
    return "\\", at + 1  # JSON knows no such escape: \d of a pattern, \alpha of a formula


def _character(text: str, at: int) -> tuple[str, int]:
    code = _HEX.match(text, at + 2)
    if code is None:
        return "\\", at + 1  # \underline
    one = chr(int(code[0], 16))
    low = _LOW.match(text, code.end())
    if "\ud800" <= one <= "\udbff" and low:
        pair = one + chr(int(low[1], 16))
        return pair.encode("utf-16", "surrogatepass").decode("utf-16"), low.end()
    return one, code.end()


def _is_command(text: str, at: int, mark: str, like: str) -> bool:
    """Whether the backslash is one of the text itself, and begins a command or a pattern."""
    letters = _LETTERS.match(text, at + 2)
    word = letters[0] if letters else ""
    if mark in "bf":
        return _PLAIN[mark] not in like
    if mark == "r":
        return bool(word) and not _BARE_RETURN.search(like)
    if _PLAIN[mark] + word in like:
        return False
    if _COMMANDS[mark].match(text, at + 2):
        return True
    return bool(_SHORT[mark].fullmatch(word) and _IN_FORMULA[mark].fullmatch(text[at - 1 : at]))
