"""What a client carries from one round of a call to the next is sealed with a shared key.

All servers on a database have the same one, so a round that began at one of them, or before a
restart, can end at another. It is read when it is first needed: most calls have one round.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
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

from ...schemas.errors import TextGradError

log = logging.getLogger(__name__)
TTL_SECONDS = 3600.0
Key = Callable[[], Awaitable[str]]


class SharedSeal:
    """Seals and opens with the key that `find` gives, once that is `ready`."""

    def __init__(self) -> None:
        self._codec: AESGCMRequestStateCodec | None = None

    @property
    def security(self) -> RequestStateSecurity:
        """For the protocol's own handling of rounds."""
        return RequestStateSecurity(codec=self, ttl=TTL_SECONDS)

    async def ready(self, find: Key) -> None:
        """Have the key. Raises StoreError."""
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
    """Have the key before the first token is opened."""

    async def keyed(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if (ctx.params or {}).get("requestState") is not None:
            try:
                await seal.ready(ctx.lifespan_context.key)
            except TextGradError as error:
                told = {"error": error.message, "next": error.next}
                raise MCPError(INTERNAL_ERROR, str(error), told) from None
        return await call_next(ctx)

    middleware = server._lowlevel_server.middleware
    kinds = [type(one) for one in middleware]
    middleware.insert(kinds.index(RequestStateBoundary), keyed)


async def key_beside(path: Path) -> str:
    """The key of a database's file, which lies beside it; where it cannot, one for this process."""
    if path.name == ":memory:":
        return secrets.token_hex(32)
    place = path.with_suffix(".state-key")
    try:
        return await asyncio.to_thread(kept_key, place)
    except OSError as error:
        log.warning("%s: rounds end with this server (%s)", place, error)
        return secrets.token_hex(32)


def kept_key(path: Path) -> str:
    """The key in the file at `path`, which only its owner can read; made if there is none.

    Processes that start at the same moment agree on one. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    if not path.exists():
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            _install(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    key = path.read_text(encoding="ascii").strip()
    if len(key) < 64:
        raise OSError(f"it holds no key; delete it: {path}")
    return key


def _install(draft: Path, path: Path) -> None:
    """Give `path` the draft's content unless another process was first."""
    try:
        os.link(draft, path)
    except FileExistsError:
        log.debug("another process made %s first", path)
