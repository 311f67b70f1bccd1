"""Metrics: losses that code computes, one table of them by name.

Each compares an output with a right answer, or looks at the output alone, and gives a score from 0
to 1 with feedback in words for a model that will improve what made the output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ...schemas.errors import BadInput
from ...schemas.graph import Value
from .answers import MULTIPLE_CHOICE, NUMERIC, choice_in, number_in
from .base import Metric
from .patterns import REGEX
from .structure import JSON_MATCH, JSON_SCHEMA, JSON_VALID
from .text import CONTAINS, EDIT_SIMILARITY, EXACT_MATCH, F1

__all__ = ["METRICS", "SLOW", "Metric", "canonical", "check", "check_answer", "roles", "score"]

METRICS: Mapping[str, Metric[Any]] = {
    metric.name: metric
    for metric in (
        EXACT_MATCH,
        CONTAINS,
        REGEX,
        NUMERIC,
        MULTIPLE_CHOICE,
        JSON_VALID,
        JSON_SCHEMA,
        JSON_MATCH,
        F1,
        EDIT_SIMILARITY,
    )
}
SLOW = frozenset({"regex", "json_schema"})
"""The metrics that run in a child process, to be called from a thread."""
_READERS = {"numeric": number_in, "multiple_choice": choice_in}
_OUTPUTS = ("output", "prediction")
_ANSWERS = ("answer", "reference", "expected", "target")


def score(metric: str, inputs: Mapping[str, str], options: Mapping[str, Any]) -> Value:
    """The score (0 to 1) of the texts in `inputs`, and feedback on the output.

    Raises BadInput for what `check` refuses and for a regular expression that does not end in time,
    ExampleError for a right answer that the metric cannot read. `regex` and `json_schema` patterns
    run in a child process, some 15 ms each; the others take microseconds on ordinary texts.
    """
    found = _metric(metric)
    output, answer = roles(metric, inputs)
    expected = inputs[answer] if answer is not None else ""
    return found.judge(inputs[output], expected, found.options.read(metric, options))


def check(metric: str, names: Iterable[str], options: Mapping[str, Any]) -> None:
    """Raises BadInput unless `metric` exists and takes inputs of these names and these options."""
    found = _metric(metric)
    found.check(found.options.read(metric, options))
    given = list(names)
    used = roles(metric, given)
    unused = [name for name in given if name not in used]
    if unused:
        takes = "an output and a right answer" if found.needs_answer else "an output only"
        raise BadInput(
            f"The metric {metric} takes {takes}; it cannot use {', '.join(unused)}.",
            "Leave those out of inputs.",
        )


def check_answer(metric: str, answer: str, options: Mapping[str, Any]) -> None:
    """Raises ExampleError if `metric` cannot read this right answer."""
    found = _metric(metric)
    found.check_answer(answer, found.options.read(metric, options))


def canonical(metric: str, output: str) -> str:
    """What `metric` reads in an output: its number or choice, else the text without outer space."""
    read = _READERS.get(metric)
    found = read(output) if read else None
    return output.strip() if found is None else found


def roles(metric: str, names: Iterable[str]) -> tuple[str, str | None]:
    """Which input is the output and which the right answer (None where the metric needs none).

    By name (output, prediction; answer, reference, expected, target), else by order.
    Raises BadInput if one is missing.
    """
    given = list(names)
    output = next((n for n in _OUTPUTS if n in given), None)
    output = output or next((n for n in given if n not in _ANSWERS), None)
    if output is None:
        raise BadInput(
            f"The metric {metric} needs an output.", 'Give inputs={"output": variable, ...}.'
        )
    if not _metric(metric).needs_answer:
        return output, None
    rest = [n for n in given if n != output]
    answer = next((n for n in _ANSWERS if n in rest), None) or next(iter(rest), None)
    if answer is None:
        raise BadInput(
            f"The metric {metric} compares the output with a right answer, and none was given.",
            'Give inputs={"output": variable, "answer": variable}.',
        )
    return output, answer


def _metric(name: str) -> Metric[Any]:
    if name in METRICS:
        return METRICS[name]
    near = get_close_matches(name.lower(), METRICS, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BadInput(f"There is no metric {name!r}.{hint}", f"Metrics: {', '.join(METRICS)}.")
