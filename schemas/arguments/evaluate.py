"""What `evaluate` takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..errors import BadInput
from ..graph import Split
from ..results import EvaluateResult
from .base import Arguments
from .rules import Between
from .types import Id, Repeats, Session, Whole


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
    repeats: Repeats = 1

    def check_together(self) -> None:
        """Raises BadInput for two ways at once to make one score of several runs."""
        if self.votes > 1 and self.repeats > 1:
            raise BadInput(
                "votes scores the majority of an example's runs, repeats takes their mean.",
                "Use one of them.",
            )
