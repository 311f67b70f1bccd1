"""How far texts are apart, and where they differ."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence


def levenshtein(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """How many insertions, deletions and substitutions turn `a` into `b` (characters or words).

    Bit-parallel (Myers 1999, in Hyyrö's form): a whole column of the table is one integer, so
    20,000 x 20,000 characters take a fraction of a second instead of minutes.
    """
    a, b = _without_common_ends(a, b)
    if not a or not b:
        return len(a) + len(b)
    places: dict[Hashable, int] = {}
    for index, item in enumerate(a):
        places[item] = places.get(item, 0) | 1 << index
    mask, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    plus, minus, distance = mask, 0, len(a)
    for item in b:
        equal = places.get(item, 0)
        vertical = equal | minus
        diagonal = (((equal & plus) + plus) ^ plus) | equal
        up, down = (minus | ~(diagonal | plus)) & mask, plus & diagonal
        distance += bool(up & last) - bool(down & last)
        up = up << 1 | 1
        plus = (down << 1 | ~(vertical | up)) & mask
        minus = up & vertical & mask
    return distance


def share_changed(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """The edit distance as a share of the longer one: 0 for equal, 1 for nothing in common."""
    longest = max(len(a), len(b))
    return levenshtein(a, b) / longest if longest else 0.0


def diff(old: str, new: str, was: str = "before", now: str = "after") -> str:
    """A unified diff of two texts, by lines, under the names `was` and `now`."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), was, now, lineterm="", n=2)
    return "\n".join(lines)


def _without_common_ends(
    a: Sequence[Hashable], b: Sequence[Hashable]
) -> tuple[Sequence[Hashable], Sequence[Hashable]]:
    shortest = min(len(a), len(b))
    start = next((i for i in range(shortest) if a[i] != b[i]), shortest)
    rest = shortest - start
    end = next((i for i in range(rest) if a[-1 - i] != b[-1 - i]), rest)
    return a[start : len(a) - end], b[start : len(b) - end]
