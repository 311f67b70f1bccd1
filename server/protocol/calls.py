"""One tool call: who calls, how long they wait, how results and errors go back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, TextContent

from ...schemas.errors import TextGradError
from ...schemas.results import Result
from .result_text import facts, render

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.engine import Engine
    from ...engine.runs.runner import Caller

log = logging.getLogger(__name__)
Call = Callable[["Engine", "Caller"], Awaitable[Result]]
TICK = 0.5
SAID = 2000
"""Characters of an error."""


async def answer(
    ctx: Context[Any, Any], call: Call, *, brief: bool | None = None, lasting: bool = False
) -> CallToolResult:
    """What the engine makes of `call`, as text and as structured content; `brief` and `lasting` are
    as `Readers` takes them."""
    from ...engine.runs.runner import Caller

    host = ctx.request_context.lifespan_context
    try:
        engine = await host.engine()
        watch = ProgressReporter(ctx)
        caller = Caller(
            owner=host.owner(ctx),
            deadline=engine.settings.soft_deadline,
            on_progress=watch.note,
        )
        async with watch:
            result = await call(engine, caller)
            known = await host.readers.known(engine, caller, result, brief=brief, lasting=lasting)
    except TextGradError as error:
        return refusal(error)
    return reply(result, known)


def reply(result: Result, known: Sequence[tuple[str, str]] = ()) -> CallToolResult:
    """A result as MCP content; one that failed is marked as an error, so that hosts show it as one.

    Passages of prompts that the reader has `known` before are replaced in the text by where they
    stand.
    """
    data = facts(result)
    return CallToolResult(
        content=[TextContent(type="text", text=render(data, known))],
        structured_content=data,
        is_error=result.status == "failed",
    )


def amended(result: CallToolResult, notes: list[str], following: str = "") -> CallToolResult:
    """`result` with more notes, and another next step if there is one."""
    data = dict(result.structured_content or {})
    data["notes"] = [*data.get("notes", []), *notes]
    if following:
        data["next"] = following
    block = TextContent(type="text", text=render(data))
    return result.model_copy(update={"structured_content": data, "content": [block]})


def refusal(error: TextGradError) -> CallToolResult:
    """An error that the model can act on, without all of what it may quote."""
    from ...engine.views.results import cut

    said = {"error": cut(error.message, SAID)[0], "next": cut(error.next, SAID)[0]}
    return CallToolResult(
        content=[TextContent(type="text", text=render(said))],
        structured_content={"status": "failed", **said},
        is_error=True,
    )


class ProgressReporter:
    """Sends progress notifications while a call is under way, at most two a second."""

    def __init__(self, ctx: Context[Any, Any]) -> None:
        self._ctx = ctx
        self._news: tuple[int, int, str] | None = None
        self._sent = -1
        self._over = False  # a run may go on, and tell, when its call has ended
        self._task: asyncio.Task[None] | None = None

    def note(self, answered: int, asked: int, phase: str) -> None:
        """Remember how many calls were answered, of how many asked, in which phase; the first time,
        begin to send."""
        self._news = (answered, asked, phase)
        if self._task is None and not self._over:
            self._task = asyncio.create_task(self._tell())

    async def __aenter__(self) -> ProgressReporter:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self._news is None:
                continue
            answered, asked, phase = self._news
            if answered > self._sent:  # the protocol wants it to increase
                self._sent = answered
                message = f"{phase}: {answered} of {asked} calls answered"
                await self._ctx.report_progress(answered, asked, message)
