"""A completion as its asker reads it: repaired once, or refused with what was wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ...schemas.completions import Completion, CompletionRequest, Message, Purpose
from ...schemas.errors import CutOff, ExampleRefused, PromptRefused, ReplyError
from ..prompts import text
from ..replies.endings import Ending, ending
from ..replies.reasoning import apart
from ..replies.reply import Malformed, understood
from .asker import Asker

T = TypeVar("T")
_OURS = (Purpose.GRADIENT, Purpose.REDUCE, Purpose.UPDATE)
"""What is asked about several examples, or about none."""


async def ask(
    work: Asker,
    request: CompletionRequest,
    read: Callable[[Completion], T],
    look: Callable[[T], Awaitable[None]] | None = None,
) -> T:
    """The completion of an addressed `request`, as `read` makes of it; one repair when malformed.

    `read` and `look`, which may take its time, raise Malformed with words that tell a model what
    to mend. Raises NotYet while nobody has answered, ReplyError when the repaired reply is
    malformed too, or the endpoint refuses the prompt for what it says (ExampleRefused where that
    is of one example). What the program itself says where it is measured is not repaired, and
    stays recorded.
    """
    completion = await _said(work, request)
    try:
        return await understood(request, completion, read, look)
    except Malformed as problem:
        if work.measures and request.purpose is Purpose.FORWARD:
            raise _measured(request, completion, problem) from problem
        messages = _repair_messages(request, completion, problem.reason)
        repair = request.model_copy(update={"messages": messages})
    repaired = await _said(work, repair)
    try:
        return await understood(request, repaired, read, look)
    except Malformed as problem:
        for used in (request, repair):
            await work.store.calls.set_unusable(work.session.pk, used.key)
        raise ReplyError(
            f"{_about(request)}: the reply could not be used, and neither could its repair: "
            f"{problem.reason}",
            problem.next
            or "Call resume to ask afresh; if it fails again, use a stronger model, or allow "
            "longer replies (max_tokens).",
        ) from problem


async def _said(work: Asker, request: CompletionRequest) -> Completion:
    """The completion, without the thoughts that may stand before it."""
    try:
        return apart(await work.need(request), request)
    except PromptRefused as refused:
        kind = ReplyError if request.purpose in _OURS else ExampleRefused
        raise kind(f"{_about(request)}: {refused.message}", refused.next) from refused


def _measured(request: CompletionRequest, completion: Completion, problem: Malformed) -> ReplyError:
    """What a program's own reply is that cannot be used."""
    words = f"{_about(request)}: the reply cannot be used: {problem.reason}"
    way_out = problem.next or "Call forward to have it asked for again."
    if completion.refusal or ending(completion.finish) is not Ending.CUT:
        return ReplyError(words, way_out)
    return CutOff(words, way_out, completion.text, completion.usage.completion_tokens)


def _about(request: CompletionRequest) -> str:
    return request.about or str(request.purpose)


def _repair_messages(
    request: CompletionRequest, completion: Completion, problem: str
) -> tuple[Message, ...]:
    again = Message(role="user", content=text("repair", problem=problem))
    if not completion.text.strip():
        return (*request.messages, again)
    said = Message(role="assistant", content=completion.text)
    return (*request.messages, said, again)
