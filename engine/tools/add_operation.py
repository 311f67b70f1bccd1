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
from ...schemas.results import ForwardResult, Result
from ..program.definition import (
    check_text,
    output_of,
    was_given,
)
from ..runs.runner import Caller
from ..store import Chain
from .create_variable import MAX_NAME, MAX_ROLE
from .hints import needs_examples
from .lookup import Parts


async def add_operation(
    parts: Parts,
    caller: Caller,
    session: Session,
    op: Operation,
    role: str,
    name: str,
    digest: str,
    notes: list[str],
) -> Result:
    """Put `op` into the graph and compute it, where there is something to compute it on."""
    check_text("role", role, MAX_ROLE, empty=True)
    check_text("name", name, MAX_NAME, empty=True)
    sources = await sources_of(parts, session, op)
    output = output_of(op, sources, role, name)
    places = await parts.places(session, [output])
    given = was_given(op, places)
    chain = Chain()
    op, output = await parts.store.graph.add_operation(
        session.pk, op, output, session.batch or None, chain
    )
    made = {"variable": output.id, "operation": op.id}
    if op.is_loss:
        made["loss"] = output.id
    if output.per_example and not places:
        await chain.settled()
        return ForwardResult(
            session_id=session.id,
            variable=output.id,
            operation=op.id,
            loss=made.get("loss"),
            notes=notes,
            next=needs_examples(session),
        )
    args = {"targets": [output.id], "made": made, "notes": notes, "given": given}
    tool = "compute_loss" if op.is_loss else "forward"
    try:
        return await parts.runs.start(caller, session, tool, args, digest, chain)
    finally:
        await chain.settled()


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


async def on_examples(
    parts: Parts, session: Session, examples: Sequence[str] | str | None
) -> Session:
    """The session with the named examples (ids, or a split) in use; nothing is stored yet."""
    if examples is None:
        return session
    numbers = await parts.named_examples(session, examples)
    return session.model_copy(update={"batch": numbers})
