"""What `step` takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..errors import BadInput
from ..results import StepResult
from .base import Arguments
from .rules import LATER, Between
from .types import Ids, Memory, Repeats, Session, Whole, one_of


class StepArguments(Arguments):
    """Rewrite parameters from their gradients. The gradients are spent; every version is kept and
    revert undoes it.
    """

    tool = "step"
    result = StepResult

    session_id: Session
    variables: Annotated[
        Ids | None, Field(description="Parameters. Default: all with gradients.")
    ] = None
    accept: Annotated[
        Literal["always", "if_better", "never"],
        Field(
            description="if_better: install only what is better beyond noise on validation "
            "examples (a program without examples: by the loss). never: propose only."
        ),
    ] = "always"
    candidates: Annotated[
        Whole, Between(1, 16, "3 is usual."), Field(description="Proposals, 1 to 16.")
    ] = 1
    memory: Annotated[Memory, Between(0, 64, "0 is usual.")] = 0
    strategy: Annotated[
        Annotated[str, one_of("gradient", "reflect")],
        LATER,
        Field(description="reflect: without backward."),
    ] = "gradient"
    repeats: Repeats = 1

    def check_together(self) -> None:
        """Raises BadInput for repeats of what is not measured."""
        if self.repeats > 1 and self.accept != "if_better":
            raise BadInput(
                f"With accept='{self.accept}' nothing is measured that could be repeated.",
                "Use accept='if_better', or leave repeats out.",
            )
