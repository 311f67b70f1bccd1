"""The types of arguments, and those arguments that several tools take."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from ..checks import MOST_INPUTS, NAME_A_SPLIT, TOGETHER
from .rules import Characters, Count, Each

Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""What can be stored, and every client writes alike; what makes sense, a rule beside it says."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Role = Annotated[str, Characters(2000)]
Name = Annotated[str, Characters(200, empty=True)]
Constraints = Annotated[
    list[str] | None,
    Count("Put some of them together.", 100, where=""),
    Each("a constraint", Characters(2000)),
]
Session = Annotated[str, Field(description="From create_variable.")]
Examples = Annotated[
    list[str] | str | None,
    Count(NAME_A_SPLIT),
    Field(description="Example ids, or a split's name. Default: those in use."),
]
Memory = Annotated[Whole, Field(description="Show so many spent gradients again, 0 to 64.")]
Rows = Annotated[list[Any], WithJsonSchema({"type": "array", "items": {"type": "object"}})]
"""Checked by the engine, row by row and off the event loop: there may be many."""
Inputs = Annotated[
    dict[str, str], Count(TOGETHER, MOST_INPUTS), Field(description="Name -> variable id.")
]


def one_of(*names: str) -> WithJsonSchema:
    """Beside `str`: names that the engine checks, since installed packages may add some."""
    return WithJsonSchema({"enum": list(names), "type": "string"})
