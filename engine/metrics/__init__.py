"""Metrics: losses that code computes, one table of them by name.

Each compares an output with a right answer, or looks at the output alone, and gives a score from 0
to 1 with feedback in words for a model that will improve what made the output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...schemas.errors import BadInput, TooLong
from ...schemas.graph import Value
from ...schemas.near import nearest
from ..extensions.table import Table
from ..workers.worker import SMALL
from .base import Metric, plain
from .choices import MULTIPLE_CHOICE
from .numeric import NUMERIC
from .patterns import REGEX
from .structure import JSON_MATCH, JSON_SCHEMA, JSON_VALID
from .text import CONTAINS, EDIT_SIMILARITY, EXACT_MATCH, F1

__all__ = [
    "ANSWERS",
    "METRICS",
    "OUTPUTS",
    "Metric",
    "advice",
    "canonical",
    "check",
    "check_answer",
    "is_quick",
    "roles",
    "score",
    "scored",
]

METRICS: Table[Metric[Any]] = Table(
    "metric",
    "metrics",
    {
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
    },
    Metric,
    {"judge": (Value,)},
)
_MOST_OPTIONS = 32
OUTPUTS = ("output", "prediction")
ANSWERS = ("answer", "reference", "expected", "target")


def score(metric: str, inputs: Mapping[str, str], options: Mapping[str, Any]) -> Value:
    """The score (0 to 1) of the texts in `inputs`, and feedback on the output.

    Raises BadInput for what `check` refuses, ExampleError for a right answer that the metric cannot
    read, TooLong for texts that are nested too deeply. What is not `is_quick` belongs in a worker.
    """
    found = _metric(metric)
    output, answer = roles(metric, inputs)
    text, expected = inputs[output], inputs[answer] if answer is not None else ""
    if not found.verbatim:
        text, expected = plain(text), plain(expected)
    try:
        return found.judge(text, expected, found.options.read(metric, options))
    except RecursionError as error:
        words = f"The metric {metric} cannot follow texts that are nested so deeply."
        raise TooLong(words, "Have flatter ones compared, or use another metric.") from error


def scored(
    metric: str, inputs: Mapping[str, str], options: Mapping[str, Any]
) -> tuple[str, float | None]:
    """`score` as plain values, feedback and score, for a worker."""
    value = score(metric, inputs, options)
    return value.text, value.score


def is_quick(metric: str, texts: Iterable[str] = ()) -> bool:
    """Whether `metric` takes no more than some milliseconds on `texts`, whatever they hold.

    Of what packages add, nobody knows that.
    """
    if metric not in METRICS.own:
        return metric not in METRICS
    return not METRICS[metric].endless and sum(map(len, texts)) <= SMALL


def advice(metric: str) -> str:
    """What the caller can change where `metric` takes too long, as a sentence."""
    endless = METRICS[metric].endless if metric in METRICS.own else ""
    return endless or "Have shorter texts compared, or use another metric."


def check(metric: str, names: Iterable[str], options: Mapping[str, Any]) -> None:
    """Raises BadInput unless `metric` exists and takes inputs of these names and these options."""
    found = _metric(metric)
    if len(options) > _MOST_OPTIONS:
        raise BadInput(
            f"There are {len(options):,} options; no metric has so many.",
            f"Options of {metric}: {', '.join(found.options.names()) or 'none'}.",
        )
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
    found.check_answer(plain(answer), found.options.read(metric, options))


def canonical(metric: str, output: str, options: Mapping[str, Any]) -> str:
    """What `metric` reads in an output: its number or choice, else the text without outer space."""
    output, kind = plain(output), _metric(metric)
    found = kind.reads(output, kind.options.read(metric, options)) if kind.reads else None
    return output.strip() if found is None else found


def roles(metric: str, names: Iterable[str]) -> tuple[str, str | None]:
    """Which input is the output and which the right answer (None where the metric needs none).

    By name (output, prediction; answer, reference, expected, target), else by order.
    Raises BadInput if one is missing.
    """
    given = list(names)
    output = next((n for n in OUTPUTS if n in given), None)
    output = output or next((n for n in given if n not in ANSWERS), None)
    if output is None:
        raise BadInput(
            f"The metric {metric} needs an output.", 'Give inputs={"output": variable, ...}.'
        )
    if not _metric(metric).needs_answer:
        return output, None
    rest = [n for n in given if n != output]
    answer = next((n for n in ANSWERS if n in rest), None) or next(iter(rest), None)
    if answer is None:
        raise BadInput(
            f"The metric {metric} compares the output with a right answer, and none was given.",
            'Give inputs={"output": variable, "answer": variable}.',
        )
    return output, answer


def _metric(name: str) -> Metric[Any]:
    if name in METRICS:
        return METRICS[name]
    near = nearest(name.lower(), METRICS)
    hint = f" Did you mean {near}?" if near else ""
    raise BadInput(f"There is no metric {name!r}.{hint}", f"Metrics: {', '.join(METRICS)}.")
