"""What `backward` takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..results import BackwardResult
from .base import Arguments
from .types import Examples, Ids, Session


class BackwardArguments(Arguments):
    """Write feedback (textual gradients) on every parameter upstream of the losses. Recomputes
    what is stale first; replaces gradients that no step has used.
    """

    tool = "backward"
    result = BackwardResult

    session_id: Session
    losses: Annotated[Ids | None, Field(description="Ids of losses. Default: the only one.")] = None
    examples: Examples = None
    exact: Annotated[
        bool, Field(description="One call for each edge and example, as in the paper.")
    ] = False
