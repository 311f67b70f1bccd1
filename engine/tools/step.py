"""The tool `step`: better texts from the gradients, through the gate where that is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...schemas.arguments.step import StepArguments
from ...schemas.errors import BadInput, Conflict, Outdated
from ...schemas.graph import NO_EXAMPLE, STEPPED, Fate, Gradient, Kind, Session, Variable, number
from ...schemas.results import Result, StepResult
from ..evaluation.scoring import compare, in_pairs
from ..optimizer import gate, repeats, rewrites, turns
from ..optimizer.candidate import Candidate, Reason
from ..optimizer.gradients import (
    BackwardPass,
    backward_pass,
    choose,
    outputs_on,
    usable_gradients,
)
from ..optimizer.quote_guard import QuoteGuard
from ..optimizer.record import record_of
from ..optimizer.strategies import STRATEGIES, Strategy
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

Where = tuple[list[int], str] | None
"""The examples that candidates are compared on, with the name of their split."""


@dataclass(frozen=True)
class Ground:
    """What a step is made from: the gradients by parameter, the examples (`batch`) and losses that
    they come from, where candidates are compared, and notes for the caller."""

    losses: list[str]
    gradients: dict[str, list[Gradient]]
    batch: list[int]
    where: Where
    notes: list[str]


class Step(Tool[StepArguments, Result]):
    """Rewrites parameters."""

    arguments = StepArguments

    async def run(self, caller: Caller, args: StepArguments) -> Result:
        """Propose and install better parameters. Raises BadInput, NotFound, Conflict.

        A strategy that asks for no feedback needs no `backward` before: it goes by what came of the
        examples in use. One that reflects, as `reflect` does, improves one parameter.
        """
        session = await self.parts.store.sessions.get(args.session_id, caller.owner)
        asked, by = args.asked(), STRATEGIES.find(args.strategy)

        async def prepare(session: Session) -> Start:
            if by.reflects:
                parameters = [await self._reflected_on(session, args.variables)]
            else:
                parameters = await self._parameters(session, args.variables, by)
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

    async def _parameters(
        self, session: Session, ids: Sequence[str] | None, by: Strategy
    ) -> list[Variable]:
        """The parameters named, or all that have an unspent gradient; all, where none is needed."""
        if ids is None and not by.needs_backward:
            ids = [v.id for v in await self.parts.store.graph.parameters(session.pk)]
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
        by = STRATEGIES.find(work.args.get("strategy", "gradient"))
        parameters = await self._bound(work, by)
        if by.reflects:
            return await self._reflected(work, by, parameters[0])
        written = [p for p in parameters if p.kind is Kind.PARAMETER]
        chosen = [p for p in parameters if p.kind is Kind.DEMONSTRATIONS]
        if by.needs_backward:
            ground = await self._from_gradients(work, written)
        else:
            ground = await self._from_losses(work, written)
        if isinstance(ground, StepResult):
            return ground
        count, memory = work.args["candidates"], work.args.get("memory", 0)
        candidates: list[Candidate] = []
        if written := [p for p in written if p.id in ground.gradients]:
            guard = await QuoteGuard.of(work, ground.losses)
            candidates = await rewrites.written(
                work, by, written, ground.gradients, count, guard, memory
            )
            await guard.note(candidates)
        candidates += await choose(work, chosen, ground.losses, ground.batch, count)
        if not candidates:
            raise Conflict(
                "There are no other training examples to show than those shown now.",
                f"Call add_examples(session_id='{work.session.id}', split='train', ...), or step "
                "on other parameters.",
            )
        return await self._gated(work, parameters, ground, candidates)

    async def _bound(self, work: RunContext, by: Strategy) -> list[Variable]:
        """The parameters that the call is about. Raises Outdated where one was changed since."""
        bound: dict[str, int] = work.args["bound"]
        parameters = await self._parameters(work.session, list(bound), by)
        for p in parameters:
            if p.version != bound[p.id]:
                raise Outdated(
                    f"{p.label} was changed while this step was under way.",
                    "Run backward and step again: this step would rewrite a text that is gone.",
                )
        return parameters

    async def _from_gradients(
        self, work: RunContext, written: Sequence[Variable]
    ) -> Ground | StepResult:
        """What `backward` found for the parameters; the step's result where nothing can pass."""
        gradients, notes = await usable_gradients(work, written)
        used = [g for found in gradients.values() for g in found]
        losses = list(dict.fromkeys(x for g in used for x in g.losses)) or [
            v.id for v in await self.parts.losses(work.session, None)
        ]
        batch = sorted(
            {number(e, "e") or NO_EXAMPLE for g in used for e in g.batch} or {NO_EXAMPLE}
        )
        where = await self._where(work, losses)
        if isinstance(where, StepResult):
            return where
        return Ground(losses, gradients, batch if used else [], where, notes)

    async def _from_losses(
        self, work: RunContext, written: Sequence[Variable]
    ) -> Ground | StepResult:
        """What the losses say of the training examples in use, as feedback on the parameters; the
        step's result where nothing can pass."""
        losses, examples = await self._in_use(work)
        where = await self._where(work, losses)
        if isinstance(where, StepResult):
            return where
        learnt = await backward_pass(work, losses, examples, direct=True)
        _check_improvable(learnt, losses)
        ids = {p.id for p in written}
        gradients = {v: g for v, g in rewrites.by_variable(learnt).items() if v in ids}
        if written and not gradients:
            raise Conflict(
                f"The losses say nothing of {', '.join(p.label for p in written)} on the "
                f"{len(learnt.examples)} examples in use.",
                "Use others: forward(session_id, examples='train').",
            )
        return Ground(losses, gradients, learnt.examples, where, learnt.notes)

    async def _gated(
        self,
        work: RunContext,
        parameters: Sequence[Variable],
        ground: Ground,
        candidates: list[Candidate],
    ) -> StepResult:
        """The step that installs the best candidate, if one passes; gives its result."""
        losses, where = ground.losses, ground.where
        decision = await self._decided(work, candidates, losses, ground.batch, where)
        record = record_of(parameters, ground.gradients, candidates, decision)
        return await self._recorded(work, record, decision, losses, where, ground.notes)

    async def _recorded(
        self,
        work: RunContext,
        record: StepRecord,
        decision: gate.GateResult,
        losses: Sequence[str],
        where: Where,
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
        where: Where,
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

    async def _reflected(self, work: RunContext, by: Strategy, parameter: Variable) -> StepResult:
        """A step on one parameter by what came of the training examples in use."""
        losses, examples = await self._in_use(work)
        where = await self._where(work, losses)
        if isinstance(where, StepResult):
            return where
        learnt = await outputs_on(work, losses, examples)
        _check_improvable(learnt, losses)
        guard, count = await QuoteGuard.of(work, losses), work.args["candidates"]
        candidates = await rewrites.reflected(work, by, learnt, parameter, losses, count, guard)
        await guard.note(candidates)
        gradients = rewrites.by_variable(learnt)
        ground = Ground(losses, gradients, learnt.examples, where, learnt.notes)
        return await self._gated(work, [parameter], ground, candidates)

    async def _in_use(self, work: RunContext) -> tuple[list[str], list[int]]:
        """All losses, and the training examples in use. Raises Conflict when there are none."""
        named = await self.parts.losses(work.session, None)
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
        return [v.id for v in named], examples

    async def _where(self, work: RunContext, losses: Sequence[str]) -> Where | StepResult:
        """Where candidates are compared, None if they are not; or, before anything is asked, the
        step's result where no text can do better there."""
        if work.args["accept"] != "if_better":
            return None
        where = await gate_examples(self.parts, work.session, losses)
        return await self._saturated(work, losses, where[0]) or where

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
        where: Where,
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


def _check_improvable(learnt: BackwardPass, losses: Sequence[str]) -> None:
    """Raises Conflict where there is nothing to improve on the examples in use."""
    if not turns.improvable(learnt, losses):
        raise Conflict(
            f"Nothing is wrong on the {len(learnt.examples)} examples in use.",
            "Use others: forward(session_id, examples='train').",
        )
