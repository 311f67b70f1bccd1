"""What `forward` takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..errors import BadInput
from ..results import ForwardResult
from .base import Arguments
from .rules import LATER, Characters
from .types import AnyText, DisplayName, Examples, Id, Inputs, Models, Session, Text, one_of


class ForwardArguments(Arguments):
    """Add an operation to the program and compute its output variable, for every example in use.
    The program is kept: after a step, forward(session_id) alone recomputes all that is stale,
    losses too.
    """

    tool = "forward"
    result = ForwardResult

    session_id: Session
    operation: Annotated[
        Annotated[str, one_of("llm", "format", "external")] | None,
        Field(
            description="llm: call the model. format: fill the template. external: a black box "
            "that you run. Leave out to recompute what is stale."
        ),
    ] = None
    inputs: Inputs = {}
    template: Annotated[
        Text | None,
        Field(description="Prompt with {name} for each input. llm with one input needs none."),
    ] = None
    system: Annotated[Id | None, Field(description="Variable id of the system prompt.")] = None
    function: Annotated[Text | None, Field(description="external: what it does.")] = None
    output: Annotated[
        AnyText | None, Field(description="external: its output, if you have run it already.")
    ] = None
    models: Annotated[
        Models,
        Field(description="llm: configured models. Several: measured with each; the mean counts."),
    ] = None
    worst: Annotated[bool, LATER, Field(description="The worst of them counts.")] = False
    role: Annotated[Text, Characters(2000, empty=True)] = ""
    name: DisplayName = ""
    examples: Examples = None

    def check_together(self) -> None:
        """Raises BadInput for parts of an operation without one."""
        parts = (self.inputs, self.template, self.system, self.function, self.output, self.models)
        if self.operation is None and any(parts):
            raise BadInput(
                "inputs, template, system, function, output and models go with an operation.",
                "Add operation='llm', 'format' or 'external'; without it forward only recomputes.",
            )
