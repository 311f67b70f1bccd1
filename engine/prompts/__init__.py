"""What is sent to models: one file for each kind of call, readable as prose."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from .template import render


@cache
def _load(name: str) -> str:
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8").strip()


def text(name: str, **values: str) -> str:
    """The text `name`, with its {placeholders} filled in."""
    return render(_load(name), values) if values else _load(name)
