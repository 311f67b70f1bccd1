"""The tool `forward`: adds an operation and computes it, or computes what is stale."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.arguments.forward import ForwardArguments
from ...schemas.graph import (
    NO_EXAMPLE,
    Operation,
    Session,
)
from ...schemas.results import ForwardResult, Result
from ..program.forward import Evaluation, evaluate, load
from ..program.missing_fields import complete, left_out
from ..program.operations import forward_kind
from ..runs.context import RunContext
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from ..store import recomputing
from ..views import results as show
from ..views.hints import needs_examples
from . import noted_scores
from .add_operation import addition, batch_of
from .base import Tool


class Forward(Tool[ForwardArguments, Result]):
    """Adds operations and computes them."""

    arguments = ForwardArguments

    async def run(self, caller: Caller, args: ForwardArguments) -> Result:
        """Add an operation and compute it, or, without one, recompute what is stale.

        Raises BadInput, NotFound, Conflict.
        """
        session = await self.parts.store.sessions.get(args.session_id, caller.owner)

        async def prepare(session: Session) -> Start | Result:
            batch = await batch_of(self.parts, session, args.examples)
            if args.operation is None:
                return await self._stale(session, batch)
            kind = forward_kind(args.operation)
            several = {"models": args.models or None, "worst": args.worst or None}
            spec = kind.spec(args.model_dump(include={"template", "function", "output"}) | several)
            op = Operation(
                id="",
                kind=args.operation,
                output="",
                inputs=args.inputs,
                system=args.system,
                spec={k: v for k, v in spec.items() if v is not None},
            )
            role = args.role or kind.role or args.operation
            return await addition(self.parts, session, op, role, args.name, batch)

        digest = digest_of("forward", args.asked())
        return await self.parts.runs.call(caller, session, "forward", digest, prepare)

    async def _stale(self, session: Session, batch: list[int] | None) -> Start | Result:
        """What recomputes what is stale, or the result where nothing is."""
        if batch is None and not await self.parts.store.graph.dirty(session.pk):
            await self.parts.reconcile_files(session)
            return ForwardResult(session_id=session.id, next=show.FRESH)
        return Start({}, recomputing(session.pk, batch))

    async def body(self, work: RunContext) -> Result:
        """What a run of it does; executed again from the top when the run is resumed."""
        session, targets = work.session, work.args["targets"]
        work.phase = "computing"
        program = await self.parts.store.graph.program(
            session.pk, targets, everything=False, chain=work.chain
        )
        examples = await self.parts.examples_in_use(session, list(program.variables.values()))
        waiting = [v for v in targets if program.variables[v].per_example and not examples]
        if waiting:
            targets, examples = [v for v in targets if v not in waiting], [NO_EXAMPLE]
            program = await self.parts.store.graph.program(session.pk, targets, everything=False)
        in_use = await self.parts.part_in_use(session, examples)
        full, lacking = await complete(self.parts.store, session.pk, targets, examples, program)
        examples = full or examples
        evaluation = await load(work, targets, examples, program=program)
        try:
            await evaluate(work, evaluation, examples)
        finally:
            await self._save(work, evaluation, examples)
        await noted_scores.note(self.parts, work, noted_scores.among(evaluation, targets))
        kept = [n for n in examples if n not in evaluation.left_out]
        result = show.forward_result(work, evaluation, targets, kept)
        result.notes = [*lacking, *left_out(evaluation.reasons), *result.notes]
        if in_use and any(program.variables[v].per_example for v in targets):
            result.in_use = in_use
        if waiting:
            result.next = f"{', '.join(waiting)} need training examples: call add_examples first."
            if "made" in work.args:
                result.next = needs_examples(session)
        return result

    async def _save(
        self, work: RunContext, evaluation: Evaluation, examples: Sequence[int]
    ) -> None:
        """Keep what was computed, also when not all of it could be."""
        clean = [
            v
            for v in evaluation.program.dirty
            if all(evaluation.has(v, example) for example in examples)
        ]
        if evaluation.computed or clean:
            await self.parts.store.values.save(
                work.session.pk, evaluation.computed, clean, work.fence, work.chain
            )
