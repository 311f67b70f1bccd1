"""What may be defined: checks of operations and texts before they enter a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...schemas.errors import BadInput
from ...schemas.graph import Kind, Operation, Variable


def check_given(op: Operation, examples: Sequence[int], given: bool) -> bool:
    """Whether the output that was `given` with the call is that of the only example there is.

    Raises BadInput where one output was given and there are several examples.
    """
    if given and len(examples) > 1 and "output" in op.spec:
        raise BadInput(
            f"One output was given, but the operation runs on {len(examples)} examples.",
            "Leave output out: each example's run is then asked for, and resume takes the outputs.",
        )
    return given and len(examples) == 1


def output_of(op: Operation, sources: Mapping[str, Variable], role: str, name: str) -> Variable:
    """The variable that an operation will make."""
    return Variable(
        id="",
        kind=Kind.OUTPUT,
        role=role,
        name=name,
        per_example=any(v.per_example for v in sources.values()),
        reference=not op.is_loss and any(v.reference for v in sources.values()),
    )


def demonstrations_leaf(leaf: Variable, shots: int) -> Variable:
    """`leaf` as a demonstrations variable: its text is a choice of at most `shots` training
    examples."""
    rule = f"demonstrations={shots}"
    return leaf.model_copy(update={"kind": Kind.DEMONSTRATIONS, "constraints": [rule]})
