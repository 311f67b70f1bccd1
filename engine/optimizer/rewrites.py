"""New texts by whichever strategy: it is asked in one way, in `step` and in `optimize`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...schemas.graph import NO_EXAMPLE, Gradient, Variable
from ..runs.context import RunContext
from ..runs.schedule import gather
from . import training
from .candidate import Candidate
from .gradients import BackwardPass
from .proposer import breach
from .quote_guard import QuoteGuard
from .seen import Seen, seen_in
from .strategies import STRATEGIES, Strategy


async def written(
    work: RunContext,
    by: Strategy,
    parameters: Sequence[Variable],
    gradients: dict[str, list[Gradient]],
    count: int,
    guard: QuoteGuard,
    memory: int = 0,
) -> list[Candidate]:
    """Up to `count` candidates that the strategy `by` writes from gradients, by parameter."""
    check = guard.objections
    found = await by.propose(work, parameters, gradients, count=count, check=check, memory=memory)
    return await _looked_at(work, by, parameters, found)


async def reflected(
    work: RunContext,
    by: Strategy,
    learnt: BackwardPass,
    parameter: Variable,
    losses: Sequence[str],
    count: int,
    guard: QuoteGuard,
) -> list[Candidate]:
    """Up to `count` candidates that the strategy `by` writes from what one parameter's text did.

    The diagnosis becomes a gradient in `learnt`, and the examples that the writer was shown without
    their being run become `learnt.others`.
    """
    seen = seen_in(learnt.evaluation, losses, learnt.examples)
    if seen is None or by.reflect is None:
        return []
    if list(seen.scores) != [NO_EXAMPLE]:
        most = training.LISTED + learnt.fewer
        room = training.room_for_others(work)
        others = await training.not_run(work, guard, learnt.examples, room, most)
        told = list(others.values())
        seen = dataclasses.replace(seen, others=told, elsewhere=learnt.elsewhere)
        learnt.others = list(others)
    found, diagnosis = await by.reflect(work, parameter, seen, count, guard.objections)
    store, pk = work.store, work.session.pk
    made = [_gradient(parameter, seen, diagnosis)] if diagnosis else []
    learnt.gradients = await store.history.add_gradients(pk, made, work.fence, work.chain)
    return await _looked_at(work, by, [parameter], found)


async def _looked_at(
    work: RunContext, by: Strategy, parameters: Sequence[Variable], found: list[Candidate]
) -> list[Candidate]:
    """The candidates as they are, but for those of an added strategy that break a constraint, which
    are refused: ours have been looked at while they were written."""
    if by not in STRATEGIES.own.values():
        await gather([_refuse_breach(work, parameters, c) for c in found if not c.refused])
    return found


async def _refuse_breach(
    work: RunContext, parameters: Sequence[Variable], candidate: Candidate
) -> None:
    for parameter in parameters:
        new = candidate.texts.get(parameter.id)
        if new is not None and not candidate.refused:
            candidate.refused = await breach(work, parameter, new)


def _gradient(parameter: Variable, seen: Seen, diagnosis: str) -> Gradient:
    """A diagnosis as feedback on the text that was seen."""
    program = seen.evaluation.program
    operation = program.operation_of(seen.losses[0])
    return Gradient(
        variable=parameter.id,
        version=program.variables[parameter.id].version,
        text=diagnosis,
        examples=[f"e{n}" for n, score in seen.scores.items() if n != NO_EXAMPLE and score < 1],
        batch=[f"e{n}" for n in seen.scores if n != NO_EXAMPLE],
        operation=operation.id if operation else "",
        losses=seen.losses,
    )


def by_variable(learnt: BackwardPass) -> dict[str, list[Gradient]]:
    """The gradients of `learnt`, by the id of their variable."""
    found: dict[str, list[Gradient]] = {}
    for gradient in learnt.gradients:
        found.setdefault(gradient.variable, []).append(gradient)
    return found
