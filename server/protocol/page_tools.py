"""`show`, which a model calls to have the user look, and `page_data`, which the page itself calls.

Who sees them depends on the client: one that draws pages has both; on stdio any other has `show`,
which hands over an address on this machine; over HTTP any other has neither.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID, client_supports_apps
from mcp.server.context import ServerRequestContext
from mcp.server.extension import Extension
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from ...schemas.arguments.base import Arguments
from ...schemas.arguments.types import Session as SessionId
from ...schemas.errors import Conflict
from ...schemas.results import ShowResult
from ..page import bundle
from .calls import reply
from .tools import Offer

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...schemas.graph import Session

ADDRESS = "ui://textgrad/page-"
READS = ToolAnnotations(
    title="Show", read_only_hint=True, destructive_hint=False, idempotent_hint=True
)


class PageExtension(Extension):
    """Says that this server has pages; its tools and resources are served beside our own."""

    identifier = EXTENSION_ID


class ShowArguments(Arguments):
    """Show the user a session's page: scores, steps, diffs, examples."""

    tool = "show"
    result = ShowResult

    session_id: SessionId


class PageDataArguments(Arguments):
    """For the page of `show`: one view of a session as JSON."""

    tool = "page_data"

    session_id: str
    view: str
    args: dict[str, Any] = {}  # noqa: RUF012 - a model's default is copied


async def show(ctx: Context[Any, Any], args: ShowArguments) -> CallToolResult:
    """Has the page drawn, or hands over its address."""
    host = ctx.request_context.lifespan_context
    session = await _session(ctx, args.session_id)
    if in_chat(ctx.request_context, host.settings.page):
        said = f"The page of session {session.id} is shown to the user."
        return reply(ShowResult(session_id=session.id, next=f"{said} Go on as they wish."))
    address = await _address(ctx, session)
    return reply(
        ShowResult(
            session_id=session.id,
            address=address,
            next="Give the user this address, to be opened in a browser on this machine. It is a "
            "key: it works until this server ends.",
        )
    )


async def page_data(ctx: Context[Any, Any], args: PageDataArguments) -> CallToolResult:
    """One view of a session, as text in JSON."""
    host = ctx.request_context.lifespan_context
    session = await _session(ctx, args.session_id)
    page = await host.pages.of(await host.engine())
    found = await page.view(session, args.view, args.args)
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(type="text", text=text)])


async def _session(ctx: Context[Any, Any], session_id: str) -> Session:
    host = ctx.request_context.lifespan_context
    engine = await host.engine()
    session: Session = await engine.store.sessions.get(session_id, host.owner(ctx))
    return session


async def _address(ctx: Context[Any, Any], session: Session) -> str:
    """Where this process serves the session's page, from now on if it did not yet."""
    host = ctx.request_context.lifespan_context
    if host.settings.page == "off" or ctx.request_context.request is not None:
        raise Conflict(
            "This client does not draw pages.", "inspect(what='report') has the same in words."
        )
    viewer = await host.pages.viewer()
    found: str = viewer.address(session.id)
    return found


def in_chat(ctx: ServerRequestContext[Any, Any], page: str) -> bool:
    """Whether the client that calls draws pages, and the operator lets it."""
    return page == "on" and client_supports_apps(ctx)


def offers(page: str) -> list[Offer[Any]]:
    """Both tools, where the operator lets them be."""
    if page == "off":
        return []
    return [
        Offer(ShowArguments, READS, show),
        Offer(PageDataArguments, READS, page_data, structured=False),
    ]


def install(server: MCPServer[Any], page: str) -> None:
    """List the tools for those who can use them."""

    async def on_list(
        ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        apps = in_chat(ctx, page)
        found = await server.list_tools()
        return ListToolsResult(tools=listed(found, apps=apps, here=ctx.request is None))

    server._lowlevel_server.add_request_handler("tools/list", PaginatedRequestParams, on_list)


def listed(tools: list[Tool], *, apps: bool, here: bool) -> list[Tool]:
    """What a client sees of the tools: `apps` says whether it draws pages, `here` whether its user
    sits at this machine."""
    if apps:
        return [_bound(tool) for tool in tools]
    hidden = {"page_data"} if here else {"page_data", "show"}
    return [tool for tool in tools if tool.name not in hidden]


def _bound(tool: Tool) -> Tool:
    if tool.name not in ("show", "page_data"):
        return tool
    address = bundle.address()
    ui: dict[str, Any] = {"resourceUri": address}
    if tool.name == "page_data":
        ui["visibility"] = ["app"]
    # The flat key is the older spelling, which some hosts still read alone.
    return tool.model_copy(update={"meta": {"ui": ui, "ui/resourceUri": address}})


def read(uri: str) -> ReadResourceContents | None:
    """The page, if `uri` names it. Any of its addresses gives the present one: a conversation that
    is opened again has an older address."""
    if not (uri.startswith(ADDRESS) and uri.endswith(".html")):
        return None
    return ReadResourceContents(
        bundle.html("chat"), APP_MIME_TYPE, meta={"ui": {"prefersBorder": True}}
    )
