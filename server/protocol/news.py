"""What others change in the store: looked for while somebody watches, and announced.

Other servers on the same database change it, and so do runs of this one that go on without a
caller. All is found by looking again and again at marks of what is watched: so nothing can be
missed, and what has changed many times since the last look is announced once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from ...schemas.errors import TextGradError
from .watchers import ResourceWatchers

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.engine import Engine
    from ...engine.store.news import Owned

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0


class StoreNews:
    """Looks at the store at intervals for `watchers`, while they watch anything, and has what
    changed announced."""

    def __init__(self, watchers: ResourceWatchers, engine: Callable[[], Awaitable[Engine]]) -> None:
        self._watchers, self._engine = watchers, engine
        self._sessions: dict[str, str] = {}
        self._owners: dict[str, Owned] = {}
        self._alone = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    async def begin(self, owner: str, sessions: Iterable[str]) -> None:
        """Take the present state of these sessions of `owner` as known: what changes from now on is
        announced."""
        await self.told(owner, sessions)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_on())

    async def told(self, owner: str, sessions: Iterable[str]) -> None:
        """Take the present state of these sessions as known: their watchers were told of it, or are
        about to be."""
        try:
            news = (await self._engine()).store.news
            async with self._alone:
                self._sessions |= await news.of_sessions(sessions)
                self._owners |= await news.of_owners([owner])
        except TextGradError as error:  # then it is announced twice
            log.warning("what has changed is not known: %s", error)

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_on(self) -> None:
        said = ""
        while self._watchers.watches:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
                said = ""
            except TextGradError as error:
                if said != error.message:  # a file that is gone stays so for long
                    log.warning("changes made elsewhere cannot be announced: %s", error)
                said = error.message
            except Exception:
                log.exception("changes made elsewhere cannot be announced")

    async def look(self) -> None:
        """Announce what has changed since the last look. Raises StoreError."""
        news = (await self._engine()).store.news
        async with self._alone:
            watched = self._watchers.sessions()
            sessions = await news.of_sessions({one for ids in watched.values() for one in ids})
            owners = await news.of_owners(watched)
            before, self._sessions = self._sessions, sessions
            those, self._owners = self._owners, owners
        for owner, ids in watched.items():
            # What was not seen before is seen now: whoever watches it read it after that.
            changed = {one for one in ids & before.keys() if before[one] != sessions.get(one)}
            was, now = those.get(owner, owners[owner]), owners[owner]
            if changed or was != now:
                await self._watchers.announce(owner, changed, new=was.newest < now.newest)
