"""Tells clients that a resource changed: by subscription on older sessions, by listen since 2026.

Who watches what is known here, so that only addresses somebody watches are announced, and each
owner's changes to that owner alone: even that somebody else is busy is nobody's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
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

from ..schemas.errors import NotFound, StoreError
from .calls import in_words
from .resources import session_of, view_of
from .views import GRAPH_SCHEMA, ROOT

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ..engine.engine import Engine

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
MOST_URIS = 1000
"""Addresses that one connection, or one listen stream, may watch."""


Watched = tuple[str, str]
"""An owner and an address."""


class Channel:
    """The listen streams of one owner."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.listening = ListenHandler(self.bus)


class Watchers:
    """Which addresses are watched, by which connections and by how many listen streams."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._listening: Counter[Watched] = Counter()
        self._subscribed: dict[Connection, set[Watched]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}

    def channel(self, owner: str) -> Channel:
        """The owner's listen streams."""
        return self._channels.setdefault(owner, Channel())

    def listen(self, owner: str, uris: Iterable[str]) -> None:
        """A listen stream of the owner's began to watch these."""
        self._listening.update((owner, uri) for uri in uris)

    def unlisten(self, owner: str, uris: Iterable[str]) -> None:
        """That stream ended."""
        self._listening -= Counter((owner, uri) for uri in uris)

    def subscribe(self, connection: Connection, owner: str, uri: str) -> None:
        """A connection of the older kind watches `uri` until it says otherwise or closes."""
        if connection not in self._subscribed:
            self._subscribed[connection] = set()
            connection.exit_stack.callback(self._subscribed.pop, connection, None)
        self._subscribed[connection].add((owner, uri))

    def unsubscribe(self, connection: Connection, owner: str, uri: str) -> None:
        """It no longer does. What was not watched is no error."""
        self._subscribed.get(connection, set()).discard((owner, uri))

    def count(self, connection: Connection) -> int:
        """How many addresses this connection watches."""
        return len(self._subscribed.get(connection, ()))

    def watched(self, owner: str, session_id: str) -> set[str]:
        """The addresses the owner watches that a change of this session changes."""
        every = set(self._listening).union(*self._subscribed.values())
        mine = {uri for whose, uri in every if whose == owner}
        return {uri for uri in mine if uri == ROOT or _changes_with(uri, session_id)}

    async def changed(self, owner: str, session_id: str, *, new: bool = False) -> None:
        """Announce that the owner's session changed; `new` when it has just begun."""
        bus = self.channel(owner).bus
        if new:
            await bus.publish(ResourcesListChanged())
        for uri in sorted(self.watched(owner, session_id)):
            await bus.publish(ResourceUpdated(uri=uri))
            for connection, watching in list(self._subscribed.items()):
                if (owner, uri) in watching:
                    await connection.send_resource_updated(uri)

    def follow(self, engine: Engine, owner: str, session_id: str) -> None:
        """Announce the changes of a run that goes on in the background, until it ends."""
        if session_id not in self._following:
            task = asyncio.create_task(self._follow(engine, owner, session_id))
            self._following[session_id] = task
            task.add_done_callback(lambda _: self._following.pop(session_id, None))

    async def _follow(self, engine: Engine, owner: str, session_id: str) -> None:
        before: object = None
        while self.watched(owner, session_id):
            try:
                session = await engine.store.session(session_id, owner)
                run = await engine.store.last_run(session.pk, session.id)
                usage = await engine.store.usage(session.pk)
            except (NotFound, StoreError) as error:
                log.warning("no longer following session %s: %s", session_id, error)
                return
            now = (session.updated, run.status if run else "", usage)
            if now != before:
                await self.changed(owner, session_id)
            if run is None or run.status != "running":
                return
            before = now
            await asyncio.sleep(LOOK_SECONDS)

    def hang_up(self) -> None:
        """End every listen stream in order."""
        for channel in self._channels.values():
            channel.listening.close()

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
    with in_words():
        engine = await host.engine()
        try:
            await engine.store.session(session_id, host.owner(ctx))
        except NotFound:
            return False
    return True


def install(server: MCPServer[Any], watchers: Watchers) -> None:
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
        if not await may_watch(context(ctx), uri):
            raise MCPError(INVALID_PARAMS, f"There is no such resource: {uri}")
        if watchers.count(connection) >= MOST_URIS:
            raise MCPError(INVALID_PARAMS, f"More than {MOST_URIS} subscriptions; drop some first.")
        watchers.subscribe(connection, owner_of(ctx), uri)
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
        watchers.listen(owner, uris)
        try:
            listening = watchers.channel(owner).listening
            return await listening(ctx, params.model_copy(update={"notifications": honoured}))
        finally:
            watchers.unlisten(owner, uris)

    low.add_request_handler("resources/subscribe", SubscribeRequestParams, on_subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, on_unsubscribe)
    low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, on_listen)
