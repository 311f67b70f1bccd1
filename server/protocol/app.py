"""The MCP server: our engine behind the SDK's MCPServer, over stdio or HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolResult,
    GetPromptResult,
    InputRequiredResult,
    ResourceTemplate,
)
from mcp_types import Tool as ListedTool
from pydantic import AnyUrl

from ...schemas.errors import BadInput
from ...schemas.near import did_you_mean
from ...schemas.settings import Settings
from .. import telemetry
from ..logs import guard_log
from ..version import VERSION
from . import argument_completion as completions
from . import consent, page_tools, request_state, resources, shapes, stdio, subscriptions
from .additions import extend
from .arguments import ArgumentReader
from .calls import amended, refusal
from .failures import explained, in_words
from .host import Host
from .news import StoreNews
from .prompts import prompts
from .request_state import SharedSeal
from .sampling import Sampler
from .stdio_signals import leave_on_signals, leave_soon
from .tools import OFFERS, AsGiven, offered
from .watchers import ResourceWatchers

log = logging.getLogger(__name__)
INSTRUCTIONS = """\
Textual gradient descent: improve any text (prompt, code, plan) that you can judge. \
optimize_prompt begins: it builds a small program, measures where it stands, hands out the ids.

A prompt on examples: optimize_prompt(prompt, examples=[{'question': ..., 'answer': ...}], \
metric='exact_match'), or judge='what is good and bad'; evaluate(split='test'); \
optimize(steps=3), or by hand step(strategy='reflect', accept='if_better', candidates=3), again; \
evaluate(split='test') at the end.

One text: optimize_prompt(prompt, judge); backward; step(accept='if_better'); again from backward.

Code: run its tests; optimize_prompt(prompt=the code, tests='how they run', feedback='what \
failed', score=share passed, context='the task'); backward; step(accept='if_better') asks for the \
new code, then for what its tests say; again from backward.

A pipeline: create_variable for each prompt, field and constant; add_examples; forward for each \
call; compute_loss on the last output; evaluate, backward, step.

