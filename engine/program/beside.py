"""What stands beside a text where it is judged: a task, a policy, a specification.

Whoever rewrites the text has to know it, however long it is. Right answers stay unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.graph import Gradient, Kind, Variable
from ..metrics import ANSWERS
from ..runs.context import RunContext
from .forward import made_from
from .operations import find


async def constants(
    work: RunContext, parameter: Variable, gradients: Sequence[Gradient]
) -> list[Variable]:
    """The constants that the losses behind `gradients` read beside what `parameter` makes."""
    losses = list(dict.fromkeys(loss for g in gradients for loss in g.losses))
    program = await work.store.graph.program(
        work.session.pk, losses, everything=True, chain=work.chain
    )
    made = {parameter.id, *made_from(program, [parameter.id])}
    found = [
        program.variables[source]
        for operation in program.operations.values()
        if find(operation.kind).by_words and not made.isdisjoint(operation.sources)
        for name, source in operation.inputs.items()
        if name not in ANSWERS
    ]
    return list({v.id: v for v in found if _is_told(v)}.values())


def _is_told(v: Variable) -> bool:
    return v.kind is Kind.CONSTANT and not v.reference and bool((v.value or "").strip())
