"""Watches what other processes run, and takes up unasked what they left."""

from __future__ import annotations

import asyncio
import logging

from ...schemas.errors import TextGradError
from .runner import Runner

log = logging.getLogger(__name__)
IDLE_SECONDS, BUSY_SECONDS = 1.0, 0.25
"""Between two looks, while nothing runs elsewhere and while something does."""
MOST_TAKEN = 3
"""A run that was taken over so often without an end may be what ends the processes."""


class Sweep:
    """A background task that looks for runs of processes that have gone, and goes on with them."""

    def __init__(self, runs: Runner) -> None:
        self._runs = runs
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        if self._task is None:
            self._task = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _sweep(self) -> None:
        busy, told = False, ""
        while True:
            await asyncio.sleep(BUSY_SECONDS if busy else IDLE_SECONDS)
            try:
                busy = await self._runs.look_after(MOST_TAKEN)
                told = ""
            except TextGradError as error:
                if told != error.message:  # a file that is gone stays so for long
                    log.warning("could not look for runs that nobody goes on with: %s", error)
                told = error.message
            except Exception:
                log.exception("could not look for runs that nobody goes on with")
