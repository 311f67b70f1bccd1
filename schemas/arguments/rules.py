"""Bounds of arguments, as they stand beside a field's type: `Annotated[int, Between(1, 64)]`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..checks import MOST_NAMED, USUAL, check_count, check_range, check_text
from ..errors import BadInput


class Rule(ABC):
    """What values of the right type a field takes."""

    @abstractmethod
    def check(self, name: str, value: Any) -> None:
        """Raises BadInput for a value that the field `name` does not take."""


@dataclass(frozen=True)
class Between(Rule):
    """A number from `least` to `most`, both included; `advice` is what to do with another one."""

    least: float
    most: float
    advice: str = USUAL

    def check(self, name: str, value: float) -> None:
        """Raises BadInput for a number out of bounds."""
        check_range(name, value, self.least, self.most, self.advice)


@dataclass(frozen=True)
class FromZero(Rule):
    """No negative number."""

    def check(self, name: str, value: float) -> None:
        """Raises BadInput for a negative number."""
        if value < 0:
            raise BadInput(f"{name} must be 0 or more, not {value}.", "Leave it out to begin.")


@dataclass(frozen=True)
class Characters(Rule):
    """A text of at most `most` characters, which may be empty if `empty`."""

    most: int
    empty: bool = False

    def check(self, name: str, value: str) -> None:
        """Raises BadInput for a text that is empty, too long, or cannot be stored."""
        check_text(name, value, self.most, empty=self.empty)


@dataclass(frozen=True)
class Count(Rule):
    """At most `most` entries; `advice` is what to do with more. A text counts as one entry."""

    advice: str
    most: int = MOST_NAMED
    where: str = " in one call"

    def check(self, name: str, value: Any) -> None:
        """Raises BadInput for more entries."""
        check_count(name, value, self.advice, self.most, self.where)


@dataclass(frozen=True)
class Each(Rule):
    """Every entry of a list obeys `rule`; errors call it `name`."""

    name: str
    rule: Rule

    def check(self, name: str, value: list[Any]) -> None:
        """Raises BadInput for the first entry that does not."""
        for item in value:
            self.rule.check(self.name, item)


@dataclass(frozen=True)
class Positive(Rule):
    """Finite numbers above 0 under some of the names `keys`."""

    keys: tuple[str, ...]

    def check(self, name: str, value: Mapping[str, float]) -> None:
        """Raises BadInput for another name, and for another number."""
        for key, number in value.items():
            if key not in self.keys or not 0 < number < math.inf:
                raise BadInput(
                    f"{name} cannot have {key}={number}.",
                    f"Give finite numbers above 0 for some of {', '.join(self.keys)}.",
                )


LATER: Final = "later"
"""Beside the type of an argument that its tool did not have from the beginning."""