status tells what to do: done; needs_completions: answer the pending prompts yourself, honestly \
and each on its own, and hand them back with resume (brief=true names what you have read instead \
of repeating it); running: resume waits; failed: read error. \
A session does one thing at a time: while prompts are pending, resume comes before any other call. \
`next` names the next call with its ids. Nothing answered is asked again; every version is kept.\
"""


NAMED = 5
"""So many wrong arguments are told at once."""


CACHE_HINTS: dict[CacheableMethod, CacheHint] = {
    "server/discover": CacheHint(ttl_ms=3_600_000, scope="public"),
    "tools/list": CacheHint(ttl_ms=3_600_000, scope="private"),
    "prompts/list": CacheHint(ttl_ms=3_600_000, scope="public"),
    "resources/templates/list": CacheHint(ttl_ms=3_600_000, scope="public"),
    "resources/list": CacheHint(ttl_ms=0, scope="private"),
    "resources/read": CacheHint(ttl_ms=0, scope="private"),
}


LONGEST_SLIP = 100
"""Characters of a name that may be a right one misspelt; finding the nearest takes long."""


class TextGradServer(MCPServer[Host]):
    """MCPServer that takes arguments as hosts send them, with schemas without padding, sampling
    around the tools, and our resources beside those of extensions."""

    sampler: Sampler
    watchers: ResourceWatchers
    news: StoreNews
    host: Host | None = None
    leaving: Callable[[], None] = staticmethod(lambda: None)
    """Called when the last client is gone, before anything is closed."""
    page = "on"

    @cached_property
    def calls(self) -> Counter[tuple[str, str]]:
        """How many calls of each tool there were, by what they ended in."""
        return Counter()

    @cached_property
    def _readers(self) -> dict[str, ArgumentReader]:
        return {}

    async def list_tools(self) -> list[ListedTool]:
        """The tools' definitions, with what installed packages add."""
        for tool in self._tool_manager.list_tools():
            self._reader(tool)
        return await super().list_tools()

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Host, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; let the client's model write what is pending, where that is configured;
        tell whoever watches the session. What fails is told, never raised."""
        known = name if self._tool_manager.get_tool(name) is not None else "unknown"
        try:
            result = await self._served(name, arguments, context)
        except MCPError:
            self.calls[known, "error"] += 1
            raise
        except Exception as error:  # noqa: BLE001 - the last place that can put it into words
            result = refusal(explained(error, name))
        self.calls[known, _status(result)] += 1
        return result

    async def _served(
        self, name: str, arguments: dict[str, Any], context: Context[Host, Any] | None
    ) -> CallToolResult | InputRequiredResult:
        if context is None:
            return await self._called(name, arguments, None)
        if self.sampler.is_return(context):
            result = await self.sampler.returned(context)
        else:
            asked = await consent.ask(name, arguments, context)
            if asked is not None:
                return asked
            result = await self._called(name, arguments, context)
            if isinstance(result, CallToolResult):
                result = await self.sampler.serve(context, result)
        if isinstance(result, CallToolResult):
            telemetry.note(result.structured_content or {})
            await self._announce(name, arguments, result, context)
        return result

    async def _announce(
        self,
        name: str,
        arguments: dict[str, Any],
        result: CallToolResult,
        context: Context[Any, Any],
    ) -> None:
        tool = self._tool_manager.get_tool(name)
        marks = tool.annotations if tool is not None else None
        data = result.structured_content or {}
        session = data.get("session_id")
        if session is None or marks is None or marks.read_only_hint:
            return
        host = context.request_context.lifespan_context
        owner = host.owner(context)
        new = shapes.is_nothing(arguments.get("session_id"))
        if self.watchers.watches_for(owner):
            await self.news.told(owner, [session])
            await self.watchers.changed(owner, session, new=new)

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """Ours first, then those of extensions."""
        return [*resources.templates(), *await super().list_resource_templates()]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Host, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """One of ours, or an extension's. Raises NotFound, ResourceError."""
        page = page_tools.read(str(uri))
        if page is not None and self.page != "off":
            return [page]
        found = await resources.read(str(uri), context) if context is not None else None
        return [found] if found is not None else await super().read_resource(uri, context)

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[Host, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        """A prompt, filled in. Raises MCPError with the nearest right name for a wrong one."""
        known = {p.name: [a.name for a in p.arguments or []] for p in await self.list_prompts()}
        if name not in known:
            words = f"There is no prompt {quoted(name)}.{did_you_mean(name, list(known))}"
            raise MCPError(INVALID_PARAMS, words)
        for key in arguments or {}:
            if key not in known[name]:
                words = f"{quoted(key)} is no argument of {name}.{did_you_mean(key, known[name])}"
                words += f" It takes {', '.join(known[name])}."
                raise MCPError(INVALID_PARAMS, words)
        return await super().get_prompt(name, arguments, context)

    async def _called(
        self, name: str, arguments: dict[str, Any], context: Context[Host, Any] | None
    ) -> CallToolResult | InputRequiredResult:
        """The tool's own result; a wrong name or argument is refused in words a model can act
        on."""
        tool = self._tool_manager.get_tool(name)
        if tool is None:
            names = [t.name for t in self._tool_manager.list_tools() if t.name != "page_data"]
            return refusal(
                BadInput(
                    f"There is no tool {quoted(name)}.{did_you_mean(name, names)}",
                    f"Use one of {', '.join(names)}.",
                )
            )
        try:
            clean, notes = self._reader(tool).read(arguments)
            result = await super().call_tool(name, clean, context)
        except BadInput as error:
            return refusal(error)
        if notes and isinstance(result, CallToolResult) and not result.is_error:
            return amended(result, notes)
        return result

    def _reader(self, tool: Tool) -> ArgumentReader:
        """Reads what a tool takes. What packages add is looked up when that is first asked for, so
        that the start need not."""
        if tool.name not in self._readers:
            extend(tool.name, tool.parameters)
            shapes = tool.fn_metadata.shapes if isinstance(tool.fn_metadata, AsGiven) else {}
            self._readers[tool.name] = ArgumentReader(tool.name, tool.parameters, shapes)
        return self._readers[tool.name]


def _status(result: CallToolResult | InputRequiredResult) -> str:
    """What a call ended in, in one word."""
    if isinstance(result, InputRequiredResult):
        return "input_required"
    found = (result.structured_content or {}).get("status")
    return str(found or ("failed" if result.is_error else "done"))


def quoted(name: str) -> str:
    """A name as it was given, or the beginning of a long one."""
    return repr(name if len(name) <= LONGEST_SLIP else f"{name[:LONGEST_SLIP]}…")


def build(settings: Settings) -> TextGradServer:
    """The server with all its tools. The same object serves stdio, HTTP and tests in memory."""

    @asynccontextmanager
    async def lifespan(_: MCPServer[Host]) -> AsyncIterator[Host]:
        host = server.host = Host(settings)
        server.news = StoreNews(server.watchers, host.engine)
        try:
            yield host
        finally:
            server.leaving()
            server.host = None
            await server.news.close()
            await host.close()

    seal = SharedSeal()
    server = TextGradServer(
        name="textgrad-mcp",
        title="TextGrad",
        description="Textual gradient descent for prompts, code and any text you can judge",
        instructions=INSTRUCTIONS,
        version=VERSION,
        lifespan=lifespan,
        tools=[offered(one) for one in [*OFFERS, *page_tools.offers(settings.page)]],
        log_level="WARNING",
        cache_hints=CACHE_HINTS,
        request_state_security=seal.security,
        middleware=[in_words],
        extensions=[page_tools.PageExtension()] if settings.page == "on" else [],
    )
    server.page = settings.page
    request_state.install(server, seal)
    server.sampler = Sampler()
    server.watchers = ResourceWatchers()
    resources.install(server)
    completions.install(server)
    subscriptions.install(server, server.watchers, lambda: server.news)
    for prompt in prompts():
        server.add_prompt(prompt)
    page_tools.install(server, settings.page)
    return server


def serve_stdio(settings: Settings) -> None:
    """Serve one client on stdin and stdout until it hangs up, or a signal comes."""
    server = build(settings)
    server.leaving = leave_soon
    guard_log()

    async def close() -> None:
        if server.host is not None:
            await server.host.close()
        await asyncio.to_thread(telemetry.finish)

    async def serve() -> None:
        leave_on_signals(close)
        await stdio.serve(server)

    asyncio.run(serve())
