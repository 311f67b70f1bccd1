"""Older clients without sessions: each request is whole, so any replica can answer it.

What needs a session is not there: nothing is announced to such a client, and its own model cannot
be asked. The stream that would carry both is refused, or it would be held open for nothing.
"""

from __future__ import annotations

from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .older_sessions import PATH


class Stateless:
    """Answers 405 to whatever an older client asks that is no request of its own (GET, DELETE)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] != "POST":
            spoken = Headers(scope=scope).get(MCP_PROTOCOL_VERSION_HEADER)
            if spoken in (None, *HANDSHAKE_PROTOCOL_VERSIONS):
                refused = Response(status_code=405, headers={"allow": "POST"})
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)
