"""Limits on requests: how often one caller may ask, and for how much at a time."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.types import ASGIApp, Receive, Scope, Send

from .addresses import caller_of

REMEMBERED = 10_000
PER_ADDRESS = 512
"""Connections from one address, where the operator says nothing else."""
AT_ONCE = PER_ADDRESS // 2
"""Requests and streams of one caller that may be under way."""
BUSY = -32000
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]*)(:\d{1,5})?")
_ORIGIN = re.compile(rb"null|[A-Za-z][A-Za-z0-9+.-]*://" + _HOST.pattern)


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
        """Count a request of a caller: 0 if it may go on, else how many seconds it has to wait."""
        now = self._clock()
        left, since = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        granted = left >= 1
        self._left[key] = (left - 1 if granted else left, now)
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return 0.0 if granted else (1 - left) / self._rate


class RateLimit:
    """Stands in front of everything but the `open_paths`: no credentials, no entry, where they
    are needed; nobody too often, and nobody more than `at_once` at a time. Callers without
    credentials count by address."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        needs_token: bool,
        buckets: Buckets,
        open_paths: frozenset[str],
        at_once: int = AT_ONCE,
    ) -> None:
        self._app = app
        self._needs_token = needs_token
        self._buckets = buckets
        self._open = open_paths
        self._at_once = at_once
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 401, 421 or 429."""
        if scope["type"] != "http" or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        caller = caller_in(scope)
        wait = self._buckets.take(caller)
        if wait:
            later = max(1, math.ceil(wait))
            await busy(send, f"Too many requests; come back in {later} seconds.", later)
        elif self._needs_token and not isinstance(scope.get("user"), AuthenticatedUser):
            await refuse_token(send)
        elif not _names_are_sound(scope):
            refused = {"error": "misdirected", "error_description": "No such host is served here."}
            await _refuse(send, 421, refused)
        elif self._under_way[caller] >= self._at_once:
            words = f"{self._at_once} requests of yours are under way; wait for one to end."
            await busy(send, words, 1)
        else:
            await self._counted(caller, scope, receive, send)

    async def _counted(self, caller: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._under_way[caller] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way[caller] -= 1
            if not self._under_way[caller]:
                del self._under_way[caller]


def caller_in(scope: Scope) -> str:
    """Who counts for a request: its owner, or without credentials the address it comes from."""
    user, client = scope.get("user"), scope.get("client")
    if isinstance(user, AuthenticatedUser):
        return f"owner {user.username}"
    return f"from {caller_of(client[0] if client else None)}"


def _names_are_sound(scope: Scope) -> bool:
    """Whether Host and Origin are what they seem: `localhost:80.example.com` is not localhost."""
    forms = {b"host": _HOST, b"origin": _ORIGIN}
    return all(
        forms[name].fullmatch(value) is not None
        for name, value in scope["headers"]
        if name in forms
    )


async def refuse_token(send: Send) -> None:
    """Answer 401: nobody showed who they are."""
    refused = {
        "error": "invalid_token",
        "error_description": "A valid bearer token is needed.",
    }
    await _refuse(send, 401, refused, ("www-authenticate", "Bearer"))


async def busy(send: Send, words: str, seconds: int) -> None:
    """Answer 429: the caller shall come back in so many seconds."""
    error = {"code": BUSY, "message": words}  # as JSON-RPC, or clients would not show it
    refused = {"jsonrpc": "2.0", "id": None, "error": error}
    await _refuse(send, 429, refused, ("retry-after", str(seconds)))


async def _refuse(send: Send, status: int, refused: dict[str, Any], *more: tuple[str, str]) -> None:
    body = json.dumps(refused).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    headers |= dict(more)
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
