"""The tool `backward`: feedback on every parameter upstream of the losses."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.arguments.backward import BackwardArguments
from ...schemas.errors import Conflict
from ...schemas.graph import NO_EXAMPLE, Kind, Session
from ...schemas.results import (
    BackwardResult,
    Result,
)
from ..optimizer.cost_estimate import asking
from ..optimizer.gradients import BackwardPass, backward_pass
from ..program.missing_fields import named
from ..runs.context import RunContext
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from ..views import results as show
from .base import Tool


class Backward(Tool[BackwardArguments, Result]):
    """Writes gradients."""

    arguments = BackwardArguments

    async def run(self, caller: Caller, args: BackwardArguments) -> Result:
        """Textual gradients from losses to parameters. Raises BadInput, NotFound, Conflict."""
        session = await self.parts.store.sessions.get(args.session_id, caller.owner)

        async def prepare(session: Session) -> Start:
            named = await self.parts.losses(session, args.losses)
            examples = (
                await self.parts.named_examples(session, args.examples)
                if args.examples is not None
                else await self.parts.examples_in_use(session, named)
            )
            if not any(v.per_example for v in named):
                examples = [NO_EXAMPLE]
            if not examples:
                raise Conflict(
                    "There are no training examples to learn from.",
                    f"Call add_examples(session_id='{args.session_id}', split='train', ...).",
                )
            notes = await self._held_out(session, examples)
            ids = [v.id for v in named]
            return Start({"losses": ids, "places": examples, "exact": args.exact, "notes": notes})

        digest = digest_of("backward", args.asked())
        return await self.parts.runs.call(caller, session, "backward", digest, prepare)

    async def _held_out(self, session: Session, examples: Sequence[int]) -> list[str]:
        found = await self.parts.store.examples.get(
            session.pk, [n for n in examples if n != NO_EXAMPLE]
        )
        splits = {e.split for e in found.values()} - {"train"}
        if not splits:
            return []
        return [
            f"Some of these examples are from {' and '.join(sorted(splits))}: feedback from them "
            "makes that split's scores untrustworthy."
        ]

    async def body(self, work: RunContext) -> Result:
        """What a run of it does; executed again from the top when the run is resumed."""
        args = work.args
        learnt = await backward_pass(
            work, args["losses"], args["places"], exact=bool(args.get("exact"))
        )
        blamed = {g.variable for g in learnt.gradients}
        spared = [
            f"{v.label}: nothing to change was found on these examples."
            for v in learnt.evaluation.program.variables.values()
            if v.kind is Kind.PARAMETER and v.requires_grad and v.id not in blamed
        ]
        sizes = await self.parts.store.examples.split_sizes(work.session.pk, work.chain)
        gated = not sizes or bool(sizes.get("validation"))
        result = _backward_result(work, learnt, spared, gated=gated)
        if learnt.gradients and result.mean_score is not None and NO_EXAMPLE not in args["places"]:
            examples = sizes.get("validation", 0)
            result.next += _price(learnt, len(blamed), examples, is_read=await self._is_read(work))
        if part := await self.parts.part_in_use(work.session, args["places"]):
            result.in_use = part
            result.next = f"{result.next} In use: {part}."
        return result

    async def _is_read(self, work: RunContext) -> bool:
        """Whether the present texts have been measured on validation."""
        parameters = await self.parts.store.graph.parameters(work.session.pk)
        now = {v.id: v.version for v in parameters}
        measured = self.parts.store.evaluations.measured
        losses = work.args["losses"]
        return any([await measured(work.session.pk, v, "validation", now) for v in losses])


def _price(learnt: BackwardPass, parameters: int, validation: int, *, is_read: bool) -> str:
    """What a gated step with two candidates costs from here, and how it goes; `is_read` says that
    the present texts have been measured on validation."""
    if not validation:
        return ""
    batch = len(learnt.examples)
    runs = 2 * batch + (1 if is_read else 2) * validation
    calls = asking(learnt.evaluation.program) * runs + 2 * parameters
    return (
        f" With candidates=2 it takes at most {calls} calls: both on these {batch} examples, then "
        f"the better one, beside the present texts, on {validation} of validation."
    )


def _backward_result(
    work: RunContext, learnt: BackwardPass, spared: Sequence[str], *, gated: bool
) -> BackwardResult:
    notes = [*work.args.get("notes", []), *learnt.notes, *spared]
    unusable = {example for _, example in learnt.evaluation.unusable} - {NO_EXAMPLE}
    if unusable:
        notes.append(
            f"{len(unusable)} examples gave no usable reply and were left out: {named(unusable)}."
        )
    session, accept = work.session.id, "if_better" if gated else "always"
    known = show.is_known(work, "backward")
    gradients, left_out = show.gradients(learnt.gradients, known=known)
    return BackwardResult(
        examples=[f"e{n}" for n in learnt.examples if n != NO_EXAMPLE],
        gradients=gradients,
        mean_score=show.mean_score(learnt.evaluation, work.args["losses"], learnt.examples),
        notes=[*notes, *left_out],
        next=f"Call step(session_id='{session}', accept='{accept}') to propose better texts."
        + ("" if gated else " With examples in the validation split, accept='if_better' proves it.")
        if learnt.gradients
        else "The losses found nothing to improve on these examples. Try others, or stop here.",
    )
