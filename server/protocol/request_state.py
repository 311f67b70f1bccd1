"""What a client carries from one round of a call to the next is sealed with a shared key.

All servers on a database have the same one, so a round that began at one of them, or before a
restart, can end at another. It is read when it is first needed: most calls have one round.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer, RequestStateSecurity
from mcp.server.request_state import (
    AESGCMRequestStateCodec,
    InvalidRequestState,
    RequestStateBoundary,
)
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from mcp_types.methods import is_input_required

from ...schemas.errors import TextGradError

NAME = "request state"
TTL_SECONDS = 3600.0
Key = Callable[[], Awaitable[str]]
Ctx = ServerRequestContext[Any, Any]


class SharedSeal:
    """Seals and opens the state of a call's rounds with a key that all servers on a database share.

    `ready` gets the key, before anything is sealed or opened.
    """

    def __init__(self) -> None:
        self._codec: AESGCMRequestStateCodec | None = None

    @property
    def security(self) -> RequestStateSecurity:
        """For the protocol's own handling of rounds."""
        return RequestStateSecurity(codec=self, ttl=TTL_SECONDS)

    async def ready(self, find: Key) -> None:
        """Get the key by `find`, once. Raises StoreError."""
        if self._codec is None:
            self._codec = AESGCMRequestStateCodec([await find()])

    def seal(self, payload: bytes) -> str:
        """A token that only holders of the key can read or make."""
        assert self._codec is not None, "sealed before the key was there"
        return self._codec.seal(payload)

    def unseal(self, token: str) -> bytes:
        """What was sealed. Raises InvalidRequestState."""
        if self._codec is None:
            raise InvalidRequestState("no key")
        return self._codec.unseal(token)


def install(server: MCPServer[Any], seal: SharedSeal) -> None:
    """Have the key of `seal` ready before a token is opened, and before one is made."""

    async def opening(ctx: Ctx, call_next: CallNext) -> HandlerResult:
        if (ctx.params or {}).get("requestState") is not None:
            await _ready(ctx, seal)
        return await call_next(ctx)

    async def sealing(ctx: Ctx, call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if is_input_required(result):
            await _ready(ctx, seal)
        return result

    middleware = server._lowlevel_server.middleware
    place = [type(one) for one in middleware].index(RequestStateBoundary)
    middleware[place : place + 1] = [opening, middleware[place], sealing]


async def _ready(ctx: Ctx, seal: SharedSeal) -> None:
    try:
        await seal.ready(ctx.lifespan_context.key)
    except TextGradError as error:
        told = {"error": error.message, "next": error.next}
        raise MCPError(INTERNAL_ERROR, str(error), told) from None
