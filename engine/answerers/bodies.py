"""What an endpoint says in an error body, in whatever shape."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DEEPEST = 6
_MOST = 3
"""Entries of a list of errors that are told."""
_MESSAGES = (
    *("message", "msg", "detail", "error_message", "error_msg", "errormessage", "faultstring"),
    *("error_description", "description", "reason", "title", "raw"),
)
_INNER = (
    *("error", "errors", "fault", "metadata", "innererror", "inner_error", "exception"),
    "details",
)
_CODES = ("code", "type", "status", "reason", "error_code", "errorcode")
_FAILED = "failed_generation"
_TITLE = re.compile(r"<(title|message|h1|faultstring)[^>]*>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Said:
    """The words of an error, the codes in it (small letters), and what a model wrote in vain."""

    words: str = ""
    codes: frozenset[str] = frozenset()
    generation: str = ""

    @property
    def all(self) -> str:
        """Words and codes in small letters, to search in."""
        return " ".join([self.words, *sorted(self.codes)]).lower()

    @property
    def status(self) -> int | None:
        """The status that stands in the body, if one does."""
        numbers = [int(code) for code in self.codes if code.isdecimal() and len(code) == 3]
        return next((n for n in sorted(numbers) if 400 <= n < 600), None)


def said_in(content: bytes | str) -> Said:
    """What is said in a body: JSON, a page, or plain words."""
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    return said_by(_decoded(text))


def said_by(body: Any) -> Said:
    """What is said in a body that was read as JSON, or in plain words."""
    words = list(dict.fromkeys(filter(None, map(str.strip, _words(body, 0)))))
    whole = [w for w in words if not any(w != other and w in other for other in words)]
    if not whole and isinstance(body, dict | list) and body:
        whole = [json.dumps(body, ensure_ascii=False)]
    found = [(key.lower(), value) for key, value in _pairs(body, 0)]
    codes = {str(v).lower() for k, v in found if k in _CODES and isinstance(v, str | int)}
    generation = [v for k, v in found if k == _FAILED and isinstance(v, str)]
    return Said("; ".join(whole), frozenset(codes), generation[0] if generation else "")


def _decoded(text: str) -> Any:
    """JSON as what it says, else the text."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text


def _words(body: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    if isinstance(body, str):
        inner = _decoded(body)
        yield from _words(inner, depth + 1) if inner is not body else [_plain(body)]
    elif isinstance(body, list):
        for one in body[:_MOST]:
            yield from _words(one, depth + 1)
    elif isinstance(body, dict):
        small = {str(key).lower(): value for key, value in body.items()}
        place = small.get("loc")
        for key in (*_INNER, *_MESSAGES):
            for said in _words(small.get(key), depth + 1):
                where = ".".join(map(str, place)) + ": " if isinstance(place, list) else ""
                yield where + said


def _plain(text: str) -> str:
    """A text without markup: of a page its title."""
    if not text.lstrip().startswith("<"):
        return text
    title = _TITLE.search(text)
    return " ".join(html.unescape(_TAG.sub(" ", title[2] if title else text)).split())


def _pairs(body: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Every key with its value, also in JSON within a text."""
    if isinstance(body, str):
        body = _decoded(body)
    if depth > _DEEPEST or isinstance(body, str):
        return
    if isinstance(body, list):
        for one in body[:_MOST]:
            yield from _pairs(one, depth + 1)
    elif isinstance(body, dict):
        for key, value in body.items():
            yield str(key), value
            yield from _pairs(value, depth + 1)
