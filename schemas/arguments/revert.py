"""What `revert` takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..errors import BadInput
from ..results import VariableResult
from .base import Arguments
from .types import Id, Ids, Session, Whole


class RevertArguments(Arguments):
    """Make an earlier version, or a proposal, the newest version of a text; or remove mistakes."""

    tool = "revert"
    result = VariableResult

    session_id: Session
    variable: Id | None = None
    version: Annotated[
        Whole | Id | None,
        Field(
            description="Version, or proposal (p4) that was refused. Leave out to re-read the file."
        ),
    ] = None
    remove: Annotated[
        Ids | None,
        Field(description="Take out v7, op3, e12 and all made from them."),
    ] = None
    confirm: Annotated[bool, Field(description="false: only say what would go.")] = False

    def check_together(self) -> None:
        """Raises BadInput unless it is either a text that is changed, or things taken out."""
        removing = self.remove is not None and self.variable is None and self.version is None
        if not removing and (self.variable is None or self.remove is not None):
            raise BadInput(
                "Give either variable, to change its text, or remove.",
                "revert(session_id, variable='v1', version=2), or remove=['v7'].",
            )
