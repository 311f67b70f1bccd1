"""sum: losses added up, with weights."""

from __future__ import annotations

import math

from ....schemas.errors import BadInput
from ....schemas.graph import Operation, Value
from ...prompts import text
from ...runs.context import RunContext
from .base import Inputs, Loss


class Sum(Loss):
    """The weighted mean of the scores, and all feedback; each loss is criticised by itself."""

    name = "sum"
    takes = frozenset({"weights"})
    backwards = "split"
    of_losses = True

    def check_spec(self, operation: Operation) -> None:
        """The weights must give a mean of the losses."""
        weights = operation.spec.get("weights", {})
        unknown = [name for name in weights if name not in operation.inputs]
        if unknown:
            raise BadInput(
                f"weights name {', '.join(map(repr, unknown[:5]))}, which is no input of the sum.",
                f"Its inputs are {', '.join(operation.inputs)}; those without a weight count 1.",
            )
        wrong = [name for name, w in weights.items() if not 0 <= w < math.inf]
        if wrong:
            raise BadInput(
                f"The weight of {wrong[0]!r} is {weights[wrong[0]]}; it must be 0 or more.",
                "To count against, word the loss the other way round.",
            )
        total = sum(float(weights.get(name, 1.0)) for name in operation.inputs)
        if not 0 < total < math.inf:
            raise BadInput(f"The weights add up to {total:g}.", "Give one of them more than 0.")

    def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Value:
        """Feedback under the inputs' names, and the mean of the scores there are."""
        self.check_spec(operation)  # some were taken before they were checked
        weights = operation.spec.get("weights", {})
        parts = [(n, v, float(weights.get(n, 1.0))) for n, v in inputs.values.items()]
        said = "\n\n".join(f"{name}: {value.text}" for name, value, _ in parts if value.text)
        # Scaled by a power of two, which is exact: tiny weights would lose digits in a product.
        _, scale = math.frexp(max(w for _, _, w in parts))
        graded = [(v.score, math.ldexp(w, -scale)) for _, v, w in parts if v.score is not None]
        if not graded:
            return Value(text=said)
        total = sum(w for _, w in graded)
        score = sum(s * w for s, w in graded) / total if total else None
        return Value(text=said, score=score)

    def describe(self, operation: Operation) -> str:
        """That losses are added up."""
        return text("step_format")


SUM = Sum()
