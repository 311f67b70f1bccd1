"""Which models answer a program: operations that name several are run with each of them.

A line-up takes one model for each operation. What is measured is measured with every line-up; what
is only computed (`forward`) is computed with the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.graph import Operation
from ...schemas.settings import FORWARD
from ..store import Program
from .forward import made_from
from .operations import kind_of


def lineups(program: Program) -> list[str]:
    """A name for each line-up of a program; [""] where no operation names several models.

    The first line-up has the first model of each operation, the second the second, and so on.
    """
    several = [o for o in program.operations.values() if len(o.models) > 1]
    count = max((len(o.models) for o in several), default=0)
    return [_name([o.model_in(i) for o in several]) for i in range(count)] or [""]


def _name(models: Sequence[str]) -> str:
    return models[0] if len({*models}) == 1 else " + ".join(models)


def worst_counts(program: Program) -> bool:
    """Whether an example's score is the lowest of the line-ups', and not their mean."""
    return any(o.spec.get("worst", False) for o in program.operations.values())


def asked(program: Program) -> list[str]:
    """The names of the models that run a program, each once."""
    forward = [o for o in program.operations.values() if kind_of(o).asks == FORWARD]
    return list(dict.fromkeys(m for o in forward for m in o.models)) or [FORWARD]


def calls_of(program: Program) -> list[tuple[Operation, int]]:
    """The operations that ask somebody when an example is measured, each with its line-up; once
    where no model before it varies."""
    count, varies = len(lineups(program)), _varying(program)
    return [
        (o, n)
        for o in program.operations.values()
        if kind_of(o).asks
        for n in range(count if o.output in varies else 1)
    ]


def _varying(program: Program) -> set[str]:
    """The outputs that may differ from line-up to line-up."""
    first = [o.output for o in program.operations.values() if len(o.models) > 1]
    return {*first, *made_from(program, first)}
