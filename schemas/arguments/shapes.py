"""What an argument is, beside its type: by it, one that a host wrote in another shape is read."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, get_args

from pydantic.fields import FieldInfo


class Shape(Enum):
    """What an argument is; who reads it knows what may have been written for it."""

    TEXT = auto()
    """A text of its own, taken as it is."""
    ANY_TEXT = auto()
    """The same, and it may well be the word null."""
    ID = auto()
    """The id of one thing."""
    NAME = auto()
    """A name that somebody gave."""
    IDS = auto()
    """A list of ids."""
    LINES = auto()
    """A list of texts."""
    INPUTS = auto()
    """Ids of variables by names."""
    EXAMPLES = auto()
    """Ids of examples, or the name of a split."""
    ROWS = auto()
    """A table: rows, or a text that holds them."""
    COMPLETIONS = auto()
    """Answers by the ids of calls."""


def beside(field: FieldInfo) -> Iterator[Any]:
    """All that stands beside a field's type in `Annotated`, also where the field may be None."""
    yield from field.metadata
    for arm in get_args(field.annotation):
        yield from getattr(arm, "__metadata__", ())


def shape_of(field: FieldInfo) -> Shape | None:
    """How a field is read; None for a number, a choice, a truth value, an object."""
    return next((one for one in beside(field) if isinstance(one, Shape)), None)
