"""Tells clients that a resource changed: by subscription on older sessions, else by listen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from ...schemas.errors import NotFound
from .news import StoreNews
from .resource_views import GRAPH_SCHEMA, ROOT
from .resources import session_of
from .watchers import ResourceWatchers

MOST_URIS = 1000
"""Addresses that one connection, or one listen stream, may watch."""
URI_CHARS = 500
"""None of ours is longer; what is watched is kept in memory."""
UNHEARD = (
    "This connection has no stream on which changes could be announced: older clients have no "
    "sessions here, newer ones use subscriptions/listen. Read the resource again instead."
)


async def may_watch(ctx: Context[Any, Any], uri: str) -> bool:
    """Whether `uri` names something of the caller's, or something that everybody may read."""
    if len(uri) > URI_CHARS:
        return False
    if uri in (ROOT, GRAPH_SCHEMA):
        return True
    session_id = session_of(uri)
    if session_id is None:
        return uri in {resource.uri for resource in await ctx.mcp_server.list_resources()}
    host = ctx.request_context.lifespan_context
    engine = await host.engine()
    try:
        await engine.store.sessions.get(session_id, host.owner(ctx))
    except NotFound:
        return False
    return True


def _sessions(uris: Iterable[str]) -> set[str]:
    """The sessions that these addresses are of."""
    return {one for one in map(session_of, uris) if one is not None}


def install(
    server: MCPServer[Any], watchers: ResourceWatchers, news: Callable[[], StoreNews]
) -> None:
    """Serve subscribe and unsubscribe for older sessions, and listen for newer ones."""
    low = server._lowlevel_server

    def context(ctx: ServerRequestContext[Any, Any]) -> Context[Any, Any]:
        return Context(request_context=ctx, mcp_server=server)

    def owner_of(ctx: ServerRequestContext[Any, Any]) -> str:
        owner: str = ctx.lifespan_context.owner(context(ctx))
        return owner

    async def on_subscribe(
        ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams
    ) -> EmptyResult:
        connection = ctx.session._connection
        uri = str(params.uri)
        if not connection.has_standalone_channel:
            raise MCPError(INVALID_PARAMS, UNHEARD)
        if not await may_watch(context(ctx), uri):
            raise MCPError(INVALID_PARAMS, f"There is no such resource: {uri[:URI_CHARS]}")
        if watchers.count(connection) >= MOST_URIS:
            raise MCPError(INVALID_PARAMS, f"More than {MOST_URIS} subscriptions; drop some first.")
        watchers.subscribe(connection, owner_of(ctx), uri)
        await news().begin(owner_of(ctx), _sessions([uri]))
        return EmptyResult()

    async def on_unsubscribe(
        ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        watchers.unsubscribe(ctx.session._connection, owner_of(ctx), str(params.uri))
        return EmptyResult()

    async def on_listen(
        ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        asked = list(dict.fromkeys(params.notifications.resource_subscriptions or []))[:MOST_URIS]
        uris = [uri for uri in asked if await may_watch(context(ctx), uri)]
        honoured = params.notifications.model_copy(update={"resource_subscriptions": uris})
        owner = owner_of(ctx)
        channel = watchers.listen(owner, uris)
        try:
            if uris or honoured.resources_list_changed:
                await news().begin(owner, _sessions(uris))
            return await channel.listening(
                ctx, params.model_copy(update={"notifications": honoured})
            )
        finally:
            watchers.unlisten(owner, uris)

    low.add_request_handler("resources/subscribe", SubscribeRequestParams, on_subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, on_unsubscribe)
    low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, on_listen)
