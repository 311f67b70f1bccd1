"""The tools that learn: forward's work, backward and step. A body is re-run to be continued."""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.errors import BadInput, Conflict, Outdated, TextGradError
from ..schemas.graph import HERE, Fate, Kind, Session, Variable, number
from ..schemas.results import (
    BackwardResult,
    EvaluateResult,
    ForwardResult,
    OptimizeResult,
    Result,
    StepResult,
)
from . import gate, saved, show, turns
from .complete import complete, left_out, named
from .evaluate import Evaluating
from .execution import Body
from .forward import Evaluation, evaluate, load
from .guard import Guard
from .hints import needs_examples
from .learn import Learnt, choose, gate_places, gradients_on, outputs_on, record_of
from .optimize import Optimizing
from .runs import Caller, Start
from .scoring import compare, in_pairs
from .step import Candidate, Reason, propose, usable_gradients
from .store import StepRecord, binding
from .trial import Trial
from .work import Work, digest_of

STEPPED = (Kind.PARAMETER, Kind.DEMONSTRATIONS)
ACCEPT = ("always", "if_better", "never")
MEMORY = 64
"""Most spent gradients that a step can show again."""


class Training(Evaluating, Optimizing):
    """Tools whose work needs completions, as bodies of runs."""

    def register(self) -> None:
        """Tell the runs which body continues which tool."""
        self.runs.execution.bodies |= {
            tool: (kind, self._on_what_is_there(body))
            for tool, kind, body in (
                ("forward", ForwardResult, self._forward_body),
                ("compute_loss", ForwardResult, self._forward_body),
                ("backward", BackwardResult, self._backward_body),
                ("step", StepResult, self._step_body),
                ("evaluate", EvaluateResult, self._evaluate_body),
                ("optimize", OptimizeResult, self._optimize_body),
            )
        }

    def _on_what_is_there(self, body: Body) -> Body:
        """`body` between two looks at the files that parameters are bound to.

        The first refuses a file that was changed outside; the second writes what was accepted.
        Before both, a run that is continued is refused where what it is about was taken out.
        """

        async def run(work: Work) -> Result:
            if work.continued:
                await self._still_there(work)
            bound = await self.reconcile_files(work.session, work.chain)
            result = await body(work)
            if bound and work.tool in ("step", "optimize"):
                try:
                    await work.chain.settled()
                    await self.reconcile_files(work.session)
                except TextGradError as error:  # the step stands; its text is in the session
                    result.notes = [*result.notes, f"Not written to the file: {error}"]
            return result

        return run

    async def _still_there(self, work: Work) -> None:
        args, pk = work.args, work.session.pk
        named = [*args.get("targets", []), *args.get("losses", []), *args.get("bound", {})]
        named += [args["loss"]] if "loss" in args and "losses" not in args else []
        named += args.get("variables") or [] if work.tool == "optimize" else []
        places = [p for p in args.get("places", []) if p != HERE]
        variables = await self.store.variables(pk, named)
        examples = await self.store.examples(pk, places)
        gone = [v for v in named if v not in variables]
        gone += [f"e{p}" for p in places if p not in examples]
        if gone:
            raise saved.refused(work.run, f"is about {', '.join(gone[:5])}, no longer there")

    async def _forward_body(self, work: Work) -> Result:
        session, targets = work.session, work.args["targets"]
        work.phase = "computing"
        program = await self.store.program(session.pk, targets, everything=False, chain=work.chain)
        places = await self.places(session, list(program.variables.values()))
        waiting = [v for v in targets if program.variables[v].per_example and not places]
        if waiting:
            targets, places = [v for v in targets if v not in waiting], [HERE]
            program = await self.store.program(session.pk, targets, everything=False)
        in_use = await self.part_in_use(session, places)
        full, lacking = await complete(self.store, session.pk, targets, places, program)
        places = full or places
        evaluation = await load(work, targets, places, program=program)
        try:
            await evaluate(work, evaluation, places)
        finally:
            await self._save(work, evaluation, places)
        kept = [p for p in places if p not in evaluation.left_out]
        result = show.forward_result(work, evaluation, targets, kept)
        result.notes = [*lacking, *left_out(evaluation.reasons), *result.notes]
        if in_use and any(program.variables[v].per_example for v in targets):
            result.in_use = in_use
        if waiting:
            result.next = f"{', '.join(waiting)} need training examples: call add_examples first."
            if "made" in work.args:
                result.next = needs_examples(session)
        return result

    async def _save(self, work: Work, evaluation: Evaluation, places: Sequence[int]) -> None:
        """Keep what was computed, also when not all of it could be."""
        clean = [
            v for v in evaluation.program.dirty if all(evaluation.has(v, place) for place in places)
        ]
        if evaluation.computed or clean:
            await self.store.save_values(
                work.session.pk, evaluation.computed, clean, work.fence, work.chain
            )

    async def backward(
        self,
        caller: Caller,
        *,
        session_id: str,
        losses: Sequence[str] | None = None,
        examples: Sequence[str] | str | None = None,
        exact: bool = False,
    ) -> Result:
        """Textual gradients from losses to parameters. Raises BadInput, NotFound, Conflict."""
        session = await self.store.session(session_id, caller.owner)

        async def prepare(session: Session) -> Start:
            named = await self.losses(session, losses)
            places = (
                await self.named_examples(session, examples)
                if examples is not None
                else await self.places(session, named)
            )
            if not any(v.per_example for v in named):
                places = [HERE]
            if not places:
                raise Conflict(
                    "There are no training examples to learn from.",
                    f"Call add_examples(session_id='{session_id}', split='train', ...).",
                )
            notes = await self._held_out(session, places)
            ids = [v.id for v in named]
            return Start({"losses": ids, "places": places, "exact": exact, "notes": notes})

        asked = {"losses": losses, "examples": examples, "exact": exact}
        digest = digest_of("backward", asked)
        return await self.runs.call(caller, session, "backward", digest, prepare)

    async def _held_out(self, session: Session, places: Sequence[int]) -> list[str]:
        found = await self.store.examples(session.pk, [p for p in places if p != HERE])
        splits = {e.split for e in found.values()} - {"train"}
        if not splits:
            return []
        return [
            f"Some of these examples are from {' and '.join(sorted(splits))}: feedback from them "
            "makes that split's scores untrustworthy."
        ]

    async def _backward_body(self, work: Work) -> Result:
        args = work.args
        learnt = await gradients_on(
            work, args["losses"], args["places"], exact=bool(args.get("exact"))
        )
        blamed = {g.variable for g in learnt.gradients}
        spared = [
            f"{v.label}: nothing to change was found on these examples."
            for v in learnt.evaluation.program.variables.values()
            if v.kind is Kind.PARAMETER and v.requires_grad and v.id not in blamed
        ]
        sizes = await self.store.split_sizes(work.session.pk, work.chain)
        gated = not sizes or bool(sizes.get("validation"))
        result = _backward_result(work, learnt, spared, gated=gated)
        if part := await self.part_in_use(work.session, args["places"]):
            result.in_use = part
            result.next = f"{result.next} In use: {part}."
        return result

    async def step(
        self,
        caller: Caller,
        *,
        session_id: str,
        variables: Sequence[str] | None = None,
        accept: str = "always",
        candidates: int = 1,
        memory: int = 0,
        strategy: str = "gradient",
    ) -> Result:
        """Propose and install better parameters. Raises BadInput, NotFound, Conflict.

        `memory` is the number of spent gradients on each parameter that are shown again. The
        strategy `reflect` needs no gradients: it improves one parameter by the examples in use.
        """
        session = await self.store.session(session_id, caller.owner)
        if accept not in ACCEPT:
            raise BadInput(f"accept cannot be {accept!r}.", f"Use one of {', '.join(ACCEPT)}.")
        if not 1 <= candidates <= 16:
            raise BadInput(f"candidates must be between 1 and 16, not {candidates}.", "3 is usual.")
        if not 0 <= memory <= MEMORY:
            raise BadInput(f"memory must be between 0 and {MEMORY}, not {memory}.", "0 is usual.")
        if strategy not in ("gradient", "reflect"):
            raise BadInput(f"A step has no strategy {strategy!r}.", "Use gradient or reflect.")
        args = _step_args(variables, accept, candidates, memory, strategy)

        async def prepare(session: Session) -> Start:
            if strategy == "reflect":
                parameters = [await self._reflected_on(session, variables)]
            else:
                parameters = await self._parameters(session, variables)
            return Start(args, binding(session.pk, [p.id for p in parameters]))

        return await self.runs.call(caller, session, "step", digest_of("step", args), prepare)

    async def _reflected_on(self, session: Session, ids: Sequence[str] | None) -> Variable:
        """The parameter that a reflection improves: the one named, or the only one there is."""
        found = ids or [v.id for v in await self.store.parameters(session.pk)]
        parameters = [await self.one_variable(session, i) for i in dict.fromkeys(found)]
        if len(parameters) != 1 or parameters[0].kind is not Kind.PARAMETER:
            raise BadInput(
                "A reflection improves one parameter at a time.",
                f"Name one: variables=['{found[0] if found else 'v1'}'].",
            )
        return parameters[0]

    async def _parameters(self, session: Session, ids: Sequence[str] | None) -> list[Variable]:
        """The parameters named, or all that have an unspent gradient."""
        if ids is None:
            ids = await self.store.with_gradients(session.pk)
            if not ids:
                raise Conflict(
                    "There is no gradient to step from.",
                    "Call backward first: a step spends the gradients it uses.",
                )
        parameters = [await self.one_variable(session, i) for i in dict.fromkeys(ids)]
        wrong = [p.label for p in parameters if p.kind not in STEPPED]
        if wrong or not parameters:
            raise BadInput(
                f"{', '.join(wrong) or 'Nothing'} cannot be stepped: not a parameter.",
                "Name variables made with a value and requires_grad=true.",
            )
        return parameters

    async def _step_body(self, work: Work) -> Result:
        known = show.is_known(work, "backward")
        recorded = saved.state_of(work.run, StepRecord, "recorded")
        if recorded is not None:  # killed between the step and the end of its run
            return show.step_result(work.session, recorded, [], known=known)
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
            v.id for v in await self.losses(work.session, None)
        ]
        batch = sorted({number(e, "e") or HERE for g in used for e in g.batch} or {HERE})
        where = None
        if work.args["accept"] == "if_better":  # refuses before anything is asked
            where = await gate_places(self, work.session, losses)
            if full := await self._saturated(work, losses, where[0]):
                return full
        count = work.args["candidates"]
        candidates = []
        if written:
            guard = await Guard.of(work, losses)
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
        judged = await self._judged(work, candidates, losses, batch if used else [], where)
        record = record_of(parameters, gradients, candidates, judged)
        stored = await self.store.record_step(work.session.pk, record, work.fence, chain=work.chain)
        told = [*notes, *judged.notes]
        return show.step_result(work.session, stored, told, known=known)

    async def _reflected(self, work: Work, parameter: Variable) -> StepResult:
        """A step on one parameter by what came of the training examples in use."""
        named = await self.losses(work.session, None)
        losses = [v.id for v in named]
        places = await self.places(work.session, named)
        found = await self.store.examples(work.session.pk, [p for p in places if p != HERE])
        places = [p for p in places if p == HERE or found[p].split == "train"]
        if not places:
            raise Conflict(
                "There are no training examples in use to learn from.",
                f"Call add_examples(session_id='{work.session.id}', split='train', ...).",
            )
        where = None
        if work.args["accept"] == "if_better":
            where = await gate_places(self, work.session, losses)
            if full := await self._saturated(work, losses, where[0]):
                return full
        learnt = await outputs_on(work, losses, places)
        if not turns.improvable(learnt, losses):
            raise Conflict(
                f"Nothing is wrong on the {len(learnt.places)} examples in use.",
                "Use others: forward(session_id, examples='train').",
            )
        guard, count = await Guard.of(work, losses), work.args["candidates"]
        candidates = await turns.reflected(work, learnt, parameter, losses, count, guard)
        await guard.note(candidates)
        judged = await self._judged(work, candidates, losses, learnt.places, where)
        record = record_of([parameter], turns.by_variable(learnt), candidates, judged)
        stored = await self.store.record_step(work.session.pk, record, work.fence, chain=work.chain)
        return show.step_result(work.session, stored, [*learnt.notes, *judged.notes])

    async def _saturated(
        self, work: Work, losses: Sequence[str], places: Sequence[int]
    ) -> StepResult | None:
        """The result of a step that no rewrite could pass; None where one could."""
        if await in_pairs(work, losses):
            return None
        work.phase = "scoring the present text"
        present, _ = await compare(work, losses, places, {}, [])
        if not gate.saturated(list(present.scores.values())):
            return None
        return StepResult(
            accepted=False,
            score_before=1.0,
            gate=f"nothing was asked: 1.00 on {len(present.scores)} examples cannot be passed",
            notes=left_out(present.left_out),
            next=gate.harder(work.session)
            if list(places) != [HERE]
            else "The program's own loss is at its best. accept='always' installs without a check.",
        )

    async def _judged(
        self,
        work: Work,
        candidates: list[Candidate],
        losses: Sequence[str],
        batch: Sequence[int],
        where: tuple[list[int], str] | None,
    ) -> gate.Judged:
        accept = work.args["accept"]
        if where is not None:
            return await gate.judge(work, candidates, losses, batch, *where)
        only = Reason(Fate.NOT_COMPARED, "proposed only")
        reasons = {i: c.refused or only for i, c in enumerate(candidates)}
        standing = [i for i, c in enumerate(candidates) if not c.refused]
        if accept == "never" or not standing:
            why = "proposed only (accept='never')" if standing else reasons[0].words
            return gate.Judged(None, why, "", 0, 0.0, trial=Trial(reasons))
        reasons |= dict.fromkeys(standing, Reason(Fate.BEATEN, "another candidate was taken"))
        why = "accepted without a check (accept='always')"
        reasons[standing[0]] = Reason(Fate.ACCEPTED, why)
        return gate.Judged(standing[0], why, "", 0, 0.0, trial=Trial(reasons))


