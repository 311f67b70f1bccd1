"""Optimize: minibatch, forward, loss, backward, step, gate, until goal, patience or budget.

Each iteration ends in one commit that holds the step and the loop's state, so a run that is killed
goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...schemas.arguments.optimize import OptimizeArguments
from ...schemas.errors import BudgetExhausted
from ...schemas.graph import NO_EXAMPLE, Fate, Session, Variable, number
from ...schemas.results import Result
from ..evaluation.scoring import compare, in_pairs
from ..evaluation.statistics import mean_and_error
from ..optimizer import cost_estimate, gate, repeats, rewrites, sizes, training, turns
from ..optimizer.candidate import Candidate, Reason
from ..optimizer.gradients import BackwardPass
from ..optimizer.pool import CandidatePool, PoolEntry
from ..optimizer.progress import (
    NO_FEEDBACK,
    NO_MORE,
    NO_REWRITE,
    NOTHING_MOVES,
    SearchState,
    load,
    stopped,
)
from ..optimizer.quote_guard import QuoteGuard
from ..optimizer.record import record_of
from ..optimizer.strategies import STRATEGIES
from ..program.missing_fields import left_out, unusable
from ..prompts import sentence
from ..runs.basis import Stands, stands_on
from ..runs.context import RunContext
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from ..views.lineups import by_model
from . import outcome
from .base import Tool
from .lookup import gate_examples

SAMPLED = 64
"""Of so many examples at most the length of the prompts is estimated."""
LOOKED_THROUGH = 64
"""So many proposals, the newest, are looked through at the end for a better one."""


class Optimize(Tool[OptimizeArguments, Result]):
    """Runs the whole loop."""

    arguments = OptimizeArguments

    async def run(self, caller: Caller, args: OptimizeArguments) -> Result:
        """Improve the parameters until goal, patience, steps or budget.

        Without `strategy` it reflects where one parameter is improved, not far from its loss.
        Without `batch_size`, `candidates` and `parents` they are chosen for the strategy and the
        budget; without `patience`, it also stops early where no rewrite moves the score.
        `memory` is as for `step`; with `together` false, each step changes one of them in turn.
        Raises BadInput, NotFound, Conflict.
        """
        session = await self.parts.store.sessions.get(args.session_id, caller.owner)
        asked = args.asked()
        if args.strategy is not None:
            STRATEGIES.find(args.strategy)

        async def prepare(session: Session) -> Start:
            named = [args.loss] if args.loss else None
            losses = [v.id for v in await self.parts.losses(session, named)]
            return Start(await self._chosen(session, asked | {"losses": losses}))

        digest = digest_of("optimize", asked)
        return await self.parts.runs.call(caller, session, "optimize", digest, prepare)

    async def _chosen(self, session: Session, asked: dict[str, Any]) -> dict[str, Any]:
        """The arguments with what was left open; refuses a budget that pays for no gated step."""
        examples, _ = await gate_examples(self.parts, session, asked["losses"])
        program = await self.parts.store.graph.program(session.pk, asked["losses"], everything=True)
        asked = repeats.settled(asked, program)
        usual = sizes.strategy(program, asked["variables"])
        args = sizes.chosen(asked, cost_estimate.asking(program), len(examples), usual)
        alone, measured = list(examples) == [NO_EXAMPLE], sizes.drawn(examples, args)
        args["referees"] = 0 if alone else training.wanted(len(measured))
        args["again"] = 0 if alone else repeats.decisions(args, program, len(measured))
        if args["budget"]:
            found = await self._need(session.pk, args, measured)
            cost_estimate.check(args["budget"], found, len(measured))
        return args

    async def _need(
        self, session: int, args: dict[str, Any], examples: Sequence[int]
    ) -> cost_estimate.CostEstimate:
        program = await self.parts.store.graph.program(session, args["losses"], everything=True)
        some = await self.parts.store.examples.get(
            session, [n for n in examples[:SAMPLED] if n != NO_EXAMPLE]
        )
        train = (await self.parts.store.examples.split_sizes(session)).get("train", 0)
        return cost_estimate.estimate(
            program, list(some.values()), args, examples, train, self.parts.settings
        )

    async def body(self, work: RunContext) -> Result:
        """What a run of it does; executed again from the top when the run is resumed."""
        args = work.args
        every, split = await gate_examples(self.parts, work.session, args["losses"])
        examples = sizes.drawn(every, args)
        loop = load(work.run)
        try:
            loop = await self._measured(work, loop, examples)
            examples = loop.scored(examples)
            work.standing = loop.standing
            while not (why := stopped(loop, args)):
                await self._iterate(work, loop, examples, split)
        except BudgetExhausted as spent:
            if loop is None:
                raise
            return await self._report(work, loop, examples, "budget", spent)
        return await self._report(work, loop, examples, why, None)

    async def _measured(
        self, work: RunContext, loop: SearchState | None, examples: Sequence[int]
    ) -> SearchState:
        """The loop as it was saved, or, at the start and where what it stands on has changed, one
        whose scores are measured now."""
        split = None if list(examples) == [NO_EXAMPLE] else "validation"
        now = await stands_on(work, work.args["losses"], split)
        if loop is None:
            return await self._begin(work, examples, now)
        if loop.stands is None:
            changed = ["the version of textgrad-mcp"]
        else:
            changed = loop.stands.changes(now, "validation")
        if not changed and len(loop.before) == len(loop.scored(examples)):
            return loop
        why = (
            f"Meanwhile {' and '.join(changed) or 'something'} changed: the texts were measured "
            f"again after step {loop.steps}, and score_before is what they scored then."
        )
        return await self._begin(work, examples, now, loop.model_copy(update={"notes": [why]}))

    async def _begin(
        self,
        work: RunContext,
        examples: Sequence[int],
        stands: Stands,
        earlier: SearchState | None = None,
    ) -> SearchState:
        """A loop whose scores are measured now; with what `earlier` counted."""
        work.phase = "scoring the start"
        start, _ = await compare(work, work.args["losses"], examples, {}, [])
        examples = list(start.scores)
        first = PoolEntry(name="the start", texts={}, scores=[start.scores[n] for n in examples])
        loop = SearchState(
            pool=CandidatePool(members=[first]),
            before=first.scores,
            left_out=start.left_out,
            unusable=start.why_unusable,
            stands=stands,
        )
        loop.paired = await in_pairs(work, work.args["losses"])
        loop.by_model = {name: (mean, mean) for name, mean in start.by_model.items()}
        if earlier is None:
            loop.start = outcome.figures(await self._usage(work))
            loop.notes = repeats.spread(start)
        else:
            kept = ("iteration", "steps", "accepted", "refused", "start", "notes")
            loop = loop.model_copy(update={name: getattr(earlier, name) for name in kept})
            first.name = f"the text after step {loop.steps}"
        await self._note_score(work, loop, examples)
        await work.save_state(loop.dump())
        return loop

    async def _usage(self, work: RunContext) -> dict[str, dict[str, float]]:
        """What this run has used so far, by purpose."""
        return await self.parts.store.calls.usage(work.session.pk, number(work.run.id, "r"))

    async def _note_score(
        self, work: RunContext, loop: SearchState, examples: Sequence[int]
    ) -> None:
        """Remember the installed texts' validation score, for the report."""
        if loop.paired:
            return
        mean, error = mean_and_error(loop.current.scores)
        parameters = await self.parts.store.graph.parameters(work.session.pk)
        versions = {v.id: v.version for v in parameters}
        [loss] = work.args["losses"]
        pk, fence, state = work.session.pk, work.fence, loop.dump()
        await self.parts.store.evaluations.add(
            pk,
            loss,
            "validation",
            versions,
            mean,
            error,
            len(examples),
            fence,
            state,
            work.chain,
            dict(zip(examples, loop.current.scores, strict=True)),
            {name: now for name, (_, now) in loop.by_model.items()},
        )

    async def _iterate(
        self, work: RunContext, loop: SearchState, examples: Sequence[int], split: str
    ) -> None:
        args = work.args
        parent = loop.pool.choose(args["parents"], args["seed"], loop.iteration)
        guard = await QuoteGuard.of(work, args["losses"])
        quoted = await turns.quoted_by(work, guard, parent.texts)
        batch = await turns.minibatch(work, loop, parent, quoted, guard)
        learnt = await turns.learn(work, loop, batch, parent) if batch else None
        if learnt is None:
            await self._idle(work, loop)
            return
        parameters = await turns.to_improve(work, loop, learnt)
        chosen = turns.demonstrations(work, learnt)
        if not args.get("together", True) or turns.strategy(work, loop).reflects:
            parameters, chosen = turns.in_turn(parameters, chosen, loop.iteration)
        if not parameters and not chosen:
            await self._idle(work, loop)
            return
        loop.iteration += 1
        loop.idle = 0
        found = await turns.candidates(work, loop, learnt, parameters, chosen, parent, guard)
        loop.show([*learnt.examples, *learnt.others, *quoted])
        await self._step(work, loop, learnt, found, [*parameters, *chosen], parent, examples, split)

    async def _idle(self, work: RunContext, loop: SearchState) -> None:
        """Go on to the next minibatch: there was nothing to learn from this one."""
        loop.iteration += 1
        loop.idle += 1
        await work.save_state(loop.dump())

    async def _step(
        self,
        work: RunContext,
        loop: SearchState,
        learnt: BackwardPass,
        candidates: Sequence[Candidate],
        parameters: Sequence[Variable],
        parent: PoolEntry,
        examples: Sequence[int],
        split: str,
    ) -> None:
        losses = work.args["losses"]
        quotes = [n for candidate in candidates for n in candidate.quotes]
        batch = await turns.checked_on(work, loop, learnt, candidates)
        referees = loop.scored(await training.referees(work, {*loop.shown, *quotes, *batch}))
        where = losses, batch, examples, split, parent.texts, referees
        repeat = loop.again < work.args.get("again", 0) and not (loop.paired or loop.steady)
        decision = await gate.decide(work, candidates, *where, repeat=repeat)
        if decision.winner is not None and parent is not loop.current:
            words = decision.summary
            decision.summary = sentence("reasons", "from_parent", words=words, parent=parent.name)
            decision.reasons[decision.winner] = Reason(Fate.ACCEPTED, decision.summary)
        changed = await self._changed(work, parameters, parent)
        record = record_of(changed, rewrites.by_variable(learnt), candidates, decision, parent.led)
        number_ = await self.parts.store.history.last_step(work.session.pk) + 1
        loop.take(f"s{number_}", candidates, decision, record)
        if loop.unwritten and "strategy" in work.args.get("open", []):
            loop.fall_back()
        await self.parts.store.history.record_step(
            work.session.pk, record, work.fence, loop.dump(), work.chain
        )

    async def _changed(
        self, work: RunContext, parameters: Sequence[Variable], parent: PoolEntry
    ) -> list[Variable]:
        """All parameters whose text a candidate sets, those of its parent included."""
        ids = dict.fromkeys([*(p.id for p in parameters), *parent.texts])
        found = await self.parts.store.graph.variables(work.session.pk, ids)
        return [found[v] for v in ids]

    async def _report(
        self,
        work: RunContext,
        loop: SearchState,
        examples: Sequence[int],
        why: str,
        spent: BudgetExhausted | None,
    ) -> Result:
        usage = await self._usage(work)
        if loop.accepted:
            await self._note_score(work, loop, examples)
        history = await self.parts.store.history.proposals(work.session.pk, limit=LOOKED_THROUGH)
        last = await self.parts.store.history.last_step(work.session.pk)  # nothing is told twice
        history = [p for p in history if (number(p.step, "s") or 0) > last - loop.steps]
        program = await self.parts.store.graph.program(
            work.session.pk, work.args["losses"], everything=True
        )
        notes = [*by_model(program, loop.by_model), *left_out(loop.left_out)]
        notes += unusable(loop.unusable)
        if why == NOTHING_MOVES:
            notes.append(outcome.no_headroom(loop))
        if why == NO_MORE:
            notes.append(outcome.NOTHING_TO_LEARN)
        if why in (NO_FEEDBACK, NO_REWRITE):
            notes.append(outcome.hopeless(loop, why))
            await self.parts.store.calls.retire_unusable(work.session.pk)
        if spent is not None:
            found = await self._need(work.session.pk, work.args, examples)
            notes += [spent.message, spent.next, outcome.next_step(loop, usage, found)]
        notes = [*work.args.get("notes", []), *loop.notes, *notes, *sizes.notes(work.args)]
        if loop.plain:
            notes.append(f"{outcome.FELL_BACK} ({loop.problem})")
        notes += outcome.still_failing(loop, examples)
        guard = await QuoteGuard.of(work, work.args["losses"])
        notes += outcome.copied(await turns.quoted_by(work, guard, {}))
        tested = "test" in await self.parts.store.examples.split_sizes(work.session.pk)
        return outcome.result(work, loop, why, usage, history, notes, tested)
