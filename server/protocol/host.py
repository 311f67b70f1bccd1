"""The engine behind the server: opened when it is first needed, with whoever answers its calls."""

from __future__ import annotations

import asyncio
import logging
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context

from ...schemas.errors import StoreError
from ...schemas.settings import RoleSettings, Settings
from ..page.pages import Pages
from ..settings.load import default_database, resolve
from .principal import LOCAL, principal
from .readers import Readers
from .request_state import NAME
from .sampling import Sampling

if TYPE_CHECKING:
    from ...engine.answerers import Answerer
    from ...engine.answerers.limiter import Limiters
    from ...engine.engine import Engine

log = logging.getLogger(__name__)


class Host:
    """Opens the engine when it is first needed, so that start-up is quick and a bad database
    is an error a model can read instead of a server that does not start."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = settings.database or default_database()
        self._engine: Engine | None = None
        self.limiters: Limiters | None = None
        self.pages = Pages(settings, self.path, LOCAL)
        self.readers = Readers()
        self._opening = asyncio.Lock()
        self._fresh = True

    async def engine(self) -> Engine:
        """The engine, opened now if need be; anew where another file is in the database's place.

        Raises StoreError. While no file is there nothing is let go of: it may be put back.
        """
        async with self._opening:
            if self._engine is not None:
                try:
                    self._engine.store.check_presence()
                except StoreError as gone:
                    if isinstance(self.path, Path) and not os.path.exists(self.path):  # noqa: ASYNC240
                        raise
                    log.warning("%s It is opened anew.", gone.message)
                    await self.close()
            if self._engine is None:
                self._engine = await self._opened()
            return self._engine

    async def _opened(self) -> Engine:
        await asyncio.to_thread(import_module, "...engine.engine", __package__)
        from ...engine.answerers.limiter import Limiters
        from ...engine.engine import Engine
        from ...engine.store import Store

        store = Store(self.path)
        await store.open(fresh=self._fresh)
        self._fresh = False
        self.limiters = Limiters()
        engine = Engine(self.settings, store, answerers(self.settings, self.limiters))
        engine.parts.sweep.start()
        return engine

    async def key(self) -> str:
        """What seals rounds: the same for all servers on the database. Raises StoreError."""
        return await (await self.engine()).store.maintenance.shared_key(NAME)

    @property
    def opened(self) -> Engine | None:
        """The engine, if it is open."""
        return self._engine

    def owner(self, ctx: Context[Any, Any]) -> str:
        """Who calls: the principal of an HTTP request, else whoever started the process."""
        return principal(ctx.request_context.request)

    async def stop(self) -> None:
        """Stop the runs under way: who waits for one is told, and it can be resumed."""
        if self._engine is not None:
            await self._engine.runs.close()

    async def close(self) -> None:
        """Leave everything resumable."""
        await self.pages.close()
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.close()


def answerers(settings: Settings, limiters: Limiters | None = None) -> dict[str, Answerer]:
    """Who answers the calls of each role and further model, by configuration."""
    from ...engine.answerers.limiter import Limiters

    limiters = limiters or Limiters()
    return {name: _answerer(one, limiters) for name, one in settings.answering.items()}


def _answerer(settings: RoleSettings, limiters: Limiters) -> Answerer:
    from ...engine.answerers import made

    name = resolve(settings)
    return Sampling(settings) if name == "sampling" else made(name, settings, limiters)