def _step_args(
    variables: Sequence[str] | None, accept: str, candidates: int, memory: int, strategy: str
) -> dict[str, object]:
    by = {} if strategy == "gradient" else {"strategy": strategy}
    return by | {
        "variables": list(variables) if variables else None,
        "accept": accept,
        "candidates": candidates,
        "memory": memory,
    }


def _backward_result(
    work: Work, learnt: Learnt, spared: Sequence[str], *, gated: bool
) -> BackwardResult:
    notes = [*work.args.get("notes", []), *learnt.notes, *spared]
    unusable = {place for _, place in learnt.evaluation.unusable} - {HERE}
    if unusable:
        notes.append(
            f"{len(unusable)} examples gave no usable reply and were left out: {named(unusable)}."
        )
    session, accept = work.session.id, "if_better" if gated else "always"
    known = show.is_known(work, "backward")
    gradients, left_out = show.gradients(learnt.gradients, known=known)
    return BackwardResult(
        examples=[f"e{p}" for p in learnt.places if p != HERE],
        gradients=gradients,
        mean_score=show.mean_score(learnt.evaluation, work.args["losses"], learnt.places),
        notes=[*notes, *left_out],
        next=f"Call step(session_id='{session}', accept='{accept}') to propose better texts."
        + ("" if gated else " With examples in the validation split, accept='if_better' proves it.")
        if learnt.gradients
        else "The losses found nothing to improve on these examples. Try others, or stop here.",
    )
