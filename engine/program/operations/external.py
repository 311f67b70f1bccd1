"""external: a black box, which the caller runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....schemas.errors import BadInput
from ....schemas.graph import Operation, Value
from ...prompts import text
from ...runs.context import RunContext
from .base import Inputs, Primitive
from .supplied import asking, with_result


class External(Primitive):
    """Whatever the caller's `function` describes; its output is supplied with the call, or asked
    for."""

    name = "external"
    takes = frozenset({"function", "output"})
    asks = "caller"

    def spec(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A description is needed, and no template."""
        if not given["function"]:
            raise BadInput(
                "An external operation needs function: what it does, in words.",
                "Also give output, if you have run it already.",
            )
        if given["template"] is not None:
            raise BadInput("An external operation takes no template.", "Describe it in function.")
        return dict(given)

    def check_form(self, operation: Operation, most: int) -> list[str]:
        """There must be a description."""
        if not operation.spec.get("function"):
            raise BadInput("It has no function.", "Describe one.")
        return super().check_form(operation, most)

    async def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Value:
        """What the caller says came out."""
        request = asking(inputs, text("external", function=operation.spec.get("function", "")))
        said = operation.spec.get("output")
        if said is not None:
            request = await with_result(work, operation, request, said)
        return Value(text=await work.ask(request, lambda c: c.text))


EXTERNAL = External()
