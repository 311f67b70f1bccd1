"""What a text, and JSON, may hold: one rule for everybody who takes them in."""

from __future__ import annotations

import re
from typing import Any, NoReturn

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


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


def no_constant(name: str) -> NoReturn:
    """For `json`'s `parse_constant`: NaN and Infinity are Python's own. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")
