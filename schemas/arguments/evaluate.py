"""What `evaluate` takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..graph import Split
from ..results import EvaluateResult
from .base import Arguments
from .rules import Between
from .types import Id, Session, Whole


class EvaluateArguments(Arguments):
    """Run the program on a split: mean score with its error, and the worst failures."""

    tool = "evaluate"
    result = EvaluateResult

    session_id: Session
    loss: Annotated[Id | None, Field(description="Default: the only one.")] = None
    split: Split = "validation"
    votes: Annotated[
        Whole,
        Between(1, 64, "5 is usual."),
        Field(description="Runs of each example; the majority counts."),
    ] = 1
