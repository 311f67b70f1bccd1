"""What `inspect` takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..results import InspectResult
from .base import Arguments
from .rules import FromZero
from .types import Id, Whole


class InspectArguments(Arguments):
    """Read sessions, graph, texts with versions and diffs, gradients, proposals, examples, calls,
    cost.
    """

    tool = "inspect"
    result = InspectResult

    session_id: Annotated[Id | None, Field(description="Leave out to list sessions.")] = None
    what: Annotated[
        Literal[
            "session",
            "graph",
            "variable",
            "gradients",
            "steps",
            "examples",
            "runs",
            "calls",
            "call",
            "report",
        ]
        | None,
        Field(description="Default: the session, or what id names."),
    ] = None
    id: Annotated[
        Id | None,
        Field(description="v3; v3@2 (its change); v3@1..4 (diff); c7; e5; g2; p4; op1."),
    ] = None
    offset: Annotated[Whole, FromZero(), Field(description="Where to go on.")] = 0
