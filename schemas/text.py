"""What a text, and JSON, may hold: one rule for everybody who takes them in."""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
DEEPEST, DIGITS = 100, 1000
"""Levels of a JSON value, and digits of a number in it: what is made of it can be written again."""
_LARGEST = 10**DIGITS


def unstorable(value: Any) -> bool:
    """Whether a text, or a JSON value anywhere, keys included, holds a NUL or a lone surrogate:
    neither can be stored."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += [*item, *item.values()]
        elif isinstance(item, list):
            stack += item
        elif isinstance(item, str) and _UNSTORABLE.search(item):
            return True
    return False


def storable(text: str) -> str:
    """`text` with a replacement character for every NUL and every half of a surrogate pair."""
    if not _UNSTORABLE.search(text):
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\x00", "\ufffd")


def cleaned(value: Any) -> Any:
    """A JSON value whose every text, keys included, is `storable`."""
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return storable(value) if isinstance(value, str) else value


def unusable(value: Any, deepest: int = DEEPEST) -> str:
    """Why a JSON value cannot be taken in, as the rest of a sentence about it; "" if it can."""
    level = [value]
    for _ in range(deepest):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [*item, *item.values()]
            elif isinstance(item, list):
                inner += item
            elif why := _unusable(item):
                return why
        if not inner:
            return ""
        level = inner
    return f"is nested more than {deepest} levels deep"


def _unusable(item: Any) -> str:
    if isinstance(item, str):
        spoilt = _UNSTORABLE.search(item)
        return "holds a NUL or half of a surrogate pair, which cannot be stored" if spoilt else ""
    if isinstance(item, float):
        return "" if math.isfinite(item) else "holds NaN or Infinity, which are no numbers in JSON"
    if isinstance(item, int) and not -_LARGEST < item < _LARGEST:
        return f"holds a number of more than {DIGITS:,} digits"
    return ""


def no_constant(name: str) -> NoReturn:
    """For `json`'s `parse_constant`: NaN and Infinity are Python's own. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")
