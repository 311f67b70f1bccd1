"""The operations, by name: what a graph's outputs are made by.

Each stands in a file of its own, with all that is to be said of it (see `Primitive`). To add one is
to write that file and a line here. Only names are needed here: nothing is loaded before its use.
"""

from __future__ import annotations

from typing import Any

from ...schemas.graph import Value
from .table import Table

_HERE = "engine.program.operations"
_FORWARD: dict[str, Any] = {
    "llm": f"{_HERE}.llm:LLM",
    "format": f"{_HERE}.format:FORMAT",
    "external": f"{_HERE}.external:EXTERNAL",
}
_LOSSES: dict[str, Any] = {
    "judge": f"{_HERE}.judge:JUDGE",
    "metric": f"{_HERE}.metric:METRIC",
    "evaluator": f"{_HERE}.evaluator:EVALUATOR",
    "feedback": f"{_HERE}.feedback:FEEDBACK",
    "sum": f"{_HERE}.sum:SUM",
}
_MAKES: dict[str, tuple[type, ...]] = {
    "compute": (Value,),
    **dict.fromkeys(("spec", "shown"), (dict,)),
    **dict.fromkeys(("describe", "ballot"), (str,)),
    **dict.fromkeys(("check", "check_form"), (list,)),
}
LOSSES: Table[Any] = Table("loss", "losses", _LOSSES, f"{_HERE}.base:Loss", _MAKES, _FORWARD)
"""What `compute_loss` makes: feedback, a score from 0 to 1, or both."""
FORWARD: Table[Any] = Table(
    "operation", "operations", _FORWARD, f"{_HERE}.base:Primitive", _MAKES, LOSSES
)
"""What `forward` makes."""


def kinds() -> list[str]:
    """The names of all operations, losses last."""
    return [*FORWARD, *LOSSES]


def is_loss(kind: str) -> bool:
    """Whether a kind is one of the losses. For ours, no package is looked at."""
    return kind in LOSSES.own or (kind not in FORWARD.own and kind in LOSSES)


def primitive(kind: str) -> Any:
    """The `Primitive` of a kind. Raises KeyError for one that there is not, ExtensionFailed."""
    return LOSSES[kind] if is_loss(kind) else FORWARD[kind]
