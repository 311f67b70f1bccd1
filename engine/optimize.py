"""Optimize: minibatch, forward, loss, backward, step, gate, until goal, patience or budget.

Each iteration ends in one commit that holds the step and the loop's state, so a run that is killed
goes on as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence, Set
from typing import Any

from ..schemas.errors import BudgetExhausted, Conflict, ExampleError, ReplyError
from ..schemas.graph import HERE, Fate, Gradient, Kind, Variable, number
from ..schemas.results import Result
from . import afford, arguments, gate, outcome, show
from .complete import complete, left_out, unusable
from .core import Core
from .guard import Guard
from .learn import Learnt, choose, gate_places, gradients_on, record_of
from .ledger import Work
from .loop import NO_FEEDBACK, NO_REWRITE, Loop, load, stopped
from .parents import Parent, Pool
from .runs import Caller, digest_of
from .scoring import compare, in_pairs
from .stats import mean_and_error
from .step import Candidate, Reason, propose

SAMPLED = 64
"""Of so many examples at most the length of the prompts is estimated."""


class Optimizing(Core):
    """The tool that runs the whole loop."""

    async def optimize(
        self,
        caller: Caller,
        *,
        session_id: str,
        loss: str | None = None,
        variables: Sequence[str] | None = None,
        steps: int = 10,
        batch_size: int = 4,
        candidates: int = 3,
        strategy: str = "gradient",
        parents: str = "pareto",
        goal: float = 1.0,
        patience: int = 5,
        budget: Mapping[str, float] | None = None,
        seed: int = 0,
        memory: int = 0,
        together: bool = True,
    ) -> Result:
        """Improve the parameters until goal, patience, steps or budget.

        `memory` is as for `step`; with `together` false, each step changes one of them in turn.
        Raises BadInput, NotFound, Conflict.
        """
        session = await self.store.session(session_id, caller.owner)
        asked: dict[str, Any] = {
            "loss": loss,
            "variables": list(variables) if variables else None,
            "steps": steps,
            "batch_size": batch_size,
            "candidates": candidates,
            "strategy": strategy,
            "parents": parents,
            "goal": goal,
            "patience": patience,
            "budget": dict(budget or {}),
            "seed": seed,
            "memory": memory,
            "together": together,
        }
        digest = digest_of("optimize", asked)
        waiting = await self.runs.admit(session, digest)
        if waiting is not None:
            return await self.runs.go_on(caller, session, waiting)
        arguments.check(asked)
        losses = [v.id for v in await self.losses(session, [loss] if loss else None)]
        args = asked | {"losses": losses, "budget": asked["budget"]}
        await self._check_budget(session.pk, losses, args, await gate_places(self, session, losses))
        return await self.runs.start(caller, session, "optimize", args, digest)

    async def _check_budget(
        self, session: int, losses: list[str], args: dict[str, Any], places: tuple[list[int], str]
    ) -> None:
        """Refuse a budget that cannot pay for one gated step."""
        if args["budget"]:
            found = await self._need(session, losses, args, places[0])
            afford.check(args["budget"], found, len(places[0]))

    async def _need(
        self, session: int, losses: list[str], args: dict[str, Any], places: Sequence[int]
    ) -> afford.Need:
        program = await self.store.program(session, losses, everything=True)
        some = await self.store.examples(session, [p for p in places[:SAMPLED] if p != HERE])
        train = (await self.store.split_sizes(session)).get("train", 0)
        return afford.need(program, list(some.values()), args, places, train, self.settings)

    async def _optimize_body(self, work: Work) -> Result:
        args = work.args
        places, split = await gate_places(self, work.session, args["losses"])
        loop = load(work.state)
        try:
            loop = loop or await self._begin(work, places)
            places = [p for p in places if f"e{p}" not in loop.left_out]
            _tell_score(work, loop)
            while not (why := stopped(loop, args)):
                await self._iterate(work, loop, places, split)
        except BudgetExhausted as spent:
            if loop is None:
                raise
            return await self._report(work, loop, places, "budget", spent)
        return await self._report(work, loop, places, why, None)

    async def _begin(self, work: Work, places: Sequence[int]) -> Loop:
        work.phase = "scoring the start"
        start, _ = await compare(work, work.args["losses"], places, {}, [])
        places = list(start.scores)
        first = Parent(name="the start", texts={}, scores=[start.scores[p] for p in places])
        paired = await in_pairs(work, work.args["losses"])
        loop = Loop(Pool(members=[first]), first.scores, paired=paired, left_out=start.left_out)
        loop.unusable = start.why_unusable
        loop.start = outcome.figures(await self._usage(work))
        await self._note_score(work, loop, places)
        await work.save_state(loop.dump())
        return loop

    async def _usage(self, work: Work) -> dict[str, dict[str, float]]:
        """What this run has used so far, by purpose."""
        run = await work.ensure_run()
        return await self.store.usage(work.session.pk, number(run.id, "r"))

    async def _note_score(self, work: Work, loop: Loop, places: Sequence[int]) -> None:
        """Remember the installed texts' validation score, for the report."""
        if loop.paired or list(places) == [HERE]:
            return
        mean, error = mean_and_error(loop.current.scores)
        parameters = await self.store.parameters(work.session.pk)
        versions = {v.id: v.version for v in parameters}
        [loss] = work.args["losses"]
        pk, fence, state = work.session.pk, work.fence, loop.dump()
        await self.store.note_evaluation(
            pk, loss, "validation", versions, mean, error, len(places), fence, state
        )

    async def _iterate(self, work: Work, loop: Loop, places: Sequence[int], split: str) -> None:
        args = work.args
        parent = loop.pool.choose(args["parents"], args["seed"], loop.iteration)
        guard = await Guard.of(work, args["losses"])
        batch = await self._minibatch(work, loop.iteration, await self._quoted(work, guard, parent))
        learnt = await self._learn(work, loop, batch, parent) if batch else None
        if learnt is None:
            await self._idle(work, loop)
            return
        parameters = await self._to_improve(work, learnt, args["variables"])
        chosen = await self._demonstrations(work, learnt, args["variables"])
        if not args.get("together", True):
            parameters, chosen = _in_turn(parameters, chosen, loop.iteration)
        if not parameters and not chosen:
            await self._idle(work, loop)
            return
        loop.iteration += 1
        loop.idle = 0
        candidates = await self._candidates(work, learnt, parameters, chosen, parent, batch, guard)
        await self._step(
            work, loop, learnt, candidates, [*parameters, *chosen], parent, batch, places, split
        )

    async def _learn(
        self, work: Work, loop: Loop, batch: Sequence[int], parent: Parent
    ) -> Learnt | None:
        """The gradients on a minibatch; None where no usable feedback could be had on it."""
        strategy = work.args["strategy"]
        try:
            learnt = await gradients_on(
                work,
                work.args["losses"],
                batch,
                exact=strategy == "exact",
                direct=strategy == "rewrite",
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
        return learnt

    async def _idle(self, work: Work, loop: Loop) -> None:
        """Go on to the next minibatch: there was nothing to learn from this one."""
        loop.iteration += 1
        loop.idle += 1
        await work.save_state(loop.dump())

    async def _quoted(self, work: Work, guard: Guard, parent: Parent) -> set[int]:
        """The training examples that the texts of `parent` quote."""
        program = await self.store.program(work.session.pk, work.args["losses"], everything=True)
        leaves = {v.id: v.value for v in program.variables.values() if v.is_leaf and v.value}
        return set(await guard.quoted((leaves | dict(parent.texts)).values()))

    async def _minibatch(self, work: Work, iteration: int, quoted: Set[int]) -> list[int]:
        """The next examples of an epoch that is shuffled anew each time, by seed alone.

        Those that are quoted say nothing about others, and are left out while there are others.
        """
        variables = await self.store.variables(work.session.pk, work.args["losses"])
        if not any(v.per_example for v in variables.values()):
            return [HERE]
        every = await self.store.split(work.session.pk, "train")
        train = [n for n in every if n not in quoted] or every
        if not train:
            raise Conflict(
                "There are no training examples to learn from.",
                f"Call add_examples(session_id='{work.session.id}', split='train', ...).",
            )
        size = min(work.args["batch_size"], len(train))
        epoch, turn = divmod(iteration, -(-len(train) // size))
        order = await asyncio.to_thread(_shuffled, train, f"{work.args['seed']}:{epoch}")
        batch = sorted(order[turn * size : (turn + 1) * size])
        return (await complete(self.store, work.session.pk, work.args["losses"], batch))[0]

    async def _to_improve(
        self, work: Work, learnt: Learnt, ids: Sequence[str] | None
    ) -> list[Variable]:
        """The parameters that got feedback, as they are installed."""
        about = list(dict.fromkeys(g.variable for g in learnt.gradients))
        chosen = [v for v in about if ids is None or v in ids]
        found = await self.store.variables(work.session.pk, chosen)
        return [found[v] for v in chosen if found[v].kind is Kind.PARAMETER]

    async def _demonstrations(
        self, work: Work, learnt: Learnt, ids: Sequence[str] | None
    ) -> list[Variable]:
        """The demonstrations that the program shows, where there is anything to improve."""
        if not learnt.gradients and show.mean_score(
            learnt.evaluation, work.args["losses"], learnt.places
        ) in (None, 1.0):
            return []
        return [
            v
            for v in learnt.evaluation.program.variables.values()
            if v.kind is Kind.DEMONSTRATIONS and (ids is None or v.id in ids)
        ]

    async def _candidates(
        self,
        work: Work,
        learnt: Learnt,
        parameters: Sequence[Variable],
        chosen: Sequence[Variable],
        parent: Parent,
        batch: Sequence[int],
        guard: Guard,
    ) -> list[Candidate]:
        """Rewrites from the gradients and other demonstrations, about half of each."""
        count = work.args["candidates"]
        found: list[Candidate] = []
        if parameters:
            based = [
                p.model_copy(update={"value": parent.texts.get(p.id, p.value)}) for p in parameters
            ]
            written = -(-count // 2) if chosen else count
            gradients = _by_variable(learnt)
            memory = work.args.get("memory", 0)
            found = await propose(
                work, based, gradients, count=written, check=guard.objections, memory=memory
            )
        if chosen:
            rest = max(1, (count - len(found)) // len(chosen))
            found += await choose(work, chosen, work.args["losses"], batch, rest)
        for candidate in found:
            if not candidate.refused:
                candidate.texts = {**parent.texts, **candidate.texts}
        await guard.note(found)
        return found

    async def _step(
        self,
        work: Work,
        loop: Loop,
        learnt: Learnt,
        candidates: Sequence[Candidate],
        parameters: Sequence[Variable],
        parent: Parent,
        batch: Sequence[int],
        places: Sequence[int],
        split: str,
    ) -> None:
        judged = await gate.judge(
            work, candidates, work.args["losses"], batch, places, split, parent.texts
        )
        if judged.winner is not None and parent is not loop.current:
            judged.summary += f" (rewritten from {parent.name}, not from the installed text)"
            judged.reasons[judged.winner] = Reason(Fate.ACCEPTED, judged.summary)
        changed = await self._changed(work, parameters, parent)
        record = record_of(changed, _by_variable(learnt), candidates, judged, parent.led)
        number_ = await self.store.last_step(work.session.pk) + 1
        loop.take(f"s{number_}", candidates, judged, record)
        await self.store.record_step(work.session.pk, record, work.fence, loop.dump(), work.chain)

    async def _changed(
        self, work: Work, parameters: Sequence[Variable], parent: Parent
    ) -> list[Variable]:
        """All parameters whose text a candidate sets, those of its parent included."""
        ids = dict.fromkeys([*(p.id for p in parameters), *parent.texts])
        found = await self.store.variables(work.session.pk, ids)
        return [found[v] for v in ids]

    async def _report(
        self,
        work: Work,
        loop: Loop,
        places: Sequence[int],
        why: str,
        spent: BudgetExhausted | None,
    ) -> Result:
        usage = await self._usage(work)
        if loop.accepted:
            await self._note_score(work, loop, places)
        history = await self.store.proposals(work.session.pk, limit=show.VALUES)
        notes = [*left_out(loop.left_out), *unusable(loop.unusable)]
        if why in (NO_FEEDBACK, NO_REWRITE):
            notes.append(outcome.hopeless(loop, why))
            await self.store.retire_unusable(work.session.pk)
        if spent is not None:
            found = await self._need(work.session.pk, work.args["losses"], work.args, places)
            notes += [spent.message, spent.next, outcome.next_step(loop, usage, found)]
        tested = "test" in await self.store.split_sizes(work.session.pk)
        return outcome.result(work, loop, why, usage, history, notes, tested)


def _shuffled(numbers: Sequence[int], seed: str) -> list[int]:
    order = list(numbers)
    random.Random(seed).shuffle(order)  # noqa: S311 - repeatable
    return order


def _tell_score(work: Work, loop: Loop) -> None:
    """Put the running score into what whoever watches is told."""
    told = work.on_progress
    if told is not None:
        work.on_progress = lambda done, asked, phase: told(
            done, asked, f"{loop.standing()}; {phase}"
        )


def _in_turn(
    parameters: list[Variable], chosen: list[Variable], turn: int
) -> tuple[list[Variable], list[Variable]]:
    """One of the variables that can be improved, another one each turn."""
    order = sorted([*parameters, *chosen], key=lambda v: number(v.id, "v") or 0)
    if not order:
        return [], []
    one = order[turn % len(order)]
    return [v for v in parameters if v is one], [v for v in chosen if v is one]


def _by_variable(learnt: Learnt) -> dict[str, list[Gradient]]:
    found: dict[str, list[Gradient]] = {}
    for gradient in learnt.gradients:
        found.setdefault(gradient.variable, []).append(gradient)
    return found
