"""The operations: one file each, with all that is to be said of one kind.

`engine/extensions/operations.py` is their table.
"""

from __future__ import annotations

from typing import cast

from ....schemas.errors import BadInput
from ....schemas.graph import Operation
from ....schemas.near import did_you_mean
from ...extensions.operations import FORWARD, LOSSES, primitive
from .base import Inputs, Loss, Making, Primitive, check_room, failure_in

__all__ = [
    "Inputs",
    "Loss",
    "Making",
    "Primitive",
    "check_room",
    "failure_in",
    "find",
    "forward_kind",
    "kind_of",
    "loss_kind",
]


def find(kind: str) -> Primitive:
    """The kind of an operation that was made. Raises BadInput where its package is gone."""
    try:
        return cast(Primitive, primitive(kind))
    except KeyError:
        raise BadInput(
            f"There is no operation {kind!r} here: a package that is not installed brought it.",
            "Install that package again, or take out what it made.",
        ) from None


def kind_of(operation: Operation) -> Primitive:
    """The kind of `operation`. Raises BadInput where its package is gone, with the way out."""
    try:
        return find(operation.kind)
    except BadInput as gone:
        remove = f"revert(session_id, remove=['{operation.output}'])"
        raise BadInput(gone.message, f"{gone.next} That is {remove}.") from None


def forward_kind(name: str) -> Primitive:
    """The kind of a forward operation. Raises BadInput with the nearest name."""
    if name not in FORWARD:
        raise BadInput(
            f"There is no operation {name!r}.{did_you_mean(name, list(FORWARD), 0.6)}",
            f"Use one of {', '.join(FORWARD)}.",
        )
    return cast(Primitive, FORWARD[name])


def loss_kind(name: str) -> Loss:
    """The kind of a loss. Raises BadInput with the nearest name."""
    if name not in LOSSES:
        raise BadInput(
            f"There is no loss of kind {name!r}.{did_you_mean(name, list(LOSSES), 0.6)}",
            f"Use one of {', '.join(LOSSES)}.",
        )
    return cast(Loss, LOSSES[name])
