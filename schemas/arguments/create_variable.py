"""What `create_variable` takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..errors import BadInput
from ..results import VariableResult
from .base import Arguments
from .rules import Between, Characters
from .types import AnyText, Constraints, DisplayName, Id, Name, Role, Whole


class CreateVariableArguments(Arguments):
    """Add a text to a session's graph: a parameter to improve, a constant, or an example field.
    Without session_id it starts a session (kept until deleted; the id is the key to it).
    """

    tool = "create_variable"
    result = VariableResult

    role: Annotated[
        Role,
        Field(description="What the text is for, in 2,000 characters; feedback is written by it."),
    ]
    value: Annotated[AnyText | None, Field(description="The text (or an image data URL).")] = None
    session_id: Annotated[
        Id | None, Field(description="Leave out to start a session; the result has its id.")
    ] = None
    requires_grad: Annotated[
        bool, Field(description="true: a parameter, to be improved. false: a constant.")
    ] = True
    constraints: Annotated[
        Constraints,
        Field(
            description="Rules for new versions: free words, or checked by code: max_chars=N, "
            "max_words=N, max_tokens=N, contains=TEXT, keep=TEXT, max_change=0.3, "
            "parses=json|python, placeholders=keep, examples=no_copy."
        ),
    ] = []
    example_field: Annotated[
        Name | None,
        Characters(200),
        Field(description="Instead of value: the field of the examples that feeds it."),
    ] = None
    reference: Annotated[bool, Field(description="A right answer: only losses may read it.")] = (
        False
    )
    demonstrations: Annotated[
        Whole | None,
        Between(1, 64, "4 is usual."),
        Field(description="Instead of value: so many training examples, chosen by step."),
    ] = None
    name: DisplayName = ""
    file: Annotated[
        Name | None,
        Field(description="Instead of value: a file's path in the operator's workspace."),
    ] = None
    write: Annotated[
        bool, Field(description="file: write accepted versions to it (the old are kept).")
    ] = False

    def check_together(self) -> None:
        """Raises BadInput unless one thing says where the text comes from."""
        given = (self.value, self.file, self.example_field, self.demonstrations)
        if sum(one is not None for one in given) != 1:
            raise BadInput(
                "Give one of value (a text), file (its path in the workspace), example_field (the "
                "field of the examples that feeds it) and demonstrations (how many training "
                "examples to show).",
                "For an example field: create_variable(role='the question', "
                "example_field='question').",
            )
