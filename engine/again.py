"""A loss that is made again for a text that has changed is the one there is, computed again."""

from __future__ import annotations

from ..schemas.graph import Op, Operation, Session
from .core import Core
from .runs import Start
from .store import measuring_again

TOLD = ("function", "score")
"""What a measurement found, in the spec of its loss."""


class Again(Core):
    """Computing losses anew."""

    async def the_same(self, session: Session, op: Operation, name: str) -> Operation | None:
        """The loss that `op`, to be called `name`, is once more, since what it is about has
        changed; None where it is a new one."""
        alike = [o for o in await self.store.outdated(session.pk, op) if _is_same(op, o)]
        outputs = await self.store.variables(session.pk, [o.output for o in alike])
        return next((o for o in alike if name in ("", outputs[o.output].name)), None)

    async def once_more(
        self, session: Session, op: Operation, found: Operation, batch: list[int] | None
    ) -> Start:
        """What computes `found` at the texts as they are, with what `op` tells of a measurement."""
        told = "function" in op.spec
        spec = {k: v for k, v in found.spec.items() if k not in TOLD} | op.spec if told else None
        made = {"variable": found.output, "operation": found.id, "loss": found.output}
        note = f"{found.output} is this loss already; it was computed for the text as it is now."
        output = await self.one_variable(session, found.output)
        in_use = session.model_copy(update={"batch": batch or session.batch})
        given = told and len(await self.places(in_use, [output])) == 1
        args = {"targets": [found.output], "made": made, "notes": [note], "given": given}
        return Start(args, measuring_again(session.pk, found, spec, batch))


def _is_same(op: Operation, found: Operation) -> bool:
    """Of measurements, what was found does not count; how it was found does, where both say it."""
    if op.kind is not Op.FEEDBACK:
        return op.spec == found.spec
    how, before = op.spec.get("instruction"), found.spec.get("instruction")
    return how is None or before is None or how == before
