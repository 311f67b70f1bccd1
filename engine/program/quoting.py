"""What the requests for feedback and for a rewrite say about quoting examples, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.graph import Variable
from ..constraints.constraints import examples_rule
from ..constraints.rules import NO_COPY
from ..prompts import text
from ..runs.context import RunContext


async def held_out(work: RunContext) -> bool:
    """Whether there are examples that measure, so that it matters where a text has its own from."""
    sizes = await work.store.examples.split_sizes(work.session.pk, work.chain)
    return bool(sizes.keys() - {"train"})


def in_feedback(on: Sequence[Variable], *, measured: bool) -> list[str]:
    """What to say where feedback is asked for; `measured` as `held_out` says."""
    closed = [v.id for v in on if examples_rule(v.constraints) == NO_COPY]
    if closed:
        return [text("no_examples", names=" and ".join(closed))]
    return [text("examples")] if measured else []


def in_rewrite(of: Variable, *, measured: bool) -> list[str]:
    """What to say where a rewrite is asked for, if no constraint says it."""
    free = examples_rule(of.constraints) != NO_COPY
    return [text("examples")] if free and measured else []
