"""What a program without examples scores: noted for reports where it is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...schemas.graph import NO_EXAMPLE, STATE_VERSION
from ..program.forward import Evaluation
from ..runs.context import RunContext
from .lookup import Parts


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
            "validation",  # where `evaluate` notes it, too
            versions,
            score,
            None,
            1,
            work.fence if once else None,
            {"version": STATE_VERSION},
            work.chain,
            {NO_EXAMPLE: score},
        )
