"""How many calls may be in flight at one endpoint, learnt from what the endpoint says."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from .traits import Traits


class Limiter:
    """At most `most` calls at once, fewer while the endpoint says that it is too many.

    First come, first served. A "too many requests" halves the limit, once for all the calls
    that were in flight together, and holds new starts back for a while; each limit's worth of
    successes then raises it by one. Belongs to one event loop.
    """

    def __init__(self, most: int, *, spread: float = 0.25) -> None:
        """`spread` lengthens each hold by a random part of itself, up to this share."""
        self.most = most
        self._allowed = float(most)
        self._spread = spread
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._wave = 0

    @property
    def allowed(self) -> int:
        """How many calls may be in flight now, at least 1."""
        return max(1, int(min(self._allowed, self.most)))

    @property
    def active(self) -> int:
        """How many calls are in flight."""
        return self._active

    @property
    def waiting(self) -> int:
        """How many callers wait until their call may go out."""
        return sum(not turn.done() for turn in self._waiting)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait until one more call may go out, and count it until the block ends.

        Yields the number of the wave that the call belongs to: `throttled` wants to know it.
        """
        await self._acquire()
        try:
            yield self._wave
        finally:
            self._active -= 1
            self._wake()

    def throttled(self, wave: int, wait: float) -> None:
        """The endpoint said "too many requests" to a call of `wave`: halve the limit, once for all
        calls of that wave, and start no call for `wait` seconds."""
        if wave == self._wave:
            self._wave += 1
            self._allowed = max(1.0, self.allowed / 2)
        until = wait * (1 + self._spread * random.random())  # noqa: S311 - not a secret
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + until)

    def succeeded(self) -> None:
        """A call was answered: the limit may rise a little."""
        self._allowed = min(float(self.most), self._allowed + 1 / self._allowed)
        self._wake()

    async def _acquire(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the slot was given in the same moment
                self._active -= 1
            self._wake()
            raise

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and loop.time() < self._held_until:
            self._timer = loop.call_at(self._held_until, self._wake)
            return
        while self._waiting and self._active < self.allowed:
            turn = self._waiting.popleft()
            if not turn.done():  # else its caller was cancelled
                self._active += 1
                turn.set_result(None)


class Load(NamedTuple):
    """Calls in flight at an endpoint, those that wait for that, and how many may be in flight."""

    active: int = 0
    waiting: int = 0
    allowed: int = 0


class Limiters:
    """One limiter for each endpoint and key, and what is known of each of its models, whoever
    calls it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Limiter] = {}
        self._traits: dict[tuple[str, str], Traits] = {}

    def of(self, endpoint: str, key: str, most: int) -> Limiter:
        """The endpoint's limiter. Where callers set different limits, the lowest holds."""
        limiter = self._known.setdefault((endpoint.rstrip("/"), key), Limiter(most))
        limiter.most = min(limiter.most, most)
        return limiter

    def loads(self) -> dict[str, Load]:
        """How busy each endpoint is, whatever keys it is called with."""
        found: dict[str, Load] = {}
        for (endpoint, _), one in self._known.items():
            before = found.get(endpoint, Load())
            more = (one.active, one.waiting, one.allowed)
            found[endpoint] = Load(*map(sum, zip(before, more, strict=True)))
        return found

    def traits(self, endpoint: str, model: str) -> Traits:
        """What is known of a model at an endpoint, to be added to."""
        return self._traits.setdefault((endpoint.rstrip("/"), model), Traits())
