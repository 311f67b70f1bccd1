"""What a misspelt name may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

LONG = 64
"""Characters of a name. Nobody misspells a longer one, and comparing takes their product."""
MANY = 200


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The one of the first MANY `known` names that is most like `name`, if one is."""
    if len(name) > LONG:
        return None
    short = [one for one in islice(known, MANY) if len(one) <= LONG]
    return next(iter(get_close_matches(name, short, n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """A hint at the nearest right name, with a space before it, or nothing."""
    near = nearest(name, known, cutoff)
    return f" Did you mean {near!r}?" if near is not None else ""
