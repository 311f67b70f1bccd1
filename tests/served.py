"""A server in memory for tests that are not coroutines themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from mcp import Client
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.app import TextGradServer, build

T = TypeVar("T")
CALL_SECONDS = 60


class Served:
    """A server in memory and its client, in an event loop that runs only while it is called."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._settings = settings
        self.start()

    def start(self) -> None:
        """Begin to serve."""
        self._stop = asyncio.Event()
        self._task = self._loop.create_task(self._serve())
        self._loop.run_until_complete(self._begun())

    def stop(self) -> None:
        """Hang up."""
        self._stop.set()
        self._loop.run_until_complete(self._task)

    def close(self) -> None:
        """Hang up for good."""
        self.stop()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _begun(self) -> None:
        self._up: asyncio.Future[None] = self._loop.create_future()
        await asyncio.wait({self._task, self._up}, return_when=asyncio.FIRST_COMPLETED)

    async def _serve(self) -> None:
        self.server: TextGradServer = build(self._settings)
        async with Client(self.server) as self.client:
            self._up.set_result(None)
            await self._stop.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of `work`; a hang is an error."""
        return self._loop.run_until_complete(asyncio.wait_for(work, CALL_SECONDS))

    async def store(self) -> Store:
        """The server's own store."""
        assert self.server.host is not None
        return (await self.server.host.engine()).store
