"""Whose a run is: signs of life for our own, and how long others have given none for theirs.

No clock of another machine is believed, and no process id. A process shows that it lives by
changing the leases of its runs; it counts as gone when one has not changed for `LEASE_SECONDS` of
the observer's own time, while the observer itself looked all along.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...schemas.errors import TextGradError
from ...schemas.graph import Run
from ..store import Store
from ..store.runs import LEASE_SECONDS
from .context import RunContext

log = logging.getLogger(__name__)
BEATS = 4
"""Signs of life in the time after which a process counts as gone."""
BLINK_SECONDS = 5.0
"""An observer who did not look for so long may have slept, and begins anew."""
MOST_SIGHTINGS = 10_000


class Heart:
    """Gives signs of life for the runs of this process, for as long as there are any.

    `works` tells which they are. Those that are no longer its own, as it then turns out, are told
    as `lost`.
    """

    def __init__(
        self,
        store: Store,
        works: Callable[[], Iterable[RunContext]],
        lost: Callable[[RunContext], None],
    ) -> None:
        self.process = secrets.token_hex(16)
        self.pause = LEASE_SECONDS / BEATS
        self._store, self.works, self._lost = store, works, lost
        self._task: asyncio.Task[None] | None = None

    def beat(self) -> None:
        """Begin to give signs of life, if that is not done already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._beat())

    @property
    def count(self) -> int:
        """How many runs are under way in this process."""
        return len(list(self.works()))

    @property
    def age(self) -> float:
        """Seconds since the last sign for the run that has waited longest for one; 0 without."""
        since = [work.alive_until - LEASE_SECONDS for work in self.works()]
        return max(0.0, time.monotonic() - min(since)) if since else 0.0

    async def stop(self) -> None:
        """Give no more signs of life."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _beat(self) -> None:
        while list(self.works()):
            await asyncio.sleep(self.pause)
            try:
                await self._once(list(self.works()))
            except TextGradError as error:  # a file that is locked now may be free the next time
                log.warning("no sign of life could be given: %s", error)
            except Exception:
                log.exception("no sign of life could be given")

    async def _once(self, works: list[RunContext]) -> None:
        until = time.monotonic() + LEASE_SECONDS
        by_key = {(work.session.pk, work.run.id): work for work in works}
        ours = await self._store.runs.keep_alive(self.process, by_key)
        for key, work in by_key.items():
            if key in ours:
                work.alive_until = until
            else:
                self._lost(work)


@dataclass
class _Sighting:
    process: str
    lease: float
    since: float
    last: float


class Sightings:
    """What was seen of other processes' runs, and when, by the time of this process."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: dict[tuple[int, str], _Sighting] = {}

    def gone(self, session: int, run: Run) -> bool:
        """Whether the process of a running run, as it was just read, gives no sign of life."""
        now = self._now()
        one = self._seen.pop((session, run.id), None)
        if one is None or (one.process, one.lease) != (run.process, run.lease):
            one = _Sighting(run.process, run.lease, now, now)
        elif now - one.last > BLINK_SECONDS:
            one.since = now
        one.last = now
        self._seen[session, run.id] = one
        if len(self._seen) > MOST_SIGHTINGS:
            del self._seen[next(iter(self._seen))]
        return now - one.since >= LEASE_SECONDS

    @property
    def silence(self) -> float:
        """For how many seconds the quietest of the processes seen a moment ago has given no sign of
        life."""
        now = self._now()
        seen = [one for one in self._seen.values() if now - one.last <= BLINK_SECONDS]
        return max((now - one.since for one in seen), default=0.0)

    def forget(self, session: int, run: Run) -> None:
        """Forget what was seen of a run, so that its process has all the time again to show that it
        lives."""
        self._seen.pop((session, run.id), None)
