"""What `forward` and `compute_loss` share: an operation that enters a graph."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.errors import BadInput
from ...schemas.graph import (
    Kind,
    Op,
    Operation,
    Session,
    Variable,
)
from ..program.definition import (
    check_text,
    output_of,
    was_given,
)
from ..runs.runner import Start
from ..store import adding
from .create_variable import MAX_NAME, MAX_ROLE
from .lookup import Parts


async def addition(
    parts: Parts,
    session: Session,
    op: Operation,
    role: str,
    name: str,
    batch: list[int] | None,
    notes: list[str],
) -> Start:
    """What adds `op`, and with it `batch` as the examples in use, and computes its output."""
    check_text("role", role, MAX_ROLE, empty=True)
    check_text("name", name, MAX_NAME, empty=True)
    output = output_of(op, await sources_of(parts, session, op), role, name)
    in_use = session.model_copy(update={"batch": batch or session.batch})
    given = was_given(op, await parts.places(in_use, [output]))
    args = {"notes": notes, "given": given}
    return Start(args, adding(session.pk, op, output, batch))


async def sources_of(parts: Parts, session: Session, op: Operation) -> dict[str, Variable]:
    """The variables that `op` reads. Raises NotFound, or BadInput for a misuse of one."""
    found = await parts.store.graph.variables(session.pk, op.sources)
    for source in op.sources:
        if source not in found:
            raise await parts.missing(session, "variable", source)
    leaked = [v.label for v in found.values() if v.reference]
    if leaked and not op.is_loss and op.kind is not Op.FORMAT:
        raise BadInput(
            f"{', '.join(leaked)} is a reference (the right answer), which a forward "
            "operation must never see.",
            "Use it in compute_loss only.",
        )
    if op.kind is Op.SUM:
        await parts.losses(session, op.sources)
    images = [v.label for v in found.values() if v.kind is Kind.IMAGE]
    if images and op.kind is Op.FORMAT:
        raise BadInput(
            f"{', '.join(images)} is an image, which a template cannot hold.",
            "Give it to the llm operation or the judge itself, as one more input.",
        )
    if op.is_loss and op.kind is not Op.SUM and all(v.reference for v in found.values()):
        raise BadInput(
            "All inputs of this loss are references.", "Give the output to be judged, too."
        )
    return found


async def batch_of(
    parts: Parts, session: Session, examples: Sequence[str] | str | None
) -> list[int] | None:
    """The numbers of the named examples (ids, or a split); None where none are named."""
    return None if examples is None else await parts.named_examples(session, examples)
