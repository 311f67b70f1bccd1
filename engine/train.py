"""The tools that learn: forward's work, backward and step. A body is re-run to be continued."""

from __future__ import annotations

from collections.abc import Sequence

from ..schemas.errors import BadInput, Conflict, TextGradError
from ..schemas.graph import HERE, Fate, Kind, Session, Variable, number
from ..schemas.results import (
    BackwardResult,
    EvaluateResult,
    ForwardResult,
    OptimizeResult,
    Result,
    StepResult,
)
from . import gate, show
from .complete import complete, left_out, named
from .evaluate import Evaluating
from .forward import Evaluation, evaluate, load
from .guard import Guard
from .learn import Learnt, choose, gate_places, gradients_on, record_of
from .ledger import Work
from .optimize import Optimizing
from .runs import Body, Caller, digest_of
from .step import Candidate, Reason, propose, usable_gradients
from .store import StepRecord

STEPPED = (Kind.PARAMETER, Kind.DEMONSTRATIONS)
ACCEPT = ("always", "if_better", "never")
MEMORY = 64
"""Most spent gradients that a step can show again."""


class Training(Evaluating, Optimizing):
    """Tools whose work needs completions, as bodies of runs."""

    def register(self) -> None:
        """Tell the runs which body continues which tool."""
        self.runs.bodies |= {
            tool: (kind, self._with_files(body))
            for tool, kind, body in (
                ("forward", ForwardResult, self._forward_body),
                ("compute_loss", ForwardResult, self._forward_body),
                ("backward", BackwardResult, self._backward_body),
                ("step", StepResult, self._step_body),
                ("evaluate", EvaluateResult, self._evaluate_body),
                ("optimize", OptimizeResult, self._optimize_body),
            )
        }

    def _with_files(self, body: Body) -> Body:
        """`body` between two looks at the files that parameters are bound to.

        The first refuses a file that was changed outside; the second writes what was accepted.
        """

        async def run(work: Work) -> Result:
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

    async def _forward_body(self, work: Work) -> Result:
        session, targets = work.session, work.args["targets"]
        work.phase = "computing"
        program = await self.store.program(session.pk, targets, everything=False, chain=work.chain)
        places = await self.places(session, list(program.variables.values()))
        waiting = [v for v in targets if program.variables[v].per_example and not places]
        if waiting:
            targets, places = [v for v in targets if v not in waiting], [HERE]
            program = await self.store.program(session.pk, targets, everything=False)
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
        if waiting:
            result.next = f"{', '.join(waiting)} need training examples: call add_examples first."
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
        held_out = await self._held_out(session, places)
        args: dict[str, object] = {
            "losses": [v.id for v in named],
            "places": places,
            "exact": exact,
            "notes": held_out,
        }
        return await self.run(caller, session, "backward", args)

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
        return _backward_result(work, learnt, spared, gated=gated)

    async def step(
        self,
        caller: Caller,
        *,
        session_id: str,
        variables: Sequence[str] | None = None,
        accept: str = "always",
        candidates: int = 1,
        memory: int = 0,
    ) -> Result:
        """Propose and install better parameters. Raises BadInput, NotFound, Conflict.

        `memory` is the number of spent gradients on each parameter that are shown again.
        """
        session = await self.store.session(session_id, caller.owner)
        if accept not in ACCEPT:
            raise BadInput(f"accept cannot be {accept!r}.", f"Use one of {', '.join(ACCEPT)}.")
        if not 1 <= candidates <= 16:
            raise BadInput(f"candidates must be between 1 and 16, not {candidates}.", "3 is usual.")
        if not 0 <= memory <= MEMORY:
            raise BadInput(f"memory must be between 0 and {MEMORY}, not {memory}.", "0 is usual.")
        args = _step_args(variables, accept, candidates, memory)
        digest = digest_of("step", args)
        active = await self.runs.admit(session, digest)
        if active is not None:
            return await self.runs.go_on(caller, session, active)
        parameters = await self._parameters(session, variables)
        bound = args | {"bound": {p.id: p.version for p in parameters}}
        return await self.runs.start(caller, session, "step", bound, digest)

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
        if "recorded" in work.state:  # killed between the step and the end of its run
            recorded = StepRecord.model_validate(work.state["recorded"])
            return show.step_result(work.session, recorded, [])
        bound: dict[str, int] = work.args["bound"]
        parameters = await self._parameters(work.session, list(bound))
        for p in parameters:
            if p.version != bound[p.id]:
                raise Conflict(
                    f"{p.label} was changed while this step was under way.",
                    "Cancel it with resume(cancel=true), then run backward and step again.",
                )
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
        return show.step_result(work.session, stored, [*notes, *judged.notes])

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
            return gate.Judged(None, why, "", 0, 0.0, reasons=reasons)
        reasons |= dict.fromkeys(standing, Reason(Fate.BEATEN, "another candidate was taken"))
        why = "accepted without a check (accept='always')"
        reasons[standing[0]] = Reason(Fate.ACCEPTED, why)
        return gate.Judged(standing[0], why, "", 0, 0.0, reasons=reasons)


def _step_args(
    variables: Sequence[str] | None, accept: str, candidates: int, memory: int
) -> dict[str, object]:
    return {
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
    gradients, left_out = show.gradients(learnt.gradients)
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
