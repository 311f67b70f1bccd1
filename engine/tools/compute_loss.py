"""The tool `compute_loss`: adds a loss and computes it."""

from __future__ import annotations

import asyncio

from ...schemas.arguments.compute_loss import ComputeLossArguments
from ...schemas.graph import (
    Operation,
    Session,
)
from ...schemas.results import Result
from ..program.operations import find, loss_kind
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from ..store import measuring_again
from .add_operation import addition, batch_of
from .base import Tool

ASIDE = {"kind", "inputs", "name", "examples"}
SPEC = set(ComputeLossArguments.model_fields) - ASIDE - {"session_id"}
"""What the kind of loss decides on: whether it is kept, and how."""
TOLD = ("function", "score")
"""What a measurement found, in the spec of its loss."""


class ComputeLoss(Tool[ComputeLossArguments, Result]):
    """Adds losses; they are computed as `forward` computes."""

    arguments = ComputeLossArguments

    async def run(self, caller: Caller, args: ComputeLossArguments) -> Result:
        """Add a loss and compute it. Raises BadInput, NotFound, Conflict."""
        session = await self.parts.store.sessions.get(args.session_id, caller.owner)
        spec = loss_kind(args.kind).spec(args.model_dump(include=SPEC))

        async def prepare(session: Session) -> Start:
            batch = await batch_of(self.parts, session, args.examples)
            told = {k: v for k, v in spec.items() if v is not None}
            if args.evaluator and self.parts.scripts.is_script(args.evaluator):
                resolved = await asyncio.to_thread(self.parts.scripts.resolved, args.evaluator)
                told["evaluator"] = resolved
            op = Operation(
                id="", kind=args.kind, is_loss=True, output="", inputs=args.inputs, spec=told
            )
            if (same := await self.the_same(session, op, args.name)) is not None:
                return await self.once_more(session, op, same, batch)
            return await addition(self.parts, session, op, "loss", args.name, batch)

        digest = digest_of("compute_loss", spec | args.model_dump(include=ASIDE))
        return await self.parts.runs.call(caller, session, "compute_loss", digest, prepare)

    async def the_same(self, session: Session, op: Operation, name: str) -> Operation | None:
        """The loss that `op`, to be called `name`, is once more, since what it is about has
        changed; None where it is a new one."""
        found = await self.parts.store.again.alike(session.pk, op)
        alike = [o for o, stale in found if _is_same(op, o) and (stale or _measures(o))]
        outputs = await self.parts.store.graph.variables(session.pk, [o.output for o in alike])
        return next((o for o in alike if name in ("", outputs[o.output].name)), None)

    async def once_more(
        self, session: Session, op: Operation, found: Operation, batch: list[int] | None
    ) -> Start:
        """What computes `found` at the texts as they are, with what `op` tells of a measurement."""
        told = "function" in op.spec
        spec = {k: v for k, v in found.spec.items() if k not in TOLD} | op.spec if told else None
        made = {"variable": found.output, "operation": found.id, "loss": found.output}
        what = "what you told is recorded" if told else "it was computed"
        note = f"{found.output} is this loss already; {what} for the text as it is now."
        output = await self.parts.one_variable(session, found.output)
        in_use = session.model_copy(update={"batch": batch or session.batch})
        given = told and len(await self.parts.examples_in_use(in_use, [output])) == 1
        args = {"targets": [found.output], "made": made, "notes": [note], "given": given}
        return Start(args, measuring_again(session.pk, found, spec, batch))


def _measures(found: Operation) -> bool:
    """Whether it was said how it is measured, so that what is told later is told of the same."""
    return find(found.kind).asks == "caller" and bool(found.spec.get("instruction"))


def _is_same(op: Operation, found: Operation) -> bool:
    """Of measurements, what was found does not count; how it was found does, where both say it."""
    if find(op.kind).asks != "caller":
        return op.spec == found.spec
    how, before = op.spec.get("instruction"), found.spec.get("instruction")
    return how is None or before is None or how == before
