"""The arguments that several tools take, as a model sees them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""What can be stored, and every client writes alike; the engine says what makes sense."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Session = Annotated[str, Field(description="From create_variable.")]
Examples = Annotated[
    list[str] | str | None,
    Field(description="Example ids, or a split's name. Default: those in use."),
]
Memory = Annotated[Whole, Field(description="Show so many spent gradients again, 0 to 64.")]
Rows = Annotated[list[Any], WithJsonSchema({"type": "array", "items": {"type": "object"}})]
"""Checked by the engine, row by row and off the event loop: there may be many."""
Inputs = Annotated[dict[str, str], Field(description="Name -> variable id.")]
