"""What validation leaves open is read again, where a model may answer otherwise each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...schemas.errors import BudgetExhausted, ExampleError
from ..evaluation.scoring import Scored, Texts, measure
from ..evaluation.statistics import Gain, gain_of, is_quick, paired_gain, verdict
from ..runs.context import RunContext
from ..workers.pool import Job, Workers
from .repeats import RUNS, differing
from .trial import in_order

CLOSE = 0.5
"""A gain of so many standard errors is worth another run (docs/gate.md)."""


@dataclass(frozen=True)
class Reading:
    """The present texts and others, each measured in so many `runs`, and what is gained by the
    means. `steady`: the others scored alike each time, so that no more can be learnt."""

    before: Scored
    after: Scored
    gain: Gain
    runs: int
    steady: bool = False


async def read_again(
    work: RunContext, losses: Sequence[str], start: Reading, texts: Texts, z: float
) -> Reading:
    """The examples of `start` in further runs, as long as it is open whether what `texts` gain is
    more than `z` standard errors, and while the budget lasts."""
    found, examples = start, list(start.before.scores)
    for runs in range(start.runs + 1, RUNS + 1):
        if not verdict(found.gain, CLOSE)[0] or verdict(found.gain, z)[0]:
            break
        try:
            after = await measure(work, losses, examples, texts, repeats=runs)
            if not any(differing(after).values()):
                return Reading(found.before, after, found.gain, found.runs, steady=True)
            before = await measure(work, losses, examples, {}, repeats=runs)
        except (ExampleError, BudgetExhausted):  # no more is to be had: what is known decides
            break
        found = Reading(before, after, await gained(work, before, after), runs)
    return found


async def gained(work: RunContext, before: Scored, after: Scored) -> Gain:
    """The gain from one reading to another, on the examples that the first one scored."""
    both = list(before.scores)
    pairs = in_order(before, both), in_order(after, both)
    return await measured(work.workers, work.session.owner, *pairs)


async def measured(workers: Workers, owner: str, before: list[float], after: list[float]) -> Gain:
    """The gain from the scores `before` to those `after`, of the same examples in the same order.

    Worked out in a worker process where it takes long; `owner` is whose turn that is.
    """
    if is_quick(before, after):
        return paired_gain(before, after)
    job = Job(
        owner,
        f"Comparing scores on {len(before):,} examples",
        "Use fewer validation examples.",
    )
    return Gain(*await workers.run(job, gain_of, before, after))
