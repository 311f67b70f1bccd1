"""Candidates: proposed texts, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ...schemas.graph import Fate, Variable
from ..prompts import sentence
from ..replies.reply import Malformed

Problem = tuple[Fate, str]
"""What is wrong with a proposed text, and the sentence on it for the model that wrote it."""


Check = Callable[[Variable, str], Awaitable[list[Problem]]]
"""What else is wrong with a proposed text than what its constraints say."""


@dataclass(frozen=True)
class Reason:
    """Why a candidate came to its fate."""

    fate: Fate
    words: str


UNCHANGED = Reason(Fate.UNCHANGED, sentence("reasons", "unchanged"))


@dataclass
class Candidate:
    """One proposal for each parameter; `refused` says why it is out of the running.

    `quotes` are the numbers of the training examples that its texts quote; `idea` is the hypothesis
    that it follows, if it was told.
    """

    texts: dict[str, str] = field(default_factory=dict)
    refused: Reason | None = None
    quotes: list[int] = field(default_factory=list)
    idea: str = ""


class Unfit(Malformed):
    """A proposed text that cannot be taken; `fate` is that of the first of its problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(" ".join(words for _, words in problems))
        self.fate = problems[0][0]


def problems(fate: Fate, sentences: Iterable[str]) -> list[Problem]:
    """Problems that would all come to the same fate."""
    return [(fate, words) for words in sentences]
