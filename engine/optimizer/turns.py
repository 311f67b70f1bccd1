"""What a turn of the loop learns from: the examples it is shown, and what it makes of them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence, Set
from typing import Any

from ...schemas.errors import Conflict, ExampleError, ReplyError
from ...schemas.graph import NO_EXAMPLE, Gradient, Kind, Variable, number
from ..program.missing_fields import complete
from ..prompts.length import CHARS_PER_TOKEN
from ..runs.context import RunContext
from ..views import results as show
from . import training
from .batches import mixed, shuffled, spread, to_check
from .candidate import Candidate
from .gradients import BackwardPass, backward_pass, choose, outputs_on
from .pool import PoolEntry
from .progress import SearchState
from .proposer import breach
from .quote_guard import QuoteGuard
from .seen import Seen, seen_in
from .sizes import FEEDBACK
from .strategies import STRATEGIES, Strategy

ROOM = 6
"""Examples that were not run take one part in so many of a request at most."""


def strategy(work: RunContext, loop: SearchState) -> Strategy:
    """The strategy in force: the one that was asked for, or `gradient` where its replies could not
    be read."""
    return STRATEGIES.find("gradient" if loop.plain else work.args["strategy"])


async def quoted_by(work: RunContext, guard: QuoteGuard, texts: Mapping[str, str]) -> set[int]:
    """The training examples that the program quotes with these `texts` in place."""
    program = await work.store.graph.program(work.session.pk, work.args["losses"], everything=True)
    leaves = {v.id: v.value for v in program.variables.values() if v.is_leaf and v.value}
    return set(await guard.quoted((leaves | dict(texts)).values()))


async def minibatch(
    work: RunContext,
    loop: SearchState,
    parent: PoolEntry,
    quoted: Set[int],
    guard: QuoteGuard,
) -> list[int]:
    """The next examples to learn from: by what is known of them where the critic sees all of them,
    else in an order that is shuffled anew each epoch, with the labels spread evenly.

    Those that are quoted say nothing about others, and are left out while there are others.
    """
    variables = await work.store.graph.variables(work.session.pk, work.args["losses"])
    if not any(v.per_example for v in variables.values()):
        return [NO_EXAMPLE]
    every = await work.store.examples.split(work.session.pk, "train")
    train = [n for n in every if n not in quoted] or every
    if not train:
        raise Conflict(
            "There are no training examples to learn from.",
            f"Call add_examples(session_id='{work.session.id}', split='train', ...).",
        )
    size = min(FEEDBACK[0][0] if loop.plain else work.args["batch_size"], len(train))
    if strategy(work, loop).reflects:
        draw = f"{work.args['seed']}:{loop.iteration}"
        train = [n for n in train if f"e{n}" not in loop.left_out]
        shows = await training.pieces(work, guard, train)
        batch = await asyncio.to_thread(mixed, train, loop.scores, parent.name, size, draw, shows)
    else:
        epoch, turn = divmod(loop.iteration, -(-len(train) // size))
        draw, answers = f"{work.args['seed']}:{epoch}", await training.answers(work, guard, train)
        order = spread(await asyncio.to_thread(shuffled, train, draw), answers)
        batch = sorted(order[turn * size : (turn + 1) * size])
    return (await complete(work.store, work.session.pk, work.args["losses"], batch))[0]


async def learn(
    work: RunContext, loop: SearchState, batch: Sequence[int], parent: PoolEntry
) -> BackwardPass | None:
    """Compute a minibatch with the texts of `parent`, and feedback on it where the strategy asks
    for that; None where no usable feedback or output could be had."""
    by, losses = strategy(work, loop), work.args["losses"]
    try:
        if by.reflects:
            learnt = await outputs_on(work, losses, batch, texts=parent.texts)
        else:
            learnt = await backward_pass(
                work,
                losses,
                batch,
                exact=by.exact,
                direct=by.direct,
                texts=parent.texts,
            )
    except ReplyError as error:  # the ledger holds the replies; another may do better
        loop.unread += 1
        loop.problem = error.why
        return None
    except ExampleError as error:
        loop.left_out |= error.reasons
        return None
    loop.left_out |= learnt.evaluation.reasons
    if seen := seen_in(learnt.evaluation, losses, learnt.examples):
        loop.note(parent.name, seen.scores)
    return learnt


async def to_improve(work: RunContext, loop: SearchState, learnt: BackwardPass) -> list[Variable]:
    """The parameters that got feedback, or may have a part in what went wrong, as installed."""
    ids: Sequence[str] | None = work.args["variables"]
    variables = learnt.evaluation.program.variables
    about = list(dict.fromkeys(g.variable for g in learnt.gradients))
    if strategy(work, loop).reflects and improvable(learnt, work.args["losses"]):
        about = [v.id for v in variables.values() if v.kind is Kind.PARAMETER]
    chosen = [v for v in about if ids is None or v in ids]
    found = await work.store.graph.variables(work.session.pk, chosen)
    return [found[v] for v in chosen if found[v].kind is Kind.PARAMETER]


def improvable(learnt: BackwardPass, losses: Sequence[str]) -> bool:
    """Whether there is feedback, or a score below 1."""
    mean = show.mean_score(learnt.evaluation, losses, learnt.examples)
    return bool(learnt.gradients) or mean not in (None, 1.0)


def demonstrations(work: RunContext, learnt: BackwardPass) -> list[Variable]:
    """The demonstrations that the program shows, where there is anything to improve."""
    ids: Sequence[str] | None = work.args["variables"]
    if not improvable(learnt, work.args["losses"]):
        return []
    return [
        v
        for v in learnt.evaluation.program.variables.values()
        if v.kind is Kind.DEMONSTRATIONS and (ids is None or v.id in ids)
    ]


def in_turn(
    parameters: list[Variable], chosen: list[Variable], turn: int
) -> tuple[list[Variable], list[Variable]]:
    """The same two lists, with one variable of both together: another one each turn."""
    order = sorted([*parameters, *chosen], key=lambda v: number(v.id, "v") or 0)
    if not order:
        return [], []
    one = order[turn % len(order)]
    return [v for v in parameters if v is one], [v for v in chosen if v is one]


async def candidates(
    work: RunContext,
    loop: SearchState,
    learnt: BackwardPass,
    parameters: Sequence[Variable],
    chosen: Sequence[Variable],
    parent: PoolEntry,
    guard: QuoteGuard,
) -> list[Candidate]:
    """New candidates: rewrites of `parameters`, and other examples for the demonstrations in
    `chosen`; about half of each where there are both."""
    count = work.args["candidates"]
    found: list[Candidate] = []
    if parameters:
        based = [
            p.model_copy(update={"value": parent.texts.get(p.id, p.value)}) for p in parameters
        ]
        written = -(-count // 2) if chosen else count
        found = await _written(work, loop, learnt, based, written, guard)
        if not loop.plain and work.args["strategy"] not in STRATEGIES.own:
            await _refuse_breaches(work, based, found)
    if chosen:
        rest = max(1, (count - len(found)) // len(chosen))
        found += await choose(work, chosen, work.args["losses"], learnt.examples, rest)
    for candidate in found:
        if not candidate.refused:
            candidate.texts = {**parent.texts, **candidate.texts}
    await guard.note(found)
    return found


async def _written(
    work: RunContext,
    loop: SearchState,
    learnt: BackwardPass,
    based: Sequence[Variable],
    count: int,
    guard: QuoteGuard,
) -> list[Candidate]:
    by = strategy(work, loop)
    if not by.reflects:
        memory = work.args.get("memory", 0)
        gradients = by_variable(learnt)
        return await by.propose(
            work, based, gradients, count=count, check=guard.objections, memory=memory
        )
    return await reflected(work, by, learnt, based[0], work.args["losses"], count, guard)


async def _refuse_breaches(
    work: RunContext, parameters: Sequence[Variable], found: Sequence[Candidate]
) -> None:
    """Refuse candidates of an added strategy that break a constraint: ours have looked already."""
    for candidate in found:
        for parameter in parameters:
            new = candidate.texts.get(parameter.id)
            if new is not None and not candidate.refused:
                candidate.refused = await breach(work, parameter, new)


async def reflected(
    work: RunContext,
    by: Strategy,
    learnt: BackwardPass,
    parameter: Variable,
    losses: Sequence[str],
    count: int,
    guard: QuoteGuard,
) -> list[Candidate]:
    """The candidates of one reflection. Its diagnosis becomes a gradient in `learnt`, and the
    examples it was shown without being run become `learnt.others`."""
    seen = seen_in(learnt.evaluation, losses, learnt.examples)
    if seen is None or by.reflect is None:
        return []
    if list(seen.scores) != [NO_EXAMPLE]:
        room = work.settings.prompt_budget * CHARS_PER_TOKEN // ROOM
        others = await training.not_run(work, guard, learnt.examples, room)
        seen = dataclasses.replace(seen, others=list(others.values()))
        learnt.others = list(others)
    found, diagnosis = await by.reflect(work, parameter, seen, count, guard.objections)
    store, pk = work.store, work.session.pk
    made = [_gradient(parameter, seen, diagnosis)] if diagnosis else []
    learnt.gradients = await store.history.add_gradients(pk, made, work.fence, work.chain)
    return found


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


def checked_on(
    learnt: BackwardPass, args: Mapping[str, Any], found: Sequence[Candidate], *, plain: bool
) -> list[int]:
    """The numbers of those examples of the minibatch that the candidates are checked on."""
    examples, check = learnt.examples, args.get("check")
    seen = seen_in(learnt.evaluation, args["losses"], examples)
    if plain or check is None or check >= len(examples) or seen is None:
        return list(examples)
    quoted = [n for candidate in found if not candidate.refused for n in candidate.quotes]
    return to_check(seen.scores, quoted, check)
