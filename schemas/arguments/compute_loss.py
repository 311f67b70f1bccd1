"""What `compute_loss` takes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ..checks import MOST_INPUTS
from ..results import ForwardResult
from .base import Arguments
from .rules import Count
from .types import AnyText, DisplayName, Examples, Inputs, Name, Number, Session, Text, one_of


class ComputeLossArguments(Arguments):
    """Judge an output: adds a loss (feedback, a score from 0 to 1, or both) and computes it for
    every example in use. A judge sees all inputs, constants (a policy) too.
    """

    tool = "compute_loss"
    result = ForwardResult

    session_id: Session
    kind: Annotated[
        Annotated[str, one_of("judge", "metric", "evaluator", "feedback", "sum")],
        Field(
            description="judge: a model criticises. metric: code compares output with answer. "
            "evaluator: a program of the operator. feedback: what you measured. sum: of losses."
        ),
    ]
    inputs: Inputs
    instruction: Annotated[
        Text | None, Field(description="judge: what is good and bad. feedback: how to measure it.")
    ] = None
    metric: Annotated[
        Name | None,
        Field(
            description="exact_match, contains, regex, numeric, multiple_choice, json_valid, "
            "json_schema, json_match, f1 or edit_similarity; inputs output and answer."
        ),
    ] = None
    options: Annotated[
        dict[str, Any] | None,
        Count("No metric has so many.", MOST_INPUTS),
        Field(
            description="exact_match: ignore_case=true, ignore_whitespace, ignore_punctuation. "
            "numeric: absolute_tolerance, relative_tolerance. regex: pattern. json_schema: schema."
        ),
    ] = None
    evaluator: Name | None = None
    feedback: Annotated[
        AnyText | None, Field(description="feedback: what you found, in words.")
    ] = None
    score: Annotated[Number | None, Field(description="feedback: 0 to 1, if there is one.")] = None
    graded: Annotated[bool, Field(description="judge: give a score, too.")] = True
    weights: Annotated[dict[str, Number] | None, Field(description="sum: by input name.")] = None
    name: DisplayName = ""
    examples: Examples = None
