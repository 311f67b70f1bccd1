"""What `optimize_prompt` takes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ..errors import BadInput
from ..results import PromptResult
from .base import Arguments
from .rules import Between, Characters
from .types import AnyText, Constraints, Lines, Models, Name, Number, Rows, Text, Whole


class OptimizePromptArguments(Arguments):
    """Begin here, with a prompt on examples, a text with a judge, or code with its tests: builds
    the program, splits the examples, measures the start, says what there is to gain and what it
    costs. All ids go on into the other tools.
    """

    tool = "optimize_prompt"
    result = PromptResult

    prompt: Annotated[
        AnyText | None,
        Field(description="The text as it is now. Default: the one that a log was held under."),
    ] = None
    examples: Annotated[
        Rows | str | None,
        Field(description="Rows [{field: text}], JSON Lines or CSV. None: the text itself counts."),
    ] = None
    path: Annotated[Name | None, Field(description="Or a data file.")] = None
    file: Annotated[
        Name | None, Field(description="Instead of prompt: its file in the workspace.")
    ] = None
    write: Annotated[bool, Field(description="Write accepted versions to file.")] = False
    metric: Name | None = None
    options: dict[str, Any] | None = None
    judge: Annotated[
        Text | None, Field(description="Instead of metric: what is good and bad, for a model.")
    ] = None
    evaluator: Name | None = None
    tests: Annotated[Text | None, Field(description="Instead: what you run on it and report.")] = (
        None
    )
    feedback: Annotated[Text | None, Field(description="What the tests say now, if known.")] = None
    score: Annotated[Number | None, Field(description="Share of them that pass.")] = None
    answer: Annotated[
        Name | None, Field(description="Field with the right answer, if no name tells.")
    ] = None
    fields: Annotated[
        Lines | None, Field(description="Fields the prompt gets. Default: the others.")
    ] = None
    role: Annotated[
        Text | None,
        Characters(2000, empty=True),
        Field(description="What the text is for, in 2,000 characters."),
    ] = None
    context: Annotated[
        Text | None,
        Field(description="No metric: the task, at any length; judge and rewriter see it."),
    ] = None
    constraints: Constraints = []
    models: Annotated[Models, Field(description="As in forward.")] = None
    worst: bool = False
    steps: Annotated[
        Whole, Between(0, 1000), Field(description="Go on to optimize with so many steps.")
    ] = 0
    seed: Whole = 0

    def check_together(self) -> None:
        """Raises BadInput for two texts."""
        if self.file is not None and self.prompt is not None:
            raise BadInput("There are two texts: prompt, and that of file.", "Give one of them.")
