"""What a turn of the loop learns from: the examples it is shown, and what it makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import Any

from ...schemas.errors import Conflict, ExampleError, ReplyError
from ...schemas.graph import NO_EXAMPLE, Kind, Variable, number
from ..program.missing_fields import complete
from ..runs.context import RunContext
from ..views import results as show
from . import rewrites, training
from .batches import mixed, shuffled, spread, to_check
from .candidate import Candidate
from .gradients import BackwardPass, backward_pass, choose, outputs_on
from .pool import PoolEntry
from .progress import SearchState
from .quote_guard import QuoteGuard
from .seen import seen_in
from .sizes import CHECKED_IF_LOW, FEEDBACK, LOW
from .strategies import STRATEGIES, Strategy


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
        known = train, loop.scores, parent.name
        batch = await asyncio.to_thread(mixed, *known, size, draw, shows)
        if _scores_low(loop, parent) and (few := int(work.args.get("few", size))) < size:
            fewer = await asyncio.to_thread(mixed, *known, few, draw, shows)
            if await _shown_unrun(work, guard, fewer, size - few):
                batch = fewer
    else:
        epoch, turn = divmod(loop.iteration, -(-len(train) // size))
        draw, answers = f"{work.args['seed']}:{epoch}", await training.answers(work, guard, train)
        order = spread(await asyncio.to_thread(shuffled, train, draw), answers)
        batch = sorted(order[turn * size : (turn + 1) * size])
    return (await complete(work.store, work.session.pk, work.args["losses"], batch))[0]


def _scores_low(loop: SearchState, parent: PoolEntry) -> bool:
    """Whether these texts have so low a score on what measures that a few outputs show as much as
    many."""
    return not loop.paired and parent.mean < LOW


async def _shown_unrun(work: RunContext, guard: QuoteGuard, run: Sequence[int], fewer: int) -> bool:
    """Whether all of the usual examples beside those that are `run` can be shown without it, and so
    many more."""
    room, most = training.room_for_others(work), training.LISTED + fewer
    others = await training.not_run(work, guard, run, room, most)
    every = await work.store.examples.split(work.session.pk, "train")
    return len(others) == min(most, len(every) - len(run))


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
    learnt.elsewhere = loop.elsewhere(parent.name, learnt.examples)
    usual, few = int(work.args["batch_size"]), int(work.args.get("few", work.args["batch_size"]))
    learnt.fewer = usual - few if _scores_low(loop, parent) and len(batch) <= few else 0
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
    by, losses = strategy(work, loop), work.args["losses"]
    if by.reflects:
        return await rewrites.reflected(work, by, learnt, based[0], losses, count, guard)
    gradients, memory = rewrites.by_variable(learnt), work.args.get("memory", 0)
    return await rewrites.written(work, by, based, gradients, count, guard, memory)


async def checked_on(
    work: RunContext, loop: SearchState, learnt: BackwardPass, found: Sequence[Candidate]
) -> list[int]:
    """The numbers of the examples that the candidates are checked on: some of the minibatch.

    Where fewer were run than usual and candidates quote those, others that none of them quotes
    stand in: so a text that quotes is compared with one that does not.
    """
    quoted = {n for candidate in found if not candidate.refused for n in candidate.quotes}
    batch = _of_minibatch(learnt, work.args, sorted(quoted), plain=loop.plain)
    lacking = len(quoted.intersection(batch))
    if not learnt.fewer or not lacking:
        return batch
    train = await work.store.examples.split(work.session.pk, "train")
    out = {*quoted, *learnt.examples, *(number(e, "e") for e in loop.left_out)}
    free = shuffled([n for n in train if n not in out], f"{work.args['seed']}:{loop.iteration}")
    more, _ = await complete(work.store, work.session.pk, work.args["losses"], free[:lacking])
    return sorted([*(n for n in batch if n not in quoted), *more]) or batch


def _of_minibatch(
    learnt: BackwardPass, args: Mapping[str, Any], quoted: Sequence[int], *, plain: bool
) -> list[int]:
    examples = learnt.examples
    check = CHECKED_IF_LOW if learnt.fewer else args.get("check")
    seen = seen_in(learnt.evaluation, args["losses"], examples)
    if plain or check is None or check >= len(examples) or seen is None:
        return list(examples)
    return to_check(seen.scores, quoted, check)
