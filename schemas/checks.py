"""Checks of what a call brings, with errors in words."""

from __future__ import annotations

from collections.abc import Sized

from .errors import BadInput
from .text import unstorable

MOST_NAMED = 10_000
"""Ids, or completions, in one call."""
MOST_MODELS = 8
"""So many models may answer one operation: each runs every example."""
MOST_INPUTS = 1_000
TOGETHER = "Put some of them together outside."
NAME_A_SPLIT = "Name a split, which means all of it."
USUAL = "Leave it out for the usual value."


def check_text(what: str, value: str, most: int, *, empty: bool = False) -> None:
    """Raises BadInput for a text that is empty, too long, or cannot be stored."""
    if not empty and not value.strip():
        raise BadInput(f"{what} is empty.", "Give a text.")
    if len(value) > most:
        raise BadInput(
            f"{what} has {len(value):,} characters; at most {most:,} are taken.", "Shorten it."
        )
    if unstorable(value):
        raise BadInput(
            f"{what} holds a NUL or half of a surrogate pair, which cannot be stored.",
            "Remove it.",
        )


def check_count(
    what: str, given: Sized, advice: str, most: int = MOST_NAMED, where: str = " in one call"
) -> None:
    """Raises BadInput for more than `most` things; a text is one."""
    if len(given) > most and not isinstance(given, str):
        raise BadInput(
            f"There are {len(given):,} {what}{where}; at most {most:,} are taken.", advice
        )


def check_range(name: str, value: float, least: float, most: float, advice: str = USUAL) -> None:
    """Raises BadInput for a number that is smaller than `least` or larger than `most`."""
    if not least <= value <= most:
        raise BadInput(f"{name} must be between {least} and {most}, not {value}.", advice)
