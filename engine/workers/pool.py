"""Local work that a caller's input can make long: in processes that are ended when it is too long.

Python cannot interrupt a regular expression, a validator or a long comparison, and holds everything
else up meanwhile. So a function of ours goes by name, with plain arguments (texts, numbers, lists,
dicts), to one of a few worker processes. They start when they are first needed, know nothing of the
server, and are replaced when one had to be killed. What is small its caller does at once.

A library for this would be `anyio.to_process`, which the SDK brings. It loads the program's main
module, here the server, into every worker, and a killed server leaves its workers behind at work.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from ...schemas import errors
from ...schemas.errors import TooLong
from .worker import LENGTH, MEMORY

P = ParamSpec("P")
T = TypeVar("T")

SECONDS = 5.0
"""How long one job may take."""
MOST = max(2, min(4, os.cpu_count() or 1))
"""Worker processes at once."""
_SCRIPT = str(Path(__file__).with_name("worker.py"))
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR")


def _needed() -> None:
    """Nothing speaks against the job."""


@dataclass(frozen=True)
class Job:
    """Who wants work done (`owner`), and what is told if it takes too long or too much memory.

    `what` begins that message, as in "Comparing two texts"; `advice` says what to do, as a
    sentence. `go` is called just before the work begins; it may raise an error, and then nothing is
    begun.
    """

    owner: str
    what: str
    advice: str
    go: Callable[[], None] = _needed


class Workers:
    """At most `most` processes, shared fairly: no owner can keep all of them busy.

    `busy` counts those at work by owner; `waiting` are the jobs whose turn has not come, by owner.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._seconds = most, SECONDS
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self.busy: Counter[str] = Counter()
        self.waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def run(self, job: Job, function: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        """What `function`, one of a module of this package, makes of `args`: plain values both.

        Cancelled, it ends the work. Raises TooLong, and the TextGradErrors that `function` raises.
        """
        async with self._turn(job.owner):
            job.go()
            asked: Any = (self._seconds, _paths(), function.__module__, function.__name__, args)
            try:
                message = marshal.dumps(asked)
            except ValueError:
                raise TooLong(f"{job.what} is nested too deeply.", job.advice) from None
            answer = await self._answer(job, message)
        return cast(T, _read(job, answer))

    async def close(self) -> None:
        """End all worker processes, whatever they are doing."""
        self._idle.clear()
        workers = list(self._all)
        for worker in workers:
            worker.kill()
        await asyncio.gather(*(worker.closed for worker in workers))

    async def _answer(self, job: Job, message: bytes) -> bytes:
        worker = self._idle.pop() if self._idle else await self._started(job)
        try:
            async with asyncio.timeout(self._seconds):
                answer = await worker.ask(message)
        except TimeoutError:
            words = f"{job.what} took longer than {self._seconds:g} s and was stopped."
            raise TooLong(words, job.advice) from None
        except EOFError:
            raise TooLong(f"{job.what} ended the process it ran in.", job.advice) from None
        finally:
            worker.rest(self._idle)
        return answer

    async def _started(self, job: Job) -> _Worker:
        env = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        command = [sys.executable, "-I", _SCRIPT, str(os.getpid())]
        loop = asyncio.get_running_loop()
        try:
            _, worker = await loop.subprocess_exec(
                lambda: _Worker(self._idle), *command, stderr=None, env=env, start_new_session=True
            )
        except OSError as error:
            words = f"{job.what} needs a process, and none can be started: {error.strerror}."
            raise TooLong(words, "Try again when the machine is less busy.") from error
        self._all.add(worker)
        worker.closed.add_done_callback(lambda _: self._all.discard(worker))
        return worker

    @asynccontextmanager
    async def _turn(self, owner: str) -> AsyncIterator[None]:
        """Wait for a place; the owners who wait take turns."""
        mine = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(owner, deque()).append(mine)
        self._grant()
        try:
            await mine
            yield
        finally:
            if mine.done() and not mine.cancelled():
                self.busy -= Counter([owner])
            self._grant()

    def _grant(self) -> None:
        """Give free places away: to those who hold fewest, and never all to one owner."""
        share = max(1, self._most - 1)
        while self.busy.total() < self._most:
            for owner in list(self.waiting):
                queue = self.waiting[owner]
                while queue and queue[0].done():
                    queue.popleft()  # it was cancelled
                if not queue:
                    del self.waiting[owner]
            able = [owner for owner in self.waiting if self.busy[owner] < share]
            if not able:
                return
            owner = min(able, key=lambda one: self.busy[one])
            queue = self.waiting.pop(owner)
            queue.popleft().set_result(None)
            self.waiting[owner] = queue  # behind the others
            self.busy[owner] += 1


class _Worker(asyncio.SubprocessProtocol):
    """One process, which does one job at a time."""

    def __init__(self, idle: list[_Worker]) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle = idle
        self._data = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.SubprocessTransport | None = None

    async def ask(self, message: bytes) -> bytes:
        """The answer to a job. Raises EOFError when the process ends instead."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        if self.closed.done():
            raise EOFError
        jobs = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        jobs.write(LENGTH.pack(len(message)) + message)
        return await self._answer

    def rest(self, idle: list[_Worker]) -> None:
        """Wait for the next job, or, if this one is not over, end."""
        answer = self._answer
        if answer and answer.done() and not answer.cancelled() and not answer.exception():
            idle.append(self)
        else:
            self.kill()

    def kill(self) -> None:
        """End the process, whatever it is at."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._data += data
        start = LENGTH.size
        if len(self._data) < start or self._answer is None or self._answer.done():
            return
        [length] = LENGTH.unpack(self._data[:start])
        if len(self._data) >= start + length:
            self._answer.set_result(bytes(self._data[start:]))
            self._data.clear()

    def process_exited(self) -> None:
        self.kill()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(EOFError())
        if not self.closed.done():
            self.closed.set_result(None)


def _paths() -> list[str]:
    return [path for path in sys.path if path]


def _read(job: Job, answer: bytes) -> object:
    state, *found = marshal.loads(answer)  # noqa: S302 - from a process of ours
    match state:
        case "done":
            return found[0]
        case "memory":
            words = f"{job.what} needed more than {MEMORY >> 30} GiB of memory and was stopped."
            raise TooLong(words, job.advice)
        case "refused":
            kind, message, following = found
            raise getattr(errors, kind)(message, following)
    raise RuntimeError(f"{found[0]} in a worker: {found[1]}")
