"""Reads the letter that a solution ends with."""

from __future__ import annotations

import re

_STATED = re.compile(r"answer\s*(?:is)?\s*:?\s*[*(\[]*\s*([A-D])\b", re.IGNORECASE)
_ALONE = re.compile(r"^\W*([A-D])\W*$")


def chosen_letter(text: str) -> str:
    """The letter in the last `Answer: X`, or on a line of its own; empty where there is none."""
    stated = _STATED.findall(text)
    if stated:
        return str(stated[-1]).upper()
    alone = [found[1] for line in text.splitlines() if (found := _ALONE.match(line))]
    return alone[-1] if alone else ""
