"""What `forward` and `compute_loss` share: an operation that enters a graph."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.graph import (
    Operation,
    Session,
    Variable,
)
from ..program.definition import (
    check_given,
    output_of,
)
from ..program.operations import Making, find
from ..runs.runner import Start
from ..store import adding
from .lookup import Parts


async def addition(
    parts: Parts,
    session: Session,
    op: Operation,
    role: str,
    name: str,
    batch: list[int] | None,
) -> Start:
    """What adds `op`, and with it `batch` as the examples in use, and computes its output."""
    kind, most = find(op.kind), parts.settings.max_value_chars
    there = parts.evaluators, parts.workers, parts.ledger.programs
    notes = await kind.check(op, Making(session.owner, most, *there))
    output = output_of(op, await sources_of(parts, session, op), role, name)
    in_use = session.model_copy(update={"batch": batch or session.batch})
    given = check_given(op, await parts.examples_in_use(in_use, [output]), kind.was_given(op))
    args = {"notes": notes, "given": given}
    return Start(args, adding(session.pk, op, output, batch))


async def sources_of(parts: Parts, session: Session, op: Operation) -> dict[str, Variable]:
    """The variables that `op` reads. Raises NotFound, or BadInput for a misuse of one."""
    found = await parts.store.graph.variables(session.pk, op.sources)
    for source in op.sources:
        if source not in found:
            raise await parts.missing(session, "variable", source)
    kind = find(op.kind)
    if kind.of_losses:
        await parts.losses(session, op.sources)
    kind.check_sources(list(found.values()))
    return found


async def batch_of(
    parts: Parts, session: Session, examples: Sequence[str] | str | None
) -> list[int] | None:
    """The numbers of the named examples (ids, or a split); None where none are named."""
    return None if examples is None else await parts.named_examples(session, examples)
