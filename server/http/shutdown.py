"""How the HTTP server ends: calls under way may end first, or are stopped in words, resumably."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ..logs import guard_log
from .connections import BACKLOG

log = logging.getLogger(__name__)
Step = Callable[[], Awaitable[None]]


class RequestCounter:
    """Counts the requests that are being answered. Streams that only listen (GET) do not count.

    Outermost of all, it also knows that a caller who hangs up is no failure of the server.
    """

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def layer(self, app: ASGIApp) -> ASGIApp:
        """`app`, with its requests counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] != "POST":
                await app(scope, receive, send)
                return
            self._count += 1
            self._none.clear()
            try:
                with contextlib.suppress(ClientDisconnect):
                    await app(scope, receive, send)
            finally:
                self._count -= 1
                if self._count == 0:
                    self._none.set()

        return counted

    async def ended(self, seconds: float) -> bool:
        """Wait until no request is under way, at most so many seconds; gives whether that is so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()
        return self._none.is_set()


class GracefulServer(uvicorn.Server):
    """Runs `begin` beside its start, and `leave` when it is told to end, before it cuts
    connections. A second signal cuts them at once."""

    def __init__(self, config: uvicorn.Config, begin: Step, leave: Step) -> None:
        super().__init__(config)
        self._begin_with, self._leave = begin, leave
        self._beginning: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def startup(self, *args: object, **more: object) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        guard_log()
        await super().startup(*args, **more)  # type: ignore[arg-type]
        for server in self.servers:
            for listening in server.sockets:
                _let_wait(listening)
        self._beginning = asyncio.create_task(self._start())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self._loop is None or self._leaving is not None:
            super().handle_exit(sig, frame)
            return
        self._loop.call_soon_threadsafe(self._begin, sig)

    def _begin(self, sig: int) -> None:
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._go(sig))

    async def _start(self) -> None:
        try:
            await self._begin_with()
        except Exception:
            log.exception("not everything could be begun")

    async def _go(self, sig: int) -> None:
        for server in self.servers:
            server.close()  # nobody new comes in
        try:
            await self._leave()
        except Exception:
            log.exception("not everything could be stopped in order")
        finally:
            super().handle_exit(signal.Signals(sig), None)


def _let_wait(listening: socket.socket) -> None:
    """Let more callers wait to be accepted than are accepted at a stretch."""
    with listening.dup() as same:
        same.listen(BACKLOG)
