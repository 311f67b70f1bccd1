"""Self-consistency: each example has the score of the output that came most often."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.graph import Operation
from ..program.lineups import lineups
from ..program.operations import find
from ..runs.context import RunContext
from ..runs.schedule import gather
from .scoring import Scored, combined, score


async def vote(work: RunContext, loss: str, examples: Sequence[int], votes: int) -> Scored:
    """The scores of the most frequent outputs of `votes` fresh runs (self-consistency).

    Outputs count as the same by the letter or number that the loss's metric reads from them, else
    by their text; of outputs that are as frequent, the one that came first.
    """
    program = await work.store.graph.program(work.session.pk, [loss], everything=True)
    return combined(
        [await _voted(work, loss, examples, votes, n) for n in range(len(lineups(program)))]
    )


async def _voted(
    work: RunContext, loss: str, examples: Sequence[int], votes: int, lineup: int
) -> Scored:
    samples = range(votes)
    runs = await gather([score(work, [loss], examples, sample=i, lineup=lineup) for i in samples])
    return await _majority(work, loss, runs)


async def _majority(work: RunContext, loss: str, runs: Sequence[Scored]) -> Scored:
    first = runs[0]
    operation = first.evaluation.program.operation_of(loss)
    result = Scored(first.evaluation, {})
    for example in first.scores:
        ballots = [await _ballot(work, run, operation, example) for run in runs]
        cast = [b for b in ballots if b is not None]
        if not cast:
            result.scores[example] = 0.0
            result.unusable[example] = first.unusable[example]
            continue
        winner = ballots.index(max(cast, key=lambda b: (cast.count(b), -cast.index(b))))
        result.scores[example] = runs[winner].scores[example]
    return result


async def _ballot(
    work: RunContext, run: Scored, operation: Operation | None, example: int
) -> str | None:
    if example in run.unusable or example not in run.scores or operation is None:
        return None
    texts = run.evaluation.inputs(operation, example).texts
    return await find(operation.kind).ballot(work, operation, texts)
