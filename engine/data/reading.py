"""One reading of rows: its limits, and what was guessed, dropped or renamed, to be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...schemas.errors import BadInput

MAX_BYTES = 256 << 20
"""Bytes of a file, unpacked."""
MAX_ROWS = 500_000
MAX_FIELDS = 1000
MAX_NAME = 200
"""Characters of a field's name."""
MAX_ROW = 2_000_000
"""Characters of one row in a text, or twice those of a value where the operator allows long ones.
What is taken at a time keeps others waiting."""
SHOWN = 40
"""Characters of a value that a note or a refusal quotes."""

Row = tuple[int, dict[str, Any]]
"""Where a row stands (a line of the file, or its number), and its values as they came."""


@dataclass
class Reading:
    """What is being read. `name` is how messages call it, `most` the characters of a value,
    `noun` what rows are counted in, `notes` what is to be said of it, `names` the fields' names by
    how they were written."""

    name: str
    most: int
    noun: str = "row"
    notes: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    nested: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def most_in_row(self) -> int:
        """Characters that a row may have in a text."""
        return max(MAX_ROW, 2 * self.most)

    def say(self, note: str) -> None:
        """Keep a sentence for whoever reads the result, unless it was kept already."""
        if note not in self.notes:
            self.notes.append(note)

    def drop(self, what: str) -> None:
        """Count one more of `what` ('Blank rows') that is left out."""
        self.dropped[what] += 1

    def said(self) -> list[str]:
        """The sentences that were kept, and how many rows were left out; once all is read."""
        left_out = [f"{what}: {count} left out." for what, count in self.dropped.items()]
        nested = sorted(self.nested)
        if nested:
            left_out.append(f"Nested values were taken as JSON text: {listed(nested)}.")
        return [*self.notes, *left_out]


def shown(text: str) -> str:
    """`text` in quotes, cut when it is long."""
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…")


def listed(names: Collection[str], most: int = 20) -> str:
    """The first of `names`, and how many more there are."""
    first = [name if len(name) <= SHOWN else f"{name[: SHOWN - 1]}…" for name in names][:most]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def free_name(name: str, taken: Collection[str]) -> str:
    """`name`; where that is taken, with the first number behind it that makes it a new one."""
    n, free = 1, name
    while free in taken:
        n += 1
        free = f"{name} {n}"
    return free


def counted(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, up to the limit. Raises BadInput for more."""
    for count, row in enumerate(rows):
        if count == MAX_ROWS:
            raise BadInput(
                f"There are more than {MAX_ROWS:,} rows.",
                "Give fewer: a step uses a handful at a time, so a sample teaches as well.",
            )
        yield row
