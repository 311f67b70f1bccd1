"""Answers that do not end: what there is of them is shown, and every loss of them is 0."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.errors import CutOff
from ...schemas.graph import NO_EXAMPLE, Operation, Value
from ..prompts import sentence
from .forward import Evaluation, example_of, made_from
from .operations import loss_kind


def keep_cut_off(evaluation: Evaluation, examples: Sequence[int]) -> None:
    """Give answers that were cut off at the token limit, on `examples`, the text there is of them.

    Steps behind such an answer did not run: their outputs are empty. Losses say what happened and
    what was expected, with the score 0 where they give one.
    """
    cut = [(node, e) for node, e in evaluation.unusable.items() if isinstance(e, CutOff)]
    for (variable, example), error in cut:
        evaluation.computed[variable, example] = Value(text=error.said)
        behind = made_from(evaluation.program, [variable])
        touched = examples if example == NO_EXAMPLE else [n for n in examples if n == example]
        for operation in evaluation.program.operations.values():
            for n in touched if operation.output in behind else ():
                if n not in evaluation.left_out and not evaluation.has(operation.output, n):
                    node = operation.output, _at(evaluation, operation, n)
                    evaluation.computed[node] = _value(evaluation, operation, n, error)


def _at(evaluation: Evaluation, operation: Operation, example: int) -> int:
    return example_of(evaluation.program.variables[operation.output], example)


def _value(evaluation: Evaluation, operation: Operation, example: int, error: CutOff) -> Value:
    """What an operation gives for an answer that was cut off."""
    if not operation.is_loss:
        return Value(text="")
    words = [
        sentence("labels", "cut_off_after", tokens=f"{error.tokens:,}")
        if error.tokens
        else sentence("labels", "cut_off")
    ]
    variables = evaluation.program.variables
    right = [
        v for v in operation.inputs.values() if variables[v].reference and variables[v].is_leaf
    ]
    texts = [evaluation.value(v, example).text for v in right]
    words += [sentence("labels", "cut_off_expected", text=text) for text in texts]
    in_pairs = loss_kind(operation.kind).in_pairs(operation)
    return Value(text=" ".join(words), score=None if in_pairs else 0.0)
