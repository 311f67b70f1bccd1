"""Templates, which the kinds llm and format fill in."""

from __future__ import annotations

from ....schemas.errors import TooLong
from ....schemas.graph import Operation
from ...prompts.template import render
from ...runs.context import RunContext
from .base import Inputs, failure_in


def prompt_of(operation: Operation, inputs: Inputs, most: int | None = None) -> str:
    """The user prompt of an llm or format operation: its template, filled in, or its one input.

    Raises TooLong, before it is built, where it would have more than `most` characters.
    """
    template = operation.spec.get("template")
    if template is None:
        return next(iter(inputs.texts.values()), "")
    shown = {name: f"[image: {name}]" for name in inputs.images}
    return render(template, inputs.texts | shown, most)


def filled(work: RunContext, operation: Operation, inputs: Inputs) -> str:
    """`prompt_of` within the longest value. Raises TooLong, ReplyError."""
    try:
        return prompt_of(operation, inputs, work.settings.max_value_chars)
    except TooLong as error:
        about = TooLong(f"{inputs.about}: {error.message}", error.next)
        raise failure_in(work, about) from error
