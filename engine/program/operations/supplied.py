"""What the caller runs or measures, for the kinds external and feedback."""

from __future__ import annotations

from ....schemas.completions import CompletionRequest, Message, Purpose
from ....schemas.graph import Operation
from ...prompts.fence import Fence
from ...runs.context import RunContext
from .base import Inputs


def asking(inputs: Inputs, instructions: str) -> CompletionRequest:
    """What is asked of whoever runs a black box, or measures a loss."""
    fence = Fence(inputs.texts.values())
    values = [fence.wrap("input", t, name=n) for n, t in inputs.texts.items()]
    return CompletionRequest(
        purpose=Purpose.EXTERNAL,
        messages=(Message(role="user", content="\n\n".join([instructions, *values])),),
        about=inputs.about,
    )


async def with_result(
    work: RunContext, operation: Operation, request: CompletionRequest, said: str
) -> CompletionRequest:
    """The request for an operation with whose call `said` was supplied, for these inputs or others.

    What was supplied has a key of its own: two boxes of one description may do different things.
    """
    known = request.model_copy(update={"params": {"told": said}})
    if work.args.get("given") and operation.output in work.args["targets"]:
        await work.supply(known, said)  # this is the call that made it
        return known
    return known if await work.store.calls.answered(work.session.pk, known.key) else request
