"""The check on the minibatch: which candidate is the best there, read no further than that takes.

What can change nothing any more is not asked for, so that the outcome is what it would be if all
candidates were read on all examples.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from ..evaluation.scoring import Scored, Texts
from ..runs.context import RunContext
from . import reasons
from .candidate import Candidate, Reason
from .trial import ROUNDING, Trial, added, in_one_round, in_order, score_all

HALVES = 2
"""A candidate is read on the minibatch in so many parts."""


@dataclass
class Reading:
    """A candidate on those `examples` of the minibatch that count for it, as far as it was read.

    `before` are the scores of its parent there, `after` its own on the first of them, `longer` is
    by how many characters it exceeds it; `failed` says where an evaluator failed on it. `excused`:
    it quotes an example that its parent fails on, where it may be better, which is not measured.
    `place` is its place among texts whose writer puts the most promising first; 0 for all where
    there is no such order.
    """

    index: int
    longer: int
    examples: list[int]
    before: list[float]
    after: list[float] = field(default_factory=list)
    failed: str = ""
    excused: bool = False
    place: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is left to be read."""
        return len(self.after) == len(self.examples)

    @property
    def rank(self) -> reasons.Rank:
        """What decides which is the best: its gain if it has 1.00 on all that is left, 0 where no
        example counts for it; then whether it is excused, its place, the shorter, the first."""
        most = sum(self.best_case()) - sum(self.before)
        gain = most / len(self.examples) if abs(most) > ROUNDING else 0.0
        return gain, self.excused, -self.place, -self.longer, -self.index

    @property
    def may_pass(self) -> bool:
        """Whether it gains, or scores the same everywhere and is shorter or excused, if it has 1.00
        on all that is left."""
        as_good = self.best_case() == self.before and any(self.before)
        better = self.rank[0] > 0 or (as_good and (self.longer < 0 or self.excused))
        return not self.examples or better

    def next_part(self) -> list[int]:
        """The examples that were read, and as many more as are read at once."""
        return self.examples[: len(self.after) - (-len(self.examples) // HALVES)]

    def best_case(self) -> list[float]:
        """Its scores, with 1.00 on all that is left."""
        return [*self.after, *[1.0] * (len(self.examples) - len(self.after))]


async def best_on_minibatch(
    work: RunContext,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    minibatch: Sequence[int],
    standing: Sequence[int],
    trial: Trial,
    parent: Texts,
) -> list[int]:
    """The candidate that gained most over its `parent`, or did as well and is shorter; or none. Of
    several that gained as much, the one that its writer put first, or else the shortest.

    Always the one is read on that would be the best if it had 1.00 on all that is left. Examples
    that a candidate quotes do not count for it; where it quotes all, it may go on.
    """
    common = work, candidates, losses
    present, _ = await score_all(*common, minibatch, [], parent)
    trial.parent = dict(present.scores)
    left = [_unread(present, index, candidates[index], parent) for index in standing]

    async def read(one: Reading, part: list[int]) -> None:
        _, scored = await score_all(*common, part, [one.index], parent, part=True)
        mine = scored[one.index]
        one.after, one.failed = in_order(mine, part), reasons.failures(mine)
        trial.scores[one.index] = dict(mine.scores)

    if in_one_round(work, present.evaluation.program):
        await score_all(*common, minibatch, standing, parent)
        for one in left:
            if one.examples:
                await read(one, one.examples)
    best = await first_of(left, read)
    trial.reasons |= {one.index: _out(one, best) for one in left if one is not best}
    trial.higher = trial.higher or (best is not None and best.rank[0] > 0)
    return [best.index] if best else []


async def first_of(
    readings: Sequence[Reading], read: Callable[[Reading, list[int]], Awaitable[None]]
) -> Reading | None:
    """The best of those that may pass, or None; `read` fills in one's scores on some examples."""
    left = list(readings)
    while left := [one for one in left if one.may_pass]:
        first = max(left, key=lambda one: one.rank)
        if first.whole:
            return first
        await read(first, first.next_part())
    return None


def _unread(present: Scored, index: int, candidate: Candidate, parent: Texts) -> Reading:
    examples = [n for n in present.scores if n not in candidate.quotes]
    excused = any(s < 1 for n, s in present.scores.items() if n not in examples)
    longer = added(present.evaluation, candidate.texts, parent)
    place = index if candidate.idea else 0
    before = in_order(present, examples)
    return Reading(index, longer, examples, before, excused=excused, place=place)


def _out(one: Reading, best: Reading | None) -> Reason:
    """Why a candidate is out after the minibatch: that it cannot have gained, or that another one
    gained as much as it still might."""
    if best and best.examples and not one.examples:
        return reasons.quotes_all(best.index)
    if best and one.may_pass:
        return reasons.behind(best.index, best.rank, one.rank, whole=one.whole)
    return reasons.no_gain(one.examples, one.before, one.after, one.failed)
