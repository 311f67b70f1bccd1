"""What was measured by the way, noted for reports: by losses without examples, and by the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...schemas.graph import NO_EXAMPLE, STATE_VERSION
from ..evaluation.statistics import mean_and_error
from ..program.forward import Evaluation
from ..runs.context import RunContext
from .lookup import Parts

VALIDATION = "validation"


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
    before: tuple[Mapping[str, int], Mapping[int, float]],
    after: Mapping[int, float],
) -> None:
    """Note what the texts `before` a step (by their versions) and the accepted ones score on the
    validation examples; of those before, only what no reading has told."""
    versions, scores = before
    spans = await parts.store.evaluations.spans(work.session.pk)
    latest = [one["latest"] for one in spans if (one["loss"], one["split"]) == (loss, VALIDATION)]
    parameters = await parts.store.graph.parameters(work.session.pk)
    readings = [({v.id: v.version for v in parameters}, after)]
    if not latest or latest[0]["versions"] != versions:
        readings.insert(0, (dict(versions), scores))
    for texts, found in readings:
        mean, error = mean_and_error(list(found.values()))
        pk, size, state = work.session.pk, len(found), {"version": STATE_VERSION}
        await parts.store.evaluations.add(
            pk, loss, VALIDATION, texts, mean, error, size, None, state, work.chain, found
        )


async def note(parts: Parts, work: RunContext, scores: Mapping[str, float], *, once: bool) -> None:
    """Note the scores of losses with the texts as they are now; `once` in a run, even one that is
    executed again after a kill."""
    if not scores or (once and "reads" in work.state):
        return
    parameters = await parts.store.graph.parameters(work.session.pk)
    versions = {v.id: v.version for v in parameters}
    for loss, score in scores.items():
        await parts.store.evaluations.add(
            work.session.pk,
            loss,
            VALIDATION,  # where `evaluate` notes it, too
            versions,
            score,
            None,
            1,
            work.fence if once else None,
            {"version": STATE_VERSION},
            work.chain,
            {NO_EXAMPLE: score},
        )
