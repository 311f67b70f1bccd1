"""What `resume` takes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ..results import Result
from .base import Arguments
from .rules import Count
from .shapes import Shape
from .types import Session


class ResumeArguments(Arguments):
    """Go on with the session's run: hand in pending completions (some or all), wait for a running
    one, retry a failed one, or cancel it.
    """

    tool = "resume"
    result = Result

    session_id: Session
    completions: Annotated[
        dict[str, Any] | None,
        Shape.COMPLETIONS,
        Count("Hand in some first, then the others."),
        Field(description="Pending id -> your answer (text, or an object where JSON is asked)."),
    ] = {}
    cancel: Annotated[bool, Field(description="Drop the run; what was answered is kept.")] = False
    brief: Annotated[
        bool,
        Field(description="Name, not repeat, what you have read; false if others answer for you."),
    ] = False
