"""How far a run is that another process carries out, for whoever waits for it here."""

from __future__ import annotations

import time

from ...schemas.graph import Run, number
from ..store.news import News
from .context import Progress

TELL_SECONDS = 0.5


class Elsewhere:
    """Reads from the store how far a run in another process is, and tells its waiting caller."""

    def __init__(self, news: News, session: int, on_progress: Progress | None) -> None:
        self._news, self._session, self._on_progress = news, session, on_progress
        self._told = 0.0

    async def counted(self, run: Run) -> tuple[int, int]:
        """How many of the run's calls were answered, and how many it asked."""
        return await self._news.progress(self._session, number(run.id, "r") or 0)

    async def tell(self, run: Run) -> None:
        """Tell whoever waits, unless that was done a moment ago."""
        if self._on_progress is None or time.monotonic() < self._told + TELL_SECONDS:
            return
        self._told = time.monotonic()
        answered, asked = await self.counted(run)
        self._on_progress(answered, asked, f"{run.tool}, at another server")
