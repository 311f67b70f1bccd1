"""Two evaluations side by side, example by example, worked out once."""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
KEPT = 8
"""What was worked out last is kept; an entry of 100,000 examples takes about a megabyte."""
_DIGITS = 12  # differences equal to so many decimals are equal: 0.7 - 0.6 is 0.1


@dataclass(frozen=True)
class Sorted:
    """The numbers of the examples that both sides have a score for, by what became of them."""

    better: Sequence[int]
    worse: Sequence[int]
    same: Sequence[int]


@dataclass(frozen=True)
class Paired:
    """The mean of the paired differences, its standard error (None for one example), and how many
    examples got better, got worse and stayed."""

    gain: float
    error: float | None
    better: int
    worse: int
    same: int


class Comparisons:
    """A cache of comparisons. A key names everything that a comparison depends on, so that an entry
    never gets stale."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    async def once(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gives; if it was asked for under the same key lately, what it gave then."""
        if key not in self._kept:
            self._kept[key] = await make()
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        found: T = self._kept[key]
        return found


def sort(before: Mapping[int, float], after: Mapping[int, float], among: Container[int]) -> Sorted:
    """The examples in `among` by what became of them; those without both scores are left out."""
    better, worse, same = array("q"), array("q"), array("q")
    for n, change in sorted(_changes(before, after).items()):
        if n in among:
            (better if change > 0 else worse if change < 0 else same).append(n)
    return Sorted(better, worse, same)


def paired(before: Mapping[int, float], after: Mapping[int, float]) -> Paired | None:
    """How scores changed; None where they are not of the same examples."""
    if not before or before.keys() != after.keys():
        return None
    changes = _changes(before, after).values()
    n = len(changes)
    gain = math.fsum(changes) / n
    spread = math.fsum((change - gain) ** 2 for change in changes)
    better, worse = sum(c > 0 for c in changes), sum(c < 0 for c in changes)
    error = math.sqrt(spread / (n - 1) / n) if n > 1 else None
    return Paired(round(gain, _DIGITS), error, better, worse, n - better - worse)


def _changes(before: Mapping[int, float], after: Mapping[int, float]) -> dict[int, float]:
    return {n: round(after[n] - score, _DIGITS) for n, score in before.items() if n in after}
