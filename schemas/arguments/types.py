"""The types of arguments, and those arguments that several tools take."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from ..checks import MOST_INPUTS, MOST_MODELS, NAME_A_SPLIT, TOGETHER
from .rules import LATER, Between, Characters, Count, Each
from .shapes import Shape

Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""What can be stored, and every client writes alike; what makes sense, a rule beside it says."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Shape.TEXT]
AnyText = Annotated[str, Shape.ANY_TEXT]
Id = Annotated[str, Shape.ID]
Ids = Annotated[list[str], Shape.IDS]
Name = Annotated[str, Shape.NAME]
"""A name that the caller, or the operator, gave to something."""
Lines = Annotated[list[str], Shape.LINES]
Role = Annotated[Text, Characters(2000)]
DisplayName = Annotated[Text, Characters(200, empty=True)]
Constraints = Annotated[
    Lines | None,
    Count("Put some of them together.", 100, where=""),
    Each("a constraint", Characters(2000)),
]
Session = Id
"""Of a session; what makes one (create_variable, optimize_prompt) says it."""
Examples = Annotated[
    list[str] | str | None,
    Shape.EXAMPLES,
    Count(NAME_A_SPLIT),
    Field(description="Example ids, or a split's name. Default: those in use."),
]
Models = Annotated[Lines | None, LATER, Count("Name fewer.", MOST_MODELS, where="")]
Memory = Annotated[Whole, Field(description="Show so many spent gradients again, 0 to 64.")]
Repeats = Annotated[
    Whole,
    LATER,
    Between(1, 64, "3 is usual."),
    Field(description="Runs of each example; the mean counts."),
]
Rows = Annotated[
    list[Any], Shape.ROWS, WithJsonSchema({"type": "array", "items": {"type": "object"}})
]
"""Checked by the engine, row by row and off the event loop: there may be many."""
Inputs = Annotated[
    dict[str, str],
    Shape.INPUTS,
    Count(TOGETHER, MOST_INPUTS),
    Field(description="Name -> variable id."),
]


def one_of(*names: str) -> WithJsonSchema:
    """Beside `str`: names that the engine checks, since installed packages may add some."""
    return WithJsonSchema({"enum": list(names), "type": "string"})
