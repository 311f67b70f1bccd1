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


def no_constant(name: str) -> NoReturn:
    """For `json`'s `parse_constant`: NaN and Infinity are Python's own. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")
