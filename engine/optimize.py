"""Optimize: minibatch, forward, loss, backward, step, gate, until goal, patience or budget.

Each iteration ends in one commit that holds the step and the loop's state, so a run that is killed
goes on as if nothing had happened.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..schemas.errors import BadInput, BudgetExhausted, Conflict, ReplyError
from ..schemas.graph import HERE, Gradient, Kind, Op, Variable, number
from ..schemas.results import OptimizeResult, Result
from . import arguments, gate, show
from .core import Core
from .learn import Learnt, checks, choose, gate_places, gradients_on, record_of
from .ledger import Work
from .parents import Parent, Pool, load_pool
from .runs import Caller, digest_of
from .scoring import compare, in_pairs
from .stats import mean_and_error
from .step import Candidate, propose
from .store import StepRecord

PAIRED = (
    "The judges give no scores: each accepted text was preferred, in both orders, to the one "
    "before it; there is no mean to report."
)
ASKING = (Op.LLM, Op.JUDGE, Op.EXTERNAL, Op.FEEDBACK)


@dataclass
class Loop:
    """Where an optimisation stands; `before` are the scores it began with. Saved with each step.

    `paired`: there are no scores but preferences over the installed texts, which are at 0.
    """

    pool: Pool
    before: list[float]
    iteration: int = 0
    steps: int = 0
    accepted: int = 0
    refused: int = 0
    idle: int = 0
    without_gain: int = 0
    paired: bool = False

    def dump(self) -> dict[str, Any]:
        """As it is saved."""
        return self.__dict__ | {"pool": self.pool.model_dump()}


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
        most = args["budget"].get("calls")
        if most is None:
            return
        program = await self.store.program(session, losses, everything=True)
        calls = sum(o.kind in ASKING for o in program.operations.values())
        batch = min(args["batch_size"], len(places[0]) or 1)
        least = calls * 2 * (batch + len(places[0])) + 2
        if most < least:
            raise BadInput(
                f"A budget of {most:g} calls cannot pay for one proposal and its check: that "
                f"takes about {least} ({calls} calls an example, {len(places[0])} validation "
                "examples, before and after).",
                f"Give budget={{'calls': {3 * least}}} or more, or fewer validation examples.",
            )

    async def _optimize_body(self, work: Work) -> Result:
        args = work.args
        places, split = await gate_places(self, work.session, args["losses"])
        pool = load_pool(work.state)
        loop = Loop(**(work.state | {"pool": pool})) if pool else None
        try:
            loop = loop or await self._begin(work, places)
            while not (stopped := _stopped(loop, args)):
                await self._iterate(work, loop, places, split)
        except BudgetExhausted as spent:
            if loop is None:
                raise
            return await self._report(work, loop, places, "budget", spent)
        return await self._report(work, loop, places, stopped, None)

    async def _begin(self, work: Work, places: Sequence[int]) -> Loop:
        work.phase = "scoring the start"
        start, _ = await compare(work, work.args["losses"], places, {}, [])
        first = Parent(name="the start", texts={}, scores=[start.scores[p] for p in places])
        paired = await in_pairs(work, work.args["losses"])
        loop = Loop(Pool(members=[first]), first.scores, paired=paired)
        await work.save_state(loop.dump())
        return loop

    async def _iterate(self, work: Work, loop: Loop, places: Sequence[int], split: str) -> None:
        args = work.args
        parent = loop.pool.choose(args["parents"], args["seed"], loop.iteration)
        batch = await self._minibatch(work, loop.iteration)
        learnt = await self._learn(work, batch, parent)
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
        candidates = await self._candidates(work, learnt, parameters, chosen, parent, batch)
        await self._step(
            work, loop, learnt, candidates, [*parameters, *chosen], parent, batch, places, split
        )

    async def _learn(self, work: Work, batch: Sequence[int], parent: Parent) -> Learnt | None:
        """The gradients on a minibatch; None where no usable feedback could be had on it."""
        strategy = work.args["strategy"]
        try:
            return await gradients_on(
                work,
                work.args["losses"],
                batch,
                exact=strategy == "exact",
                direct=strategy == "rewrite",
                texts=parent.texts,
            )
        except ReplyError:
            return None  # the ledger holds the replies; another minibatch may do better

    async def _idle(self, work: Work, loop: Loop) -> None:
        """Go on to the next minibatch: there was nothing to learn from this one."""
        loop.iteration += 1
        loop.idle += 1
        await work.save_state(loop.dump())

    async def _minibatch(self, work: Work, iteration: int) -> list[int]:
        """The next examples of an epoch that is shuffled anew each time, by seed alone."""
        variables = await self.store.variables(work.session.pk, work.args["losses"])
        if not any(v.per_example for v in variables.values()):
            return [HERE]
        train = await self.store.split(work.session.pk, "train")
        if not train:
            raise Conflict(
                "There are no training examples to learn from.",
                f"Call add_examples(session_id='{work.session.id}', split='train', ...).",
            )
        size = min(work.args["batch_size"], len(train))
        epoch, turn = divmod(iteration, -(-len(train) // size))
        order = list(train)
        random.Random(f"{work.args['seed']}:{epoch}").shuffle(order)  # noqa: S311 - repeatable
        return sorted(order[turn * size : (turn + 1) * size])

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
    ) -> list[Candidate]:
        """Rewrites from the gradients and other demonstrations, about half of each."""
        count = work.args["candidates"]
        found: list[Candidate] = []
        if parameters:
            based = [
                p.model_copy(update={"value": parent.texts.get(p.id, p.value)}) for p in parameters
            ]
            check = await checks(self.store, work.session)
            written = -(-count // 2) if chosen else count
            gradients = _by_variable(learnt)
            memory = work.args.get("memory", 0)
            found = await propose(work, based, gradients, count=written, check=check, memory=memory)
        if chosen:
            rest = max(1, (count - len(found)) // len(chosen))
            found += await choose(work, chosen, work.args["losses"], batch, rest)
        for candidate in found:
            if not candidate.refused:
                candidate.texts = {**parent.texts, **candidate.texts}
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
        changed = await self._changed(work, parameters, parent)
        record = record_of(changed, _by_variable(learnt), candidates, judged)
        state = self._after(loop, candidates, judged, record)
        await self.store.record_step(work.session.pk, record, work.fence, state)

    async def _changed(
        self, work: Work, parameters: Sequence[Variable], parent: Parent
    ) -> list[Variable]:
        """All parameters whose text a candidate sets, those of its parent included."""
        ids = dict.fromkeys([*(p.id for p in parameters), *parent.texts])
        found = await self.store.variables(work.session.pk, ids)
        return [found[v] for v in ids]

    def _after(
        self, loop: Loop, candidates: Sequence[Candidate], judged: gate.Judged, record: StepRecord
    ) -> dict[str, Any]:
        """Take a step's outcome into the loop; gives the state to save with it."""
        loop.steps += 1
        loop.accepted += record.accepted
        loop.refused += sum(p.verdict == "refused" for p in record.proposals)
        loop.without_gain = 0 if record.accepted else loop.without_gain + 1
        for index, scores in judged.by_place.items():
            name = f"candidate {index + 1} of iteration {loop.iteration}"
            member = Parent(name=name, texts=candidates[index].texts, scores=scores)
            loop.pool.add(member, installed=index == judged.winner)
        if loop.paired and record.accepted:
            loop.pool.restart()  # preferences over another text say nothing about these
        return loop.dump()

    async def _report(
        self,
        work: Work,
        loop: Loop,
        places: Sequence[int],
        stopped: str,
        spent: BudgetExhausted | None,
    ) -> Result:
        current = loop.pool.members[loop.pool.current]
        mean, error = mean_and_error(current.scores)
        run = await work.ensure_run()
        usage = await self.store.usage(work.session.pk, int(run.id[1:]))
        history = await self.store.proposals(work.session.pk, limit=show.VALUES)
        notes = [spent.message, spent.next] if spent else []
        notes += [PAIRED] if loop.paired else []
        session = work.session.id
        tested = "test" in await self.store.split_sizes(work.session.pk)
        return OptimizeResult(
            loss=", ".join(work.args["losses"]),
            steps=loop.steps,
            accepted=loop.accepted,
            refused=loop.refused,
            stopped=stopped,
            score_before=None if loop.paired else round(mean_and_error(loop.before)[0], 4),
            score_after=None if loop.paired else round(mean, 4),
            standard_error=None if error is None or loop.paired else round(error, 4),
            variables=sorted(current.texts),
            proposals=[show.proposal(p) for p in reversed(history)],
            calls=int(sum(u.get("calls", 0) for u in usage.values())),
            tokens=int(
                sum(
                    u.get("prompt_tokens", 0) + u.get("completion_tokens", 0)
                    for u in usage.values()
                )
            ),
            cost=sum(u.get("cost", 0.0) for u in usage.values()) or None,
            notes=[n for n in notes if n],
            next=(
                f"evaluate(session_id='{session}', split='test') shows what is left of the gain on "
                "examples nobody has seen; "
                if tested
                else ""
            )
            + f"inspect(session_id='{session}', what='report') has the whole story. Call optimize "
            "again (another seed, more steps) to go on.",
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


def _stopped(loop: Loop, args: Mapping[str, Any]) -> str:
    """Why the loop is over, or an empty text."""
    current = loop.pool.members[loop.pool.current]
    if current.mean >= args["goal"] and any(current.scores):
        return "goal"
    if loop.steps >= args["steps"] or loop.iteration >= 4 * args["steps"]:
        return "steps"
    if loop.without_gain >= args["patience"]:
        return "patience"
    if loop.idle >= args["patience"]:
        return "nothing left to improve on the training examples"
    return ""
