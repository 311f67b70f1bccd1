"""Streams end with the token that opened them: it is looked at again while they last."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import refuse_token

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0


class Verifier(Protocol):
    """Tells whose token it is."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """The principal, or None."""
        ...


@dataclass(eq=False)
class _Answer:
    """One request under way: what ends it, and how far its answer is."""

    owner: str
    end: anyio.CancelScope
    begun: bool = False
    sized: bool = False


class Recheck:
    """Ends what is under way for a token that is good no more.

    An answer of a known length is let be: it is on its way, and half of it would be no answer.
    """

    def __init__(self, app: ASGIApp, *, check: Verifier, seconds: float = LOOK_SECONDS) -> None:
        self._app = app
        self._check = check
        self._seconds = seconds
        self._under_way: dict[str, set[_Answer]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for as long as its token is good."""
        user = scope.get("user")
        if scope["type"] != "http" or not isinstance(user, AuthenticatedUser):
            await self._app(scope, receive, send)
            return
        answer = _Answer(user.username, anyio.CancelScope())
        token = _bearer(scope)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.begun = True
                answer.sized = any(name == b"content-length" for name, _ in message["headers"])
            await send(message)

        self._begin(token, answer)
        try:
            with answer.end:
                await self._app(scope, receive, noting)
        finally:
            self._forget(token, answer)
        if answer.end.cancelled_caught:
            await _close(answer, send)

    def _begin(self, token: str, answer: _Answer) -> None:
        self._under_way.setdefault(token, set()).add(answer)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def _forget(self, token: str, answer: _Answer) -> None:
        answers = self._under_way[token]
        answers.remove(answer)
        if not answers:
            del self._under_way[token]

    async def _look(self) -> None:
        while self._under_way:
            await asyncio.sleep(self._seconds)
            for token in list(self._under_way):
                found = await self._check.verify_token(token)
                owner = found.client_id if found else None
                for answer in self._under_way.get(token, ()):
                    if answer.owner != owner and not answer.sized:
                        log.warning(
                            "a stream of %s ended: its token is no longer good", answer.owner
                        )
                        answer.end.cancel()


async def _close(answer: _Answer, send: Send) -> None:
    if answer.begun:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        await refuse_token(send)


def _bearer(scope: Scope) -> str:
    """The token, as the backend that let it in reads it."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return str(values[0].decode("latin-1")[len("bearer ") :])
