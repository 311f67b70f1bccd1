"""Which text to improve next: the newest, the best, or one that is best on some example.

Always taking the best one gets stuck; parents drawn from the instance-level Pareto front were
worth 6.4 points to GEPA (arXiv 2507.19457, section 3.2 and its ablation).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from operator import ge

from pydantic import BaseModel

from ...schemas.arguments.optimize import Parents

MOST = 24


class PoolEntry(BaseModel):
    """Texts, by the parameter's id, with their score on each validation example (0 to 1).

    `name` says where they come from. `led` are the ids of the gradients that led from the texts
    last installed to these, by parameter.
    """

    name: str
    texts: dict[str, str]
    scores: list[float]
    led: dict[str, list[str]] = {}

    @property
    def mean(self) -> float:
        """The mean score."""
        return sum(self.scores) / len(self.scores)


class CandidatePool(BaseModel):
    """The texts tried so far; `current` is the index of those that are installed."""

    members: list[PoolEntry]
    current: int = 0

    def choose(self, how: Parents, seed: int, iteration: int) -> PoolEntry:
        """The texts to rewrite in this iteration, drawn as `how` says; the same for the same
        history, seed and iteration."""
        if how == "newest" or len(self.members) == 1:
            return self.members[self.current]
        if how == "best":
            return max(self.members, key=lambda m: (m.mean, -self.members.index(m)))
        weights = pareto_front(self.members)
        draw = random.Random(f"{seed}:{iteration}")  # noqa: S311 - a draw that can be repeated
        return draw.choices(self.members, weights)[0]

    def add(self, parent: PoolEntry, *, installed: bool) -> None:
        """Take in scored texts; the weakest goes when there are too many."""
        self.members.append(parent)
        if installed:
            self.current = len(self.members) - 1
        if len(self.members) > MOST:
            spare = [i for i in range(len(self.members)) if i != self.current]
            worst = min(spare, key=lambda i: (self.members[i].mean, i))
            del self.members[worst]
            self.current -= worst < self.current

    def restart(self) -> None:
        """Keep the installed texts alone; from now on the others are measured against them."""
        installed = self.members[self.current]
        scores = [0.0] * len(installed.scores)
        self.members, self.current = [installed.model_copy(update={"scores": scores})], 0


def pareto_front(members: Sequence[PoolEntry]) -> list[int]:
    """For each member, on how many examples nothing is better; 0 for those that are dominated.

    Dominated: another is at least as good on every example, and better on one or simply earlier.
    """
    kept = [
        i
        for i, m in enumerate(members)
        if not any(_dominates(other, m, j < i) for j, other in enumerate(members) if j != i)
    ]
    best = [max(members[i].scores[k] for i in kept) for k in range(len(members[0].scores))]
    return [
        sum(m.scores[k] == top for k, top in enumerate(best)) if i in kept else 0
        for i, m in enumerate(members)
    ]


def _dominates(a: PoolEntry, b: PoolEntry, earlier: bool) -> bool:
    return all(map(ge, a.scores, b.scores)) and (earlier or a.scores != b.scores)
