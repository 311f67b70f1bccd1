"""Resources: sessions and their parts, readable by address. Foreign and unknown ones look alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.uri_template import UriTemplate
from mcp_types import (
    Annotations,
    ListResourcesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
)

from ..schemas.errors import NotFound
from ..schemas.graph import Session
from . import views
from .paint import one_line
from .report import report
from .views import GRAPH_SCHEMA, ROOT

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ..engine.engine import Engine

LISTED = 50
FOREVER_MS = 24 * 3600 * 1000
Show = Callable[..., Awaitable[str]]


@dataclass(frozen=True)
class View:
    """One kind of resource beneath a session: `show(store, session, **ids)` gives its text.

    Where that is work, `works`, it is given the engine and not the store alone.
    """

    path: str
    name: str
    title: str
    description: str
    mime: str
    show: Show
    fixed: bool = False
    works: bool = False

    @property
    def template(self) -> str:
        """Its URI template."""
        return f"{ROOT}/{{session_id}}{self.path}"


JSON = "application/json"
VIEWS = (
    View("", "session", "Session", "What is in a session and what it cost.", JSON, views.session),
    View("/graph", "graph", "Graph", "Variables and operations.", JSON, views.graph),
    View(
        "/graph.mmd",
        "graph-drawing",
        "Graph, drawn",
        "The graph as a Mermaid flowchart.",
        "text/vnd.mermaid",
        views.mermaid,
    ),
    View(
        "/variables/{variable}",
        "variable",
        "Variable",
        "A variable with its current text and its versions.",
        JSON,
        views.variable,
    ),
    View(
        "/variables/{variable}/versions/{version}",
        "version",
        "Version of a text",
        "The text of a variable as it was at one version.",
        "text/plain",
        views.version,
        fixed=True,
    ),
    View(
        "/variables/{variable}/diff/{old}..{new}",
        "diff",
        "Difference of two versions",
        "What changed from one version to another, as a unified diff.",
        "text/x-diff",
        views.changes,
        fixed=True,
        works=True,
    ),
    View(
        "/gradients",
        "gradients",
        "Gradients",
        "Feedback on parameters, with the examples, losses and operations it came from.",
        JSON,
        views.gradients,
    ),
    View("/steps", "steps", "Steps", "Proposals, verdicts and scores.", JSON, views.steps),
    View("/runs", "runs", "Runs", "Calls that needed completions.", JSON, views.runs),
    View("/calls", "calls", "Calls", "Completions and what they cost.", JSON, views.calls),
    View(
        "/report",
        "report",
        "Report",
        "What was proposed, what was won, and the price.",
        "text/markdown",
        report,
    ),
)
PARSED = [(UriTemplate.parse(view.template), view) for view in VIEWS]


def templates() -> list[ResourceTemplate]:
    """Every kind of resource beneath a session, in a stable order."""
    return [
        ResourceTemplate(
            uri_template=view.template,
            name=view.name,
            title=view.title,
            description=view.description,
            mime_type=view.mime,
        )
        for view in VIEWS
    ]


async def listed(ctx: Context[Any, Any]) -> list[Resource]:
    """The list of sessions, and the caller's latest ones with their reports, the oldest first."""
    host = ctx.request_context.lifespan_context
    engine = await host.engine()
    found = await engine.store.sessions(host.owner(ctx), LISTED)
    out = [
        Resource(
            uri=ROOT,
            name="sessions",
            title="Sessions",
            description="Your sessions, the last used first.",
            mime_type=JSON,
        ),
        _schema(),
    ]
    for one in sorted(found, key=lambda s: s.pk):
        out += _of_session(one)
    return out


def _schema() -> Resource:
    return Resource(
        uri=GRAPH_SCHEMA,
        name="graph-schema",
        title="Schema of a graph",
        description="The JSON schema of a session's graph.",
        mime_type="application/schema+json",
        size=len(views.graph_schema().encode()),
    )


def _of_session(one: Session) -> list[Resource]:
    words = one_line(one.title) or one.id[:8]
    changed = Annotations(last_modified=one.updated or None)
    return [
        Resource(
            uri=f"{ROOT}/{one.id}",
            name=f"session-{one.id[:8]}",
            title=f"Session: {words}",
            mime_type=JSON,
            annotations=changed,
        ),
        Resource(
            uri=f"{ROOT}/{one.id}/report",
            name=f"report-{one.id[:8]}",
            title=f"Report: {words}",
            mime_type="text/markdown",
            annotations=changed,
        ),
    ]


def view_of(uri: str) -> tuple[View, dict[str, str]] | None:
    """The kind of resource that `uri` names and the ids in it; None if it is none of ours.

    None of our ids needs an escape, so an address that has one is another spelling at best.
    """
    if "%" in uri:
        return None
    for template, view in PARSED:
        ids = template.match(uri)
        if ids is not None and all(isinstance(v, str) and v for v in ids.values()):
            return view, {k: str(v) for k, v in ids.items()}
    return None


def session_of(uri: str) -> str | None:
    """The id of the session that `uri` names or lies beneath."""
    found = view_of(uri)
    return found[1]["session_id"] if found else None


async def read(uri: str, ctx: Context[Any, Any]) -> ReadResourceContents | None:
    """The resource at `uri`; None when the address is not one of ours.

    Raises NotFound in the same words for what is foreign and what is not there.
    """
    if not uri.startswith("textgrad://"):
        return None
    if uri == GRAPH_SCHEMA:
        return ReadResourceContents(views.graph_schema(), "application/schema+json")
    host = ctx.request_context.lifespan_context
    engine = await host.engine()
    owner = host.owner(ctx)
    if uri == ROOT:
        return ReadResourceContents(await views.sessions(engine.store, owner), JSON)
    return await _read(engine, owner, uri)


async def _read(engine: Engine, owner: str, uri: str) -> ReadResourceContents:
    found = view_of(uri)
    if found is None:
        raise NotFound("There is no such resource.", f"{ROOT} lists your sessions.")
    view, ids = found
    one = await engine.store.session(ids.pop("session_id"), owner)
    given = engine if view.works else engine.store
    return ReadResourceContents(await view.show(given, one, **ids), view.mime)


def install(server: MCPServer[Any]) -> None:
    """Serve the list (which depends on who asks) and say how long a reading stays fresh."""
    low = server._lowlevel_server
    plain = low.get_request_handler("resources/read")
    assert plain is not None

    async def on_list(
        ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams
    ) -> ListResourcesResult:
        ours = await listed(Context(request_context=ctx, mcp_server=server))
        return ListResourcesResult(resources=[*ours, *await server.list_resources()])

    async def on_read(
        ctx: ServerRequestContext[Any, Any], params: ReadResourceRequestParams
    ) -> Any:
        result = await plain.handler(ctx, params)
        found = view_of(params.uri)
        if isinstance(result, ReadResourceResult) and found is not None and found[0].fixed:
            return result.model_copy(update={"ttl_ms": FOREVER_MS})
        return result

    low.add_request_handler("resources/list", PaginatedRequestParams, on_list)
    low.add_request_handler("resources/read", ReadResourceRequestParams, on_read)
