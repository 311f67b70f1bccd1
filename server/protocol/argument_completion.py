"""Completion of arguments, for resource templates and prompts: ids, versions, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    PromptReference,
)

from ...schemas.errors import NotFound

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.store import Store

MOST = 100
"""The protocol's limit for one answer."""
KNOWN = 1000


async def values(store: Store, owner: str, argument: str, given: Mapping[str, str]) -> list[str]:
    """Everything `argument` may be, given the arguments that are known already.

    Empty for an argument that is free text, and for sessions that are not the owner's.
    """
    if argument == "metric":
        from ...engine.metrics import METRICS

        return list(METRICS)
    if argument == "session_id":
        return [s.id for s in await store.sessions.of_owner(owner, KNOWN)]
    if argument not in ("variable", "version", "old", "new") or "session_id" not in given:
        return []
    try:
        session = await store.sessions.get(given["session_id"], owner)
    except NotFound:
        return []
    if argument == "variable":
        return list(await store.graph.variables(session.pk, limit=KNOWN))
    versions = await store.history.versions(session.pk, given.get("variable", ""), KNOWN)
    return [str(v.version) for v in versions]


async def _check(server: MCPServer[Any], params: CompleteRequestParams) -> None:
    """Raises MCPError for a prompt or a template that is not there."""
    if isinstance(params.ref, PromptReference):
        name = params.ref.name
        known = name in [prompt.name for prompt in await server.list_prompts()]
    else:
        name = params.ref.uri
        known = name in [t.uri_template for t in await server.list_resource_templates()]
    if not known:
        raise MCPError(INVALID_PARAMS, f"There is nothing called {name!r} to complete.")


def install(server: MCPServer[Any]) -> None:
    """Serve completion/complete on `server`."""

    async def on_complete(
        ctx: ServerRequestContext[Any, Any], params: CompleteRequestParams
    ) -> CompleteResult:
        await _check(server, params)
        host = ctx.lifespan_context
        owner = host.owner(Context(request_context=ctx, mcp_server=server))
        given = (params.context.arguments if params.context else None) or {}
        store = (await host.engine()).store
        every = await values(store, owner, params.argument.name, given)
        found = [v for v in every if v.startswith(params.argument.value)]
        known = len(every) < KNOWN  # or there are more than were looked at
        more = len(found) > MOST or not known
        total = len(found) if known else None
        return CompleteResult(
            completion=Completion(values=found[:MOST], total=total, has_more=more)
        )

    server._lowlevel_server.add_request_handler(
        "completion/complete", CompleteRequestParams, on_complete
    )
