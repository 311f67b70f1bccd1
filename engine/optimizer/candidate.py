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
    """Why a candidate was accepted or refused: the kind of outcome (`fate`), and a sentence."""

    fate: Fate
    words: str


UNCHANGED = Reason(Fate.UNCHANGED, sentence("reasons", "unchanged"))


@dataclass
class Candidate:
    """One proposal: a text for each parameter, by the parameter's id.

    `refused` says why it is out of the running, None while it is in. `quotes` are the numbers of
    the training examples that its texts quote; `idea` is the hypothesis that its writer gave with
    it, or empty.
    """

    texts: dict[str, str] = field(default_factory=dict)
    refused: Reason | None = None
    quotes: list[int] = field(default_factory=list)
    idea: str = ""


class Unfit(Malformed):
    """Raised for a proposed text that has `problems`, so that its writer is asked to repair it.

    `fate` is that of the first problem.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(" ".join(words for _, words in problems))
        self.fate = problems[0][0]


def problems(fate: Fate, sentences: Iterable[str]) -> list[Problem]:
    """One problem for each of the sentences, all of the same fate."""
    return [(fate, words) for words in sentences]
