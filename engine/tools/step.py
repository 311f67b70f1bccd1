"""The tool `step`: better texts from the gradients, through the gate where that is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...schemas.arguments.step import StepArguments
from ...schemas.errors import BadInput, Conflict, Outdated
from ...schemas.graph import NO_EXAMPLE, Fate, Kind, Session, Variable, number
from ...schemas.results import Result, StepResult
from ..evaluation.scoring import compare, in_pairs
from ..optimizer import gate, repeats, turns
from ..optimizer.candidate import Candidate, Reason
from ..optimizer.gradients import choose, outputs_on, usable_gradients
from ..optimizer.proposer import propose
from ..optimizer.quote_guard import QuoteGuard
from ..optimizer.record import record_of
from ..optimizer.strategies import STRATEGIES
from ..optimizer.trial import Trial
from ..program.missing_fields import left_out
from ..prompts import sentence
from ..runs import saved_state as saved
from ..runs.context import RunContext
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from ..store import StepRecord, binding
from ..views import results as show
from ..views.after_step import following, telling_again
from ..views.lineups import by_model
from . import noted_scores
from .base import Tool
from .lookup import gate_examples

STEPPED = (Kind.PARAMETER, Kind.DEMONSTRATIONS)


class Step(Tool[StepArguments, Result]):
    """Rewrites parameters."""

    arguments = StepArguments

    async def run(self, caller: Caller, args: StepArguments) -> Result:
        """Propose and install better parameters. Raises BadInput, NotFound, Conflict.

        The strategy `reflect` needs no gradients: it improves one parameter by the examples in
        use.
        """
        session = await self.parts.store.sessions.get(args.session_id, caller.owner)
        asked = args.asked()

        async def prepare(session: Session) -> Start:
            if args.strategy == "reflect":
                parameters = [await self._reflected_on(session, args.variables)]
            else:
                parameters = await self._parameters(session, args.variables)
            bound = binding(session.pk, [p.id for p in parameters])
            return Start(await self._settled(session, asked), bound)

        digest = digest_of("step", asked)
        return await self.parts.runs.call(caller, session, "step", digest, prepare)

    async def _settled(self, session: Session, asked: dict[str, Any]) -> dict[str, Any]:
        """The arguments, with how often each example will be measured."""
        if asked.get("repeats", 1) == 1:
            return asked
        losses = await self.parts.store.graph.loss_outputs(session.pk)
        program = await self.parts.store.graph.program(session.pk, losses, everything=True)
        return repeats.settled(asked, program)

    async def _reflected_on(self, session: Session, ids: Sequence[str] | None) -> Variable:
        """The parameter that a reflection improves: the one named, or the only one there is."""
        found = ids or [v.id for v in await self.parts.store.graph.parameters(session.pk)]
        parameters = [await self.parts.one_variable(session, i) for i in dict.fromkeys(found)]
        if len(parameters) != 1 or parameters[0].kind is not Kind.PARAMETER:
            raise BadInput(
                "A reflection improves one parameter at a time.",
                f"Name one: variables=['{found[0] if found else 'v1'}'].",
            )
        return parameters[0]

    async def _parameters(self, session: Session, ids: Sequence[str] | None) -> list[Variable]:
        """The parameters named, or all that have an unspent gradient."""
        if ids is None:
            ids = await self.parts.store.history.with_gradients(session.pk)
            if not ids:
                raise Conflict(
                    "There is no gradient to step from.",
                    "Call backward first: a step spends the gradients it uses.",
                )
        parameters = [await self.parts.one_variable(session, i) for i in dict.fromkeys(ids)]
        wrong = [p.label for p in parameters if p.kind not in STEPPED]
        if wrong or not parameters:
            raise BadInput(
                f"{', '.join(wrong) or 'Nothing'} cannot be stepped: not a parameter.",
                "Name variables made with a value and requires_grad=true.",
            )
        return parameters

    async def body(self, work: RunContext) -> Result:
        """What a run of it does; executed again from the top when the run is resumed."""
        known = show.is_known(work, "backward")
        recorded = saved.state_of(work.run, StepRecord, "recorded")
        if recorded is not None:  # killed between the step and the end of its run
            after = await self._following(work, recorded)
            told = work.args.get("notes", [])
            return show.step_result(work.session, recorded, told, after, known=known)
        bound: dict[str, int] = work.args["bound"]
        parameters = await self._parameters(work.session, list(bound))
        for p in parameters:
            if p.version != bound[p.id]:
                raise Outdated(
                    f"{p.label} was changed while this step was under way.",
                    "Run backward and step again: this step would rewrite a text that is gone.",
                )
        if work.args.get("strategy") == "reflect":
            return await self._reflected(work, parameters[0])
        written = [p for p in parameters if p.kind is Kind.PARAMETER]
        chosen = [p for p in parameters if p.kind is Kind.DEMONSTRATIONS]
        gradients, notes = await usable_gradients(work, written)
        used = [g for found in gradients.values() for g in found]
        losses = list(dict.fromkeys(x for g in used for x in g.losses)) or [
            v.id for v in await self.parts.losses(work.session, None)
        ]
        batch = sorted(
            {number(e, "e") or NO_EXAMPLE for g in used for e in g.batch} or {NO_EXAMPLE}
        )
        where = None
        if work.args["accept"] == "if_better":  # refuses before anything is asked
            where = await gate_examples(self.parts, work.session, losses)
            if full := await self._saturated(work, losses, where[0]):
                return full
        count = work.args["candidates"]
        candidates = []
        if written:
            guard = await QuoteGuard.of(work, losses)
            memory = work.args.get("memory", 0)
            candidates = await propose(
                work, written, gradients, count=count, check=guard.objections, memory=memory
            )
            await guard.note(candidates)
        candidates += await choose(work, chosen, losses, batch if used else [], count)
        if not candidates:
            raise Conflict(
                "There are no other training examples to show than those shown now.",
                f"Call add_examples(session_id='{work.session.id}', split='train', ...), or step "
                "on other parameters.",
            )
        decision = await self._decided(work, candidates, losses, batch if used else [], where)
        record = record_of(parameters, gradients, candidates, decision)
        return await self._recorded(work, record, decision, losses, where, notes)

    async def _recorded(
        self,
        work: RunContext,
        record: StepRecord,
        decision: gate.GateResult,
        losses: Sequence[str],
        where: tuple[list[int], str] | None,
        notes: Sequence[str],
    ) -> StepResult:
        """Record a step, with what was measured for it; gives its result."""
        parameters = await self.parts.store.graph.parameters(work.session.pk)
        before = {v.id: v.version for v in parameters}
        stored = await self.parts.store.history.record_step(
            work.session.pk, record, work.fence, chain=work.chain
        )
        installed = {p.variable: p.version for p in stored.proposals if p.version is not None}
        await self._note_scores(work, decision, losses, where, before, before | installed)
        known = show.is_known(work, "backward")
        told = [*work.args.get("notes", []), *notes, *decision.notes]
        if decision.by_model:
            program = await self.parts.store.graph.program(work.session.pk, losses, everything=True)
            told += by_model(program, decision.by_model)
        then = await self._following(work, stored)
        result = show.step_result(work.session, stored, told, then, known=known)
        result.by_model = decision.by_model
        return result

    async def _following(self, work: RunContext, step: StepRecord) -> str:
        """What to do after this step, where it was accepted."""
        if not step.accepted:
            return ""
        sizes = await self.parts.store.examples.split_sizes(work.session.pk, work.chain)
        outputs = await self.parts.store.graph.loss_outputs(work.session.pk)
        named = await self.parts.store.graph.variables(work.session.pk, outputs[:2])
        made_by = [v.operation for v in named.values() if v.operation and not v.per_example]
        made = await self.parts.store.graph.operations(work.session.pk, made_by)
        telling = telling_again(made[0], work.session.id) if len(made) == 1 else ""
        changed, after = step.changed, step.after
        return following(work.session.id, changed, after=after, telling=telling, sizes=sizes)

    async def _note_scores(
        self,
        work: RunContext,
        decision: gate.GateResult,
        losses: Sequence[str],
        where: tuple[list[int], str] | None,
        before: Mapping[str, int],
        after: Mapping[str, int],
    ) -> None:
        """Note what the gate has measured of the texts at the versions `before` and `after`."""
        if where is None or decision.winner is None or len(losses) > 1:
            return
        if await in_pairs(work, losses):
            return
        found = dict(zip(where[0], decision.by_example[decision.winner], strict=True))
        scores = {n: found[n] for n in decision.present}
        now = decision.models[decision.winner]
        readings = [(before, decision.present, decision.models[None]), (after, scores, now)]
        await noted_scores.note_compared(self.parts, work, losses[0], readings)

    async def _reflected(self, work: RunContext, parameter: Variable) -> StepResult:
        """A step on one parameter by what came of the training examples in use."""
        named = await self.parts.losses(work.session, None)
        losses = [v.id for v in named]
        examples = await self.parts.examples_in_use(work.session, named)
        found = await self.parts.store.examples.get(
            work.session.pk, [n for n in examples if n != NO_EXAMPLE]
        )
        examples = [n for n in examples if n == NO_EXAMPLE or found[n].split == "train"]
        if not examples:
            raise Conflict(
                "There are no training examples in use to learn from.",
                f"Call add_examples(session_id='{work.session.id}', split='train', ...).",
            )
        where = None
        if work.args["accept"] == "if_better":
            where = await gate_examples(self.parts, work.session, losses)
            if full := await self._saturated(work, losses, where[0]):
                return full
        learnt = await outputs_on(work, losses, examples)
        if not turns.improvable(learnt, losses):
            raise Conflict(
                f"Nothing is wrong on the {len(learnt.examples)} examples in use.",
                "Use others: forward(session_id, examples='train').",
            )
        guard, count = await QuoteGuard.of(work, losses), work.args["candidates"]
        by = STRATEGIES["reflect"]
        candidates = await turns.reflected(work, by, learnt, parameter, losses, count, guard)
        await guard.note(candidates)
        decision = await self._decided(work, candidates, losses, learnt.examples, where)
        record = record_of([parameter], turns.by_variable(learnt), candidates, decision)
        return await self._recorded(work, record, decision, losses, where, learnt.notes)

    async def _saturated(
        self, work: RunContext, losses: Sequence[str], examples: Sequence[int]
    ) -> StepResult | None:
        """The result of a step that no rewrite could pass; None where one could."""
        if await in_pairs(work, losses):
            return None
        work.phase = "scoring the present text"
        present, _ = await compare(work, losses, examples, {}, [])
        if not gate.saturated(list(present.scores.values())):
            return None
        return StepResult(
            accepted=False,
            score_before=1.0,
            gate=f"nothing was asked: 1.00 on {len(present.scores)} examples cannot be passed",
            notes=[*work.args.get("notes", []), *left_out(present.left_out)],
            next=gate.harder(work.session)
            if list(examples) != [NO_EXAMPLE]
            else "The program's own loss is at its best. accept='always' installs without a check.",
        )

    async def _decided(
        self,
        work: RunContext,
        candidates: list[Candidate],
        losses: Sequence[str],
        batch: Sequence[int],
        where: tuple[list[int], str] | None,
    ) -> gate.GateResult:
        accept = work.args["accept"]
        if where is not None:
            return await gate.decide(work, candidates, losses, batch, *where)
        only = Reason(Fate.NOT_COMPARED, sentence("reasons", "proposed"))
        reasons = {i: c.refused or only for i, c in enumerate(candidates)}
        standing = [i for i, c in enumerate(candidates) if not c.refused]
        if accept == "never" or not standing:
            why = sentence("reasons", "proposed_never") if standing else reasons[0].words
            return gate.GateResult(None, why, "", 0, 0.0, trial=Trial(reasons))
        beaten = Reason(Fate.BEATEN, sentence("reasons", "another"))
        reasons |= dict.fromkeys(standing, beaten)
        why = sentence("reasons", "accepted")
        reasons[standing[0]] = Reason(Fate.ACCEPTED, why)
        return gate.GateResult(standing[0], why, "", 0, 0.0, trial=Trial(reasons))
