"""How a text is used: what stands beside it where it is judged, and whether a model reads it.

Whoever rewrites the text has to know a task, a policy, a specification, however long it is. Right
answers stay unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.graph import Gradient, Kind, Variable
from ..metrics import ANSWERS
from ..runs.context import RunContext
from ..store import Program
from .forward import made_from
from .operations import find, kind_of


def judged_with(program: Program, parameter: Variable) -> list[Variable]:
    """The constants that losses in words read beside what is made with `parameter`: the task or
    policy that a rewrite must know."""
    made = {parameter.id, *made_from(program, [parameter.id])}
    found = [
        program.variables[source]
        for operation in program.operations.values()
        if find(operation.kind).by_words and not made.isdisjoint(operation.sources)
        for name, source in operation.inputs.items()
        if name not in ANSWERS
    ]
    return list({v.id: v for v in found if _is_told(v)}.values())


def read_with(program: Program, parameter: Variable) -> list[Variable]:
    """The constants that a model is given in the calls in which it is given `parameter`."""
    made_by = {o.output: o for o in program.operations.values()}

    def leaves(source: str) -> set[str]:
        """What a text was put together from by code; itself, if it was not."""
        maker = made_by.get(source)
        if maker is None or kind_of(maker).asks is not None:
            return {source}
        return {leaf for one in maker.sources for leaf in leaves(one)}

    found: dict[str, Variable] = {}
    for operation in program.operations.values():
        given = {leaf for source in operation.sources for leaf in leaves(source)}
        asks = not operation.is_loss and kind_of(operation).asks is not None
        if asks and parameter.id in given:
            found |= {v: program.variables[v] for v in program.variables if v in given}
    return [v for v in found.values() if _is_told(v)]


def improved_with(program: Program, parameter: Variable) -> list[Variable]:
    """The other texts of the program that can be rewritten."""
    parameters = (v for v in program.variables.values() if v.kind is Kind.PARAMETER)
    return [v for v in parameters if v.id != parameter.id]


async def behind(work: RunContext, gradients: Sequence[Gradient]) -> Program:
    """The program that leads to the losses behind `gradients`."""
    losses = list(dict.fromkeys(loss for g in gradients for loss in g.losses))
    return await work.store.graph.program(
        work.session.pk, losses, everything=True, chain=work.chain
    )


def is_used_as_it_stands(program: Program, parameter: Variable) -> bool:
    """Whether a text is the thing itself, code or a plan, and no instructions for a model: losses
    and functions alone read it."""
    uses = [o for o in program.operations.values() if parameter.id in o.sources]
    return bool(uses) and all(o.is_loss or kind_of(o).asks is None for o in uses)


def _is_told(v: Variable) -> bool:
    return v.kind is Kind.CONSTANT and not v.reference and bool((v.value or "").strip())
