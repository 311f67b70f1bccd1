"""feedback: what the caller found or measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ....schemas.errors import BadInput
from ....schemas.graph import Operation, Value
from ...prompts import text
from ...runs.context import RunContext
from .base import Inputs, Loss
from .critique import FEEDBACK_REPLY, read_critique
from .supplied import asking, told


class Feedback(Loss):
    """Told at once for one example, and asked for on others, by what was found on the first."""

    name = "feedback"
    asks = "caller"

    def spec(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """With what was found."""
        return super().spec(given) | {"function": given["feedback"]}

    def check_spec(self, operation: Operation) -> None:
        """Something must have been found."""
        if not operation.spec.get("function"):
            raise BadInput(
                "A feedback loss needs feedback: what you found.", "Give feedback='...'."
            )
        score = operation.spec.get("score")
        if score is not None and not 0 <= score <= 1:
            raise BadInput(f"score must be between 0 and 1, not {score}.", "Scale it.")

    def was_given(self, operation: Operation) -> bool:
        """Always."""
        return True

    async def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Value:
        """What the caller says of these inputs."""
        spec = operation.spec
        found = {"feedback": spec["function"], "score": spec.get("score")}
        how = spec.get("instruction") or text("feedback_before", found=spec["function"])
        request = asking(inputs, text("feedback", function=how))
        said = json.dumps(found, ensure_ascii=False)
        request = await told(work, operation, request, said)
        return await work.ask(request, lambda c: read_critique(c, FEEDBACK_REPLY, request.prompt))

    def describe(self, operation: Operation) -> str:
        """What was found on the first example."""
        return text("step_function", function=str(operation.spec.get("function", "")))


FEEDBACK = Feedback()
