"""Tells clients that a resource changed: by subscription on older sessions, by listen since 2026.

Who watches what is known here, so that only addresses somebody watches are announced.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.subscriptions import (
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    SubscriptionBus,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from ..engine.engine import Engine
from ..schemas.errors import NotFound, StoreError
from .resources import session_of, view_of
from .views import GRAPH_SCHEMA, ROOT

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
MOST_URIS = 1000
"""Addresses that one connection, or one listen stream, may watch."""


class Watchers:
    """Which addresses are watched, by which connections and by how many listen streams."""

    def __init__(self, bus: SubscriptionBus) -> None:
        self._bus = bus
        self._listening: Counter[str] = Counter()
        self._subscribed: dict[Connection, set[str]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}

    def listen(self, uris: Iterable[str]) -> None:
        """A listen stream began to watch these."""
        self._listening.update(uris)

    def unlisten(self, uris: Iterable[str]) -> None:
        """That stream ended."""
        self._listening -= Counter(uris)

    def subscribe(self, connection: Connection, uri: str) -> None:
        """A connection of the older kind watches `uri` until it says otherwise or closes."""
        if connection not in self._subscribed:
            self._subscribed[connection] = set()
            connection.exit_stack.callback(self._subscribed.pop, connection, None)
        self._subscribed[connection].add(uri)

    def unsubscribe(self, connection: Connection, uri: str) -> None:
        """It no longer does. What was not watched is no error."""
        self._subscribed.get(connection, set()).discard(uri)

    def count(self, connection: Connection) -> int:
        """How many addresses this connection watches."""
        return len(self._subscribed.get(connection, ()))

    def watched(self, session_id: str) -> set[str]:
        """The watched addresses that a change of this session changes."""
        every = set(self._listening).union(*self._subscribed.values())
        return {uri for uri in every if uri == ROOT or _changes_with(uri, session_id)}

    async def changed(self, session_id: str, *, new: bool = False) -> None:
        """Announce that a session changed; `new` when it has just begun."""
        if new:
            await self._bus.publish(ResourcesListChanged())
        for uri in sorted(self.watched(session_id)):
            await self._bus.publish(ResourceUpdated(uri=uri))
            for connection, uris in list(self._subscribed.items()):
                if uri in uris:
                    await connection.send_resource_updated(uri)

    def follow(self, engine: Engine, owner: str, session_id: str) -> None:
        """Announce the changes of a run that goes on in the background, until it ends."""
        if session_id not in self._following:
            task = asyncio.create_task(self._follow(engine, owner, session_id))
            self._following[session_id] = task
            task.add_done_callback(lambda _: self._following.pop(session_id, None))

    async def _follow(self, engine: Engine, owner: str, session_id: str) -> None:
        before: object = None
        while self.watched(session_id):
            try:
                session = await engine.store.session(session_id, owner)
                run = await engine.store.last_run(session.pk, session.id)
                usage = await engine.store.usage(session.pk)
            except (NotFound, StoreError) as error:
                log.warning("no longer following session %s: %s", session_id, error)
                return
            now = (session.updated, run.status if run else "", usage)
            if now != before:
                await self.changed(session_id)
            if run is None or run.status != "running":
                return
            before = now
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Stop following."""
        tasks = list(self._following.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _changes_with(uri: str, session_id: str) -> bool:
    found = view_of(uri)
    return found is not None and found[1]["session_id"] == session_id and not found[0].fixed


async def may_watch(ctx: Context[Any, Any], uri: str) -> bool:
    """Whether `uri` names something of the caller's, or something that everybody may read."""
    if uri in (ROOT, GRAPH_SCHEMA):
        return True
    session_id = session_of(uri)
    if session_id is None:
        return uri in {resource.uri for resource in await ctx.mcp_server.list_resources()}
    host = ctx.request_context.lifespan_context
    engine = await host.engine()
    try:
        await engine.store.session(session_id, host.owner(ctx))
    except NotFound:
        return False
    return True


def install(server: MCPServer[Any], watchers: Watchers, bus: SubscriptionBus) -> None:
    """Serve subscribe and unsubscribe for older sessions, and listen for newer ones."""
    low = server._lowlevel_server
    listening = ListenHandler(bus)

    def context(ctx: ServerRequestContext[Any, Any]) -> Context[Any, Any]:
        return Context(request_context=ctx, mcp_server=server)

    async def on_subscribe(
        ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams
    ) -> EmptyResult:
        connection = ctx.session._connection
        uri = str(params.uri)
        if not await may_watch(context(ctx), uri):
            raise MCPError(INVALID_PARAMS, f"There is no such resource: {uri}")
        if watchers.count(connection) >= MOST_URIS:
            raise MCPError(INVALID_PARAMS, f"More than {MOST_URIS} subscriptions; drop some first.")
        watchers.subscribe(connection, uri)
        return EmptyResult()

    async def on_unsubscribe(
        ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        watchers.unsubscribe(ctx.session._connection, str(params.uri))
        return EmptyResult()

    async def on_listen(
        ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        asked = list(dict.fromkeys(params.notifications.resource_subscriptions or []))[:MOST_URIS]
        uris = [uri for uri in asked if await may_watch(context(ctx), uri)]
        honoured = params.notifications.model_copy(update={"resource_subscriptions": uris})
        watchers.listen(uris)
        try:
            return await listening(ctx, params.model_copy(update={"notifications": honoured}))
        finally:
            watchers.unlisten(uris)

    low.add_request_handler("resources/subscribe", SubscribeRequestParams, on_subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, on_unsubscribe)
    low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, on_listen)
