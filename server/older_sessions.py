"""Sessions of the protocol before 2026-07-28 are few: of one caller, and in all.

Most clients open one each time they start and never end it, and each is kept in memory until it has
been idle for long. Where a caller has as many as may be, a new one takes the place of the one that
was used least recently; its client, if there still is one, is told to open another.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import busy, caller_in

log = logging.getLogger(__name__)
PATH = "/mcp"
MOST, PER_CALLER = 1000, 100


@dataclass
class _Session:
    """Whose it is, as whom they showed themselves, and how many of its requests are under way."""

    caller: str
    user: Any
    under_way: int = 0


class OlderSessions:
    """Counts sessions, and ends old ones to make room."""

    def __init__(self, app: ASGIApp, *, most: int = MOST, per_caller: int = PER_CALLER) -> None:
        self._app = app
        self._most = most
        self._per_caller = per_caller
        self._sessions: dict[str, _Session] = {}  # the least recently used first
        self._count: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, in its session or in a new one, if it wants one."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        name = headers.get(MCP_SESSION_ID_HEADER)
        spoken = headers.get(MCP_PROTOCOL_VERSION_HEADER)
        if name is not None:
            await self._within(name, scope, receive, send)
        elif scope["method"] == "POST" and spoken in (None, *HANDSHAKE_PROTOCOL_VERSIONS):
            await self._opening(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _within(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        session = self._sessions.get(name)
        if session is None or session.caller != caller_in(scope):
            await self._app(scope, receive, send)
            return

        async def watching(message: Message) -> None:
            if message["type"] == "http.response.start":
                ended = scope["method"] == "DELETE" and message["status"] < 400
                if ended or message["status"] == 404:
                    self._forget(name)
            await send(message)

        self._sessions[name] = self._sessions.pop(name)
        session.under_way += 1
        try:
            await self._app(scope, receive, watching)
        finally:
            session.under_way -= 1

    async def _opening(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_in(scope)
        if not await self._make_room(caller, scope):
            await busy(send, f"{self._per_caller} sessions of yours are in use; end one.", 1)
            return
        session = _Session(caller, scope.get("user"), under_way=1)
        self._count[caller] += 1
        opened = False

        async def watching(message: Message) -> None:
            nonlocal opened
            if message["type"] == "http.response.start" and message["status"] < 400:
                name = Headers(raw=message["headers"]).get(MCP_SESSION_ID_HEADER)
                if name is not None:
                    self._sessions[name], opened = session, True
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            session.under_way -= 1
            if not opened:
                self._uncount(caller)

    async def _make_room(self, caller: str, scope: Scope) -> bool:
        """End the least recently used session if there are as many as may be; whether one may be
        opened now."""
        mine = self._count[caller] >= self._per_caller
        if not mine and self._count.total() < self._most:
            return True
        for name, session in list(self._sessions.items()):
            if session.under_way == 0 and (not mine or session.caller == caller):
                self._forget(name)
                await self._end(name, session, scope)
                return True
        return False

    async def _end(self, name: str, session: _Session, scope: Scope) -> None:
        """End a session as its own client would."""
        hosts = [(key, value) for key, value in scope["headers"] if key == b"host"]
        asked = dict(scope) | {
            "method": "DELETE",
            "headers": [*hosts, (MCP_SESSION_ID_HEADER.encode(), name.encode())],
            "user": session.user,
        }

        async def nothing_more() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def unread(_: Message) -> None:
            """Nobody waits for the answer."""

        await self._app(asked, nothing_more, unread)

    def _forget(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            self._uncount(session.caller)

    def _uncount(self, caller: str) -> None:
        self._count[caller] -= 1
        if not self._count[caller]:
            del self._count[caller]
