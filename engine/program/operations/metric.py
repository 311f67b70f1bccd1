"""metric: code compares an output with a right answer, or looks at it alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ....schemas.errors import TooLong
from ....schemas.graph import Operation, Value
from ... import metrics
from ...prompts import sentence
from ...runs.context import RunContext
from ...workers.pool import Job
from .base import Inputs, Loss, Made, Making, failure_in


class Metric(Loss):
    """A metric of the table, by name, with its options."""

    name = "metric"

    def check_form(self, operation: Operation, most: int) -> list[str]:
        """There must be such a metric, which takes these inputs and options."""
        super().check_form(operation, most)
        metrics.check(*_asked(operation))
        return []

    async def check(self, operation: Operation, making: Making) -> list[str]:
        """As `check_form`, in a worker process where that may take long."""
        super().check_form(operation, making.most)
        metric, names, options = _asked(operation)
        if metrics.is_quick(metric):
            metrics.check(metric, names, options)
            return []
        job = Job(making.owner, f"Checking the options of {metric}", metrics.advice(metric))
        await making.workers.run(job, metrics.check, metric, names, options)
        return []

    def rule(self, work: RunContext, operation: Operation) -> str:
        """The metric's name and options."""
        metric, options = operation.spec["metric"], operation.spec.get("options")
        if not options:
            return sentence("labels", "a_metric", metric=metric)
        said = json.dumps(options, ensure_ascii=False)
        return sentence("labels", "a_metric_with", metric=metric, options=said)

    def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Made:
        """Score and feedback, at once where that takes milliseconds."""
        metric, _, options = _asked(operation)
        if not metrics.is_quick(metric, inputs.texts.values()):
            return _scored(work, metric, inputs, options)
        try:
            return metrics.score(metric, inputs.texts, options)
        except TooLong as error:
            raise failure_in(work, error) from error

    def answer_of(self, operation: Operation) -> str | None:
        """The name of the input that is the right answer; None where the metric needs none."""
        return metrics.roles(operation.spec["metric"], operation.inputs)[1]

    async def check_answer(self, work: RunContext, operation: Operation, answer: str) -> None:
        """Raises ExampleError for a right answer that the metric cannot read."""
        metric, _, options = _asked(operation)
        if metrics.is_quick(metric, [answer]):
            metrics.check_answer(metric, answer, options)
            return
        what = f"Reading a right answer of {len(answer):,} characters"
        job = Job(work.session.owner, what, metrics.advice(metric), work.check)
        await work.workers.run(job, metrics.check_answer, metric, answer, options)

    async def ballot(self, work: RunContext, operation: Operation, texts: Mapping[str, str]) -> str:
        """The letter or number that the metric reads in the output."""
        metric, _, options = _asked(operation)
        output = texts[metrics.roles(metric, texts)[0]]
        if metrics.is_quick(metric, [output]):
            return metrics.canonical(metric, output, options)
        what = f"Reading an output of {len(output):,} characters"
        job = Job(work.session.owner, what, metrics.advice(metric))
        return await work.workers.run(job, metrics.canonical, metric, output, options)


def _asked(operation: Operation) -> tuple[str, list[str], dict[str, Any]]:
    """The metric's name, the inputs' names, the options."""
    spec = operation.spec
    return spec.get("metric") or "", list(operation.inputs), spec.get("options", {})


async def _scored(work: RunContext, metric: str, inputs: Inputs, options: dict[str, Any]) -> Value:
    size = sum(map(len, inputs.texts.values()))
    what = f"The metric {metric} on {size:,} characters, {inputs.about},"
    job = Job(work.session.owner, what, metrics.advice(metric), work.check)
    try:
        said, score = await work.workers.run(job, metrics.scored, metric, inputs.texts, options)
    except TooLong as error:
        raise failure_in(work, error) from error
    return Value(text=said, score=score)


METRIC = Metric()
