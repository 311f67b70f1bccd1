"""What `optimize` takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..results import OptimizeResult
from .base import Arguments
from .rules import Between, Positive
from .types import Id, Ids, Memory, Number, Repeats, Session, Whole, one_of

Parents = Literal["newest", "best", "pareto"]
"""What a step rewrites: the text installed last, the best so far, or one that is best on some
example."""


class OptimizeArguments(Arguments):
    """Run the whole loop: minibatch, forward, loss, backward, step, gate on validation. Call it
    again, or resume, to go on.
    """

    tool = "optimize"
    result = OptimizeResult

    session_id: Session
    loss: Annotated[Id | None, Field(description="Default: the only one.")] = None
    variables: Annotated[Ids | None, Field(description="Parameters. Default: all.")] = None
    steps: Annotated[Whole, Between(1, 1000), Field(description="Most steps.")] = 10
    batch_size: Annotated[
        Whole | None, Between(1, 256), Field(description="Training examples a step.")
    ] = None
    candidates: Annotated[Whole | None, Between(1, 16), Field(description="Proposals a step.")] = (
        None
    )
    strategy: Annotated[
        Annotated[str, one_of("gradient", "reflect", "rewrite", "exact")] | None,
        Field(
            description="reflect: one call sees the examples and writes all proposals. "
            "rewrite: a baseline. exact: as in the paper."
        ),
    ] = None
    parents: Annotated[
        Parents | None,
        Field(description="What to rewrite; pareto: best on some example."),
    ] = None
    goal: Annotated[Number, Between(0, 1), Field(description="Stop at this validation score.")] = (
        1.0
    )
    patience: Annotated[
        Whole | None, Between(1, 1000), Field(description="Most steps without gain.")
    ] = None
    budget: Annotated[
        dict[str, Number] | None,
        Positive(("calls", "tokens", "cost", "seconds")),
        Field(description="Most calls, tokens, cost (dollars), seconds."),
    ] = {}
    memory: Annotated[Memory, Between(0, 64)] = 0
    together: Annotated[bool, Field(description="false: one parameter a step, in turn.")] = True
    seed: Whole = 0
    repeats: Repeats = 1
