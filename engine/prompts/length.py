"""How long texts are in a prompt, and how they are shortened."""

from __future__ import annotations

import math

from . import sentence

CHARS_PER_TOKEN = 4
"""The estimate behind `max_tokens`: characters divided by this, rounded up."""


def tokens(text: str) -> int:
    """An estimate of how many tokens `text` has: characters / 4, rounded up."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def shorten(value: str, chars: int) -> str:
    """`value` with its middle left out where it is longer than `chars`, and a note of that."""
    if len(value) <= chars:
        return value
    half = max(chars // 2 - 30, 20)
    note = sentence("labels", "left_out", count=str(len(value) - 2 * half))
    return f"{value[:half]}\n{note}\n{value[-half:]}"
