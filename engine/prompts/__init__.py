"""What is sent to models: a file for each kind of call, and lines of those put together."""

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


@cache
def _sentences(name: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in _load(name).split("\n"))


def sentence(name: str, key: str, /, **values: str) -> str:
    """The line of the file `name` that begins with `key`, with its {placeholders} filled in."""
    found = _sentences(name)[key]
    return render(found, values) if values else found
