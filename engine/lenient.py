"""JSON objects as models write them: what a person reads without doubt, and never half of one.

Taken beside JSON: other quotes, bare keys, comments, trailing commas, Python's literals, raw line
breaks, and backslashes that somebody forgot to double. What is not closed is an error.
"""

from __future__ import annotations

import re
from typing import Any

from . import escapes

DEEPEST = 64
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“"}
_PLAIN = {close: re.compile(rf"[^\\{close}]*") for close in set(_QUOTES.values())}
_GAP = re.compile(r"(?:\s+|//[^\n]*|#[^\n]*|/\*[^*]{0,1000}\*+/)*", re.DOTALL)
_END = re.compile(r"\s*\Z")
_WORD = re.compile(r"[A-Za-z_$][\w$-]*")
_SHARE = re.compile(r"[+-]?\d+(?:\.\d+)?[ \t]*(?:/[ \t]*\d+(?:\.\d+)?|%)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_KEY_FOLLOWS = r'"(?:[^"\\\n]|\\.){1,60}"\s*:'
_ENDS_VALUE = re.compile(rf"\s*(?:[}}\]]|,\s*(?:[}}\]]|{_KEY_FOLLOWS})|\n\s*{_KEY_FOLLOWS})")
_BEFORE_QUOTES = ("", *" \n\t([{:=")
_LONGEST_INTEGER = 300
_LITERALS = {"true": True, "false": False, "null": None, "none": None, "undefined": None}


class Unreadable(ValueError):
    """No object can be read here. `at` is where it went wrong, `cut` whether the text just ends.

    `whole` says that the words are about the object, and not about the characters there.
    """

    def __init__(self, what: str, at: int, *, cut: bool = False, whole: bool = False) -> None:
        super().__init__(what)
        self.at = at
        self.cut = cut
        self.whole = whole


class ObjectReader:
    """Reads the object that may begin at a brace of `text`. `at` is how far it has come.

    What `like` holds of control characters may be meant (see `escapes.read`). `keys` are those of
    the object itself that were read so far, also where it turns out to be broken. `loose` takes
    pairs of quotes within a text that nobody escaped, and a line break for a comma.
    """

    def __init__(self, text: str, start: int, like: str = "", *, loose: bool = False) -> None:
        self.text, self.at, self._start, self._like = text, start, start, like
        self._loose = loose
        self.keys: list[str] = []

    def begins(self) -> bool:
        """Whether an object begins here: a brace, then a key with its colon, or nothing more."""
        self.at = self._start + 1
        self._gap()
        try:
            if not self._takes("}"):
                self._key()
        except Unreadable:
            return False
        return True

    def read(self) -> dict[str, Any]:
        """The object. Raises Unreadable."""
        self.at = self._start
        return self._object(0, self.keys)

    def _object(self, depth: int, keys: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.at += 1
        while True:
            self._gap()
            if self._takes("}"):
                return found
            start = self.at
            key = self._key()
            keys.append(key)
            value = self._value(depth + 1, member=True)
            if key in found and found[key] != value:
                raise Unreadable(f'broken: it has "{key}" twice', start, whole=True)
            found[key] = value
            self._gap()
            if not self._takes(",") and self._next() != "}" and not self._loose:
                raise self._wrong("Expecting ',' delimiter")

    def _list(self, depth: int) -> list[Any]:
        found: list[Any] = []
        self.at += 1
        while True:
            self._gap()
            if self._takes("]"):
                return found
            found.append(self._value(depth + 1))
            self._gap()
            if not self._takes(",") and self._next() != "]":
                raise self._wrong("Expecting ',' delimiter")

    def _key(self) -> str:
        word = _WORD.match(self.text, self.at)
        if self._next() in _QUOTES:
            key = self._string()
        elif word:
            key, self.at = word[0], word.end()
        else:
            raise self._wrong("Expecting property name enclosed in double quotes")
        self._gap()
        if not self._takes(":"):
            raise self._wrong("Expecting ':' delimiter")
        return key

    def _value(self, depth: int, *, member: bool = False) -> Any:
        if depth > DEEPEST:
            raise Unreadable("nested too deeply. Write a flat one", self.at, whole=True)
        self._gap()
        first = self._next()
        if first == "{":
            return self._object(depth, [])
        if first == "[":
            return self._list(depth)
        if first in _QUOTES:
            return self._string(_ENDS_VALUE if member and self._loose and first == '"' else None)
        return self._bare()

    def _bare(self) -> Any:
        """A number, a share such as 8/10, or a literal."""
        start = self.at
        if share := _SHARE.match(self.text, start):
            self.at = share.end()
            return share[0]
        if number := _NUMBER.match(self.text, start):
            self.at = number.end()
            whole = number[0].lstrip("+-").isdigit() and len(number[0]) < _LONGEST_INTEGER
            return int(number[0]) if whole else float(number[0])
        word = _WORD.match(self.text, start)
        if word and word[0].lower() in _LITERALS:
            self.at = word.end()
            return _LITERALS[word[0].lower()]
        if word and word[0].lower() in ("nan", "infinity", "inf"):
            raise Unreadable(f"broken: {word[0]} is not JSON", start, whole=True)
        raise self._wrong("Expecting value")

    def _string(self, ends: re.Pattern[str] | None = None) -> str:
        """A text in quotes. With `ends`, a quote is the last only before what that matches."""
        start, within = self.at, 0
        close = _QUOTES[self.text[start]]
        if self.text.startswith(close * 3, start):
            close *= 3
        plain = _PLAIN[close[0]]
        parts: list[str] = []
        self.at += len(close)
        while True:
            run = plain.match(self.text, self.at)
            assert run is not None  # it matches nothing as well
            parts.append(run[0])
            self.at = run.end()
            if self.at >= len(self.text):
                raise Unreadable("Unterminated string", start, cut=True)
            if self._takes(close):
                if ends is None or ends.match(self.text, self.at):
                    break
                before = next((piece[-1] for piece in reversed(parts[-2:]) if piece), "")
                if within % 2 == 0 and before not in _BEFORE_QUOTES:
                    raise Unreadable("Expecting ',' delimiter", self.at)
                within += 1
                piece = close
            elif self.text[self.at] == "\\":
                piece, self.at = escapes.read(self.text, self.at, self._like)
            else:  # one quote, where three end the string
                piece, self.at = self.text[self.at], self.at + 1
            parts.append(piece)
        if within % 2:
            raise Unreadable("Expecting ',' delimiter", start)
        return "".join(parts)

    def _gap(self) -> None:
        gap = _GAP.match(self.text, self.at)
        self.at = gap.end() if gap else self.at

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _takes(self, mark: str) -> bool:
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def _wrong(self, what: str) -> Unreadable:
        return Unreadable(what, self.at, cut=bool(_END.match(self.text, self.at)))
