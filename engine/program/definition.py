"""What may be defined: checks of texts and names before they enter a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized

from ...schemas.errors import BadInput
from ...schemas.graph import Kind, Operation, Variable
from ...schemas.text import unstorable

MOST_NAMED = 10_000
"""Ids, or completions, in one call."""
MOST_INPUTS = 1_000
TOGETHER = "Put some of them together outside."
NAME_A_SPLIT = "Name a split, which means all of it."


def check_text(what: str, value: str, most: int, *, empty: bool = False) -> None:
    """Raises BadInput for a text that is empty, too long, or cannot be stored."""
    if not empty and not value.strip():
        raise BadInput(f"{what} is empty.", "Give a text.")
    if len(value) > most:
        raise BadInput(
            f"{what} has {len(value):,} characters; at most {most:,} are taken.", "Shorten it."
        )
    if unstorable(value):
        raise BadInput(
            f"{what} holds a NUL or half of a surrogate pair, which cannot be stored.",
            "Remove it.",
        )


def check_count(what: str, given: Sized, advice: str, most: int = MOST_NAMED) -> None:
    """Raises BadInput for a call that names more than `most` things; a text is one."""
    if len(given) > most and not isinstance(given, str):
        raise BadInput(
            f"There are {len(given):,} {what} in one call; at most {most:,} are taken.", advice
        )


def check_given(op: Operation, places: Sequence[int], given: bool) -> bool:
    """Whether what was `given` is the output of this one place. Raises BadInput for others."""
    if given and len(places) > 1 and "output" in op.spec:
        raise BadInput(
            f"One output was given, but the operation runs on {len(places)} examples.",
            "Leave output out: each example's run is then asked for, and resume takes the outputs.",
        )
    return given and len(places) == 1


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
    """The leaf as a choice of at most `shots` training examples. Raises BadInput."""
    if not 1 <= shots <= 64:
        raise BadInput(f"demonstrations must be between 1 and 64, not {shots}.", "4 is usual.")
    rule = f"demonstrations={shots}"
    return leaf.model_copy(update={"kind": Kind.DEMONSTRATIONS, "constraints": [rule]})
