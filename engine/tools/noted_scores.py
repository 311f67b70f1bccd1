"""What was measured by the way, noted for reports: by losses without examples, and by the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...schemas.graph import NO_EXAMPLE, STATE_VERSION
from ..evaluation.statistics import mean_and_error
from ..program.forward import Evaluation
from ..runs.context import RunContext
from .lookup import Parts

VALIDATION = "validation"
"""Where readings are noted on which texts are chosen, of programs without examples as well."""


def among(evaluation: Evaluation, targets: Sequence[str]) -> dict[str, float]:
    """The scores of those of `targets` that are losses of no example."""
    program = evaluation.program
    found: dict[str, float] = {}
    for v in targets:
        operation = program.operation_of(v)
        if operation is None or not operation.is_loss or program.variables[v].per_example:
            continue
        if evaluation.has(v, NO_EXAMPLE):
            score = evaluation.value(v, NO_EXAMPLE).score
            found |= {} if score is None else {v: score}
    return found


async def note_compared(
    parts: Parts,
    work: RunContext,
    loss: str,
    readings: Sequence[tuple[Mapping[str, int], Mapping[int, float], Mapping[str, float]]],
) -> None:
    """Note what texts, by their versions, score where the gate compares, unless that is known: by
    example, and by model where there are several."""
    for versions, scores, by_model in readings:
        if await parts.store.evaluations.measured(work.session.pk, loss, VALIDATION, versions):
            continue
        mean, error = mean_and_error(list(scores.values()))
        await parts.store.evaluations.add(
            work.session.pk,
            loss,
            VALIDATION,
            versions,
            mean,
            error,
            len(scores),
            None,
            {},
            work.chain,
            scores,
            by_model,
        )


async def note(parts: Parts, work: RunContext, scores: Mapping[str, float]) -> None:
    """Note the scores of losses without examples with the texts as they are now; once in a run,
    even one that is executed again after a kill."""
    if not scores or "reads" in work.state:
        return
    parameters = await parts.store.graph.parameters(work.session.pk)
    versions = {v.id: v.version for v in parameters}
    for loss, score in scores.items():
        await parts.store.evaluations.add(
            work.session.pk,
            loss,
            VALIDATION,
            versions,
            score,
            None,
            1,
            work.fence,
            {"version": STATE_VERSION},
            work.chain,
            {NO_EXAMPLE: score},
        )
