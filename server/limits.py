"""Limits on requests: nobody may ask more often than the operator allows."""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.types import ASGIApp, Receive, Scope, Send

REMEMBERED = 10_000
BUSY = -32000


class Buckets:
    """A token bucket for each caller: `per_minute` on average, `burst` at once.

    Whoever has not called for longest is forgotten first when there are very many.
    """

    def __init__(
        self, per_minute: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_minute / 60
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """0 when the caller may go on, else the seconds to wait first."""
        now = self._clock()
        left, since = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        granted = left >= 1
        self._left[key] = (left - 1 if granted else left, now)
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return 0.0 if granted else (1 - left) / self._rate


class Guard:
    """Stands in front of everything but the `open_paths`: no credentials, no entry, where they
    are needed; and nobody too often. Callers without credentials count by address."""

    def __init__(
        self, app: ASGIApp, *, needs_token: bool, buckets: Buckets, open_paths: frozenset[str]
    ) -> None:
        self._app = app
        self._needs_token = needs_token
        self._buckets = buckets
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401 or 429."""
        if scope["type"] != "http" or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        user = scope.get("user")
        known = user if isinstance(user, AuthenticatedUser) else None
        caller = f"owner {known.username}" if known else f"from {_address(scope)}"
        wait = self._buckets.take(caller)
        if wait:
            later = str(max(1, math.ceil(wait)))
            words = f"Too many requests; come back in {later} seconds."
            error = {"code": BUSY, "message": words}  # as JSON-RPC, or clients would not show it
            refused = {"jsonrpc": "2.0", "id": None, "error": error}
            await _refuse(send, 429, refused, ("retry-after", later))
        elif self._needs_token and known is None:
            words = "A valid bearer token is needed."
            refused = {"error": "invalid_token", "error_description": words}
            await _refuse(send, 401, refused, ("www-authenticate", "Bearer"))
        else:
            await self._app(scope, receive, send)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "?"


async def _refuse(send: Send, status: int, refused: dict[str, Any], more: tuple[str, str]) -> None:
    body = json.dumps(refused).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    headers |= dict([more])
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
