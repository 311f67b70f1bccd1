"""The page of one server process: its views of the database and its viewer, made when needed."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from ...schemas.database import Location
from ...schemas.settings import Settings

if TYPE_CHECKING:  # imported when the page is first asked for: it takes a fifth of the start
    from ...engine.engine import Engine
    from ...engine.views.page import Page
    from .viewer import Viewer


class Pages:
    """Keeps the views, which keep what they have compared, and the viewer, which keeps its key."""

    def __init__(self, settings: Settings, database: Location, owner: str) -> None:
        self._settings = settings
        self._database, self._owner = database, owner
        self._page: Page | None = None
        self._viewer: Viewer | None = None
        self._opening = asyncio.Lock()

    async def of(self, engine: Engine) -> Page:
        """The views of the database that `engine` has open."""
        await asyncio.to_thread(import_module, "...engine.views.page", __package__)
        from ...engine.views.page import Page
        from ...engine.views.replay import Reader

        if self._page is None or self._page.store is not engine.store:
            self._page = Page(Reader(engine.store, self._settings, engine.parts.workers))
        return self._page

    async def viewer(self) -> Viewer:
        """The viewer in this process, opened now if need be. Raises StoreError."""
        async with self._opening:
            if self._viewer is None:
                await asyncio.to_thread(import_module, ".viewer", __package__)
                from .viewer import opened

                self._viewer = await opened(self._settings, self._database, owner=self._owner)
            return self._viewer

    async def close(self) -> None:
        """End the viewer, if there is one."""
        self._page = None
        if self._viewer is not None:
            viewer, self._viewer = self._viewer, None
            await viewer.close()
