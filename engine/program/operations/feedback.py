"""feedback: what the caller found or measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ....schemas.errors import BadInput
from ....schemas.graph import Operation, Value
from ...prompts import text
from ...runs.context import RunContext
from .base import Inputs, Loss
from .critique import FEEDBACK_REPLY, read_critique
from .supplied import asking, with_result

BESIDE = "context"
"""An input of this name is for whoever rewrites; whoever measures is not shown it again."""


class Feedback(Loss):
    """What the caller found: supplied with the call for one example, and asked for on others, by
    the same description."""

    name = "feedback"
    asks = "caller"
    by_words = True

    def spec(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that are kept, with what was found."""
        return super().spec(given) | {"function": given["feedback"]}

    def check_spec(self, operation: Operation) -> None:
        """Something must have been found, or be asked for by an instruction."""
        spec, score = operation.spec, operation.spec.get("score")
        if not spec.get("function") and (score is not None or not spec.get("instruction")):
            raise BadInput(
                "A feedback loss needs feedback: what you found.",
                "Give feedback='...'; or instruction alone, how it is measured, to be asked for "
                "it.",
            )
        if score is not None and not 0 <= score <= 1:
            raise BadInput(f"score must be between 0 and 1, not {score}.", "Scale it.")

    def was_given(self, operation: Operation) -> bool:
        """Where something was found already."""
        return "function" in operation.spec

    async def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Value:
        """What the caller says of these inputs."""
        spec = operation.spec
        how = spec.get("instruction") or text("feedback_before", found=spec["function"])
        told_once = {n: t for n, t in inputs.texts.items() if n != BESIDE}
        request = asking(replace(inputs, texts=told_once), text("feedback", function=how))
        if "function" in spec:
            found = {"feedback": spec["function"], "score": spec.get("score")}
            said = json.dumps(found, ensure_ascii=False)
            request = await with_result(work, operation, request, said)
        return await work.ask(request, lambda c: read_critique(c, FEEDBACK_REPLY, request.prompt))

    def describe(self, operation: Operation) -> str:
        """What was found on the first example, or how it is measured."""
        how = operation.spec.get("function") or operation.spec.get("instruction") or ""
        return text("step_function", function=str(how))


FEEDBACK = Feedback()
