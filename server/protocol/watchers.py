"""Who watches which resources, and how they hear that one has changed.

Who watches what is known here, so that only addresses somebody watches are announced, and each
owner's changes to that owner alone: even that somebody else is busy is nobody's business. A change
costs what those who watch that session cost, however many others watch something else; and it
waits for none of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from mcp.server.connection import Connection
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
)

from .resource_views import ROOT
from .resources import view_of

EVERY_CHANGE = ""
"""In the place of a session's id: addresses that change with every session."""


class Channel:
    """What one owner watches: by listen streams, and by connections of older protocol versions."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.listening = ListenHandler(self.bus)
        self.streams = 0
        self._listened: Counter[str] = Counter()
        self._subscribed: dict[str, set[Connection]] = {}
        self._by_session: dict[str, set[str]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens and nothing is watched."""
        return not self.streams and not self._subscribed

    def listen(self, uris: Iterable[str]) -> None:
        """A listen stream began to watch these."""
        self.streams += 1
        for uri in uris:
            self._listened[uri] += 1
            self._index(uri)

    def unlisten(self, uris: Iterable[str]) -> None:
        """That stream ended."""
        self.streams -= 1
        for uri in uris:
            self._listened[uri] -= 1
            self._unindex(uri)

    def subscribe(self, connection: Connection, uri: str) -> None:
        """A connection began to watch `uri`."""
        self._subscribed.setdefault(uri, set()).add(connection)
        self._index(uri)

    def unsubscribe(self, connection: Connection, uri: str) -> None:
        """A connection no longer watches `uri`."""
        connections = self._subscribed.get(uri, set())
        connections.discard(connection)
        if not connections:
            self._subscribed.pop(uri, None)
        self._unindex(uri)

    def watched(self, *sessions: str) -> list[str]:
        """The addresses that somebody watches and a change of these sessions changes, in order."""
        found = (self._by_session.get(one, set()) for one in (*sessions, EVERY_CHANGE))
        return sorted(set().union(*found))

    def sessions(self) -> set[str]:
        """The sessions that somebody watches."""
        return self._by_session.keys() - {EVERY_CHANGE}

    def subscribers(self, uri: str) -> list[Connection]:
        """The connections that watch `uri`."""
        return list(self._subscribed.get(uri, ()))

    def _index(self, uri: str) -> None:
        session_id = _changes_with(uri)
        if session_id is not None:
            self._by_session.setdefault(session_id, set()).add(uri)

    def _unindex(self, uri: str) -> None:
        if self._listened[uri] > 0 or uri in self._subscribed:
            return
        del self._listened[uri]
        session_id = _changes_with(uri)
        uris = self._by_session.get(session_id or EVERY_CHANGE, set())
        uris.discard(uri)
        if not uris:
            self._by_session.pop(session_id or EVERY_CHANGE, None)


class Outbox:
    """The addresses that a connection is still to be told of, each once however often it
    changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._uris: dict[str, None] = {}
        self._sending: asyncio.Task[None] | None = None

    def put(self, uri: str) -> None:
        """Tell the connection when it reads; nobody waits for that."""
        self._uris[uri] = None
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._uris:
            uri = next(iter(self._uris))
            del self._uris[uri]
            await self._connection.send_resource_updated(uri)

    def close(self) -> None:
        """Tell the connection nothing more: it is closed."""
        if self._sending is not None:
            self._sending.cancel()


class ResourceWatchers:
    """Who watches which addresses."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._subscribed: dict[Connection, set[tuple[str, str]]] = {}
        self._outboxes: dict[Connection, Outbox] = {}

    @property
    def watches(self) -> bool:
        """Whether anybody watches anything."""
        return bool(self._channels)

    def watches_for(self, owner: str) -> bool:
        """Whether the owner watches anything."""
        return owner in self._channels

    def sessions(self) -> dict[str, set[str]]:
        """The sessions that somebody watches, by their owners: all who watch anything."""
        return {owner: channel.sessions() for owner, channel in self._channels.items()}

    def channel(self, owner: str) -> Channel:
        """What the owner watches."""
        return self._channels.setdefault(owner, Channel())

    def listen(self, owner: str, uris: Iterable[str]) -> Channel:
        """A listen stream of the owner's began to watch these."""
        channel = self.channel(owner)
        channel.listen(uris)
        return channel

    def unlisten(self, owner: str, uris: Iterable[str]) -> None:
        """That stream ended."""
        self.channel(owner).unlisten(uris)
        self._tidy(owner)

    def subscribe(self, connection: Connection, owner: str, uri: str) -> None:
        """A connection of the older kind watches `uri` until it says otherwise or closes."""
        if connection not in self._subscribed:
            self._subscribed[connection] = set()
            self._outboxes[connection] = Outbox(connection)
            connection.exit_stack.callback(self._gone, connection)
        self._subscribed[connection].add((owner, uri))
        self.channel(owner).subscribe(connection, uri)

    def unsubscribe(self, connection: Connection, owner: str, uri: str) -> None:
        """A connection no longer watches `uri`. To end what was not watched is no error."""
        mine = self._subscribed.get(connection, set())
        if (owner, uri) in mine:
            mine.remove((owner, uri))
            self.channel(owner).unsubscribe(connection, uri)
            self._tidy(owner)

    def count(self, connection: Connection) -> int:
        """How many addresses this connection watches."""
        return len(self._subscribed.get(connection, ()))

    def watched(self, owner: str, session_id: str) -> list[str]:
        """The addresses the owner watches that a change of this session changes."""
        channel = self._channels.get(owner)
        return channel.watched(session_id) if channel else []

    async def changed(self, owner: str, session_id: str, *, new: bool = False) -> None:
        """Announce that the owner's session changed; `new` when it has just begun."""
        await self.announce(owner, [session_id], new=new)

    async def announce(self, owner: str, sessions: Iterable[str], *, new: bool = False) -> None:
        """Announce that something of the owner's changed: in these sessions, as far as they are
        known."""
        channel = self._channels.get(owner)
        if channel is None:
            return
        if new and channel.streams:
            await channel.bus.publish(ResourcesListChanged())
        for uri in channel.watched(*sessions):
            if channel.streams:
                await channel.bus.publish(ResourceUpdated(uri=uri))
            for connection in channel.subscribers(uri):
                self._outboxes[connection].put(uri)

    def hang_up(self) -> None:
        """End every listen stream in order."""
        for channel in self._channels.values():
            channel.listening.close()

    def _gone(self, connection: Connection) -> None:
        for owner, uri in self._subscribed.pop(connection, ()):
            self.channel(owner).unsubscribe(connection, uri)
            self._tidy(owner)
        self._outboxes.pop(connection).close()

    def _tidy(self, owner: str) -> None:
        if self._channels[owner].is_idle:
            del self._channels[owner]


def _changes_with(uri: str) -> str | None:
    """The session with which the resource at `uri` changes; None for what never does."""
    if uri == ROOT:
        return EVERY_CHANGE
    found = view_of(uri)
    return None if found is None or found[0].fixed else found[1]["session_id"]
