"""What the store needs of a database, whichever it is, and writes that rest on each other."""

from __future__ import annotations

import asyncio
import functools
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ...schemas.database import Location
from ...schemas.errors import StoreError
from .dbapi import Job

T = TypeVar("T")

seen: ContextVar[Chain | None] = ContextVar("seen", default=None)
"""The chain whose writes this task's reads see."""


class Chain:
    """Writes that rest on each other, of a caller who does not wait for the disk after each.

    Those that follow each other at once share a commit; once one is lost, so are those after it.
    Its own reads see them meanwhile: those that name it, and those of the task that is `seen_here`.
    Nothing that rests on them may leave the process before `settled`, which ends the chain:
    `waited` says that it has been called.
    """

    def __init__(self) -> None:
        self._commits: list[asyncio.Future[None]] = []
        self.waited = False

    def add(self, committed: asyncio.Future[None]) -> None:
        """Add a write to the chain, by the future of its commit."""
        self._commits = [c for c in self._commits if not c.done() or c.exception() is not None]
        self._commits.append(committed)

    def seen_here(self) -> None:
        """From now on this task's reads, and those of tasks it starts, see what was written."""
        seen.set(self)

    def check(self) -> None:
        """Raise StoreError if a commit failed."""
        for committed in self._commits:
            if committed.done():
                committed.result()

    async def settled(self) -> None:
        """Wait until all of it is on disk. Raises StoreError if a commit failed."""
        self.waited = True
        for committed in list(self._commits):
            await asyncio.shield(committed)


@dataclass(frozen=True)
class Failed:
    """Stands in place of a job's result: the exception it raised, put into words where it came from
    the database."""

    error: Exception


class Tried(Exception):
    """Undoes what was written only to see whether it can be."""


@dataclass(frozen=True)
class Busy:
    """How busy a database is, seen from this process: jobs that wait, and those of them that wait
    for a connection; and since it was opened transactions that were begun again, commits whose
    reply was lost (and that were looked up), and trips to the server."""

    waiting: int
    unconnected: int = 0
    retries: int = 0
    unknown: int = 0
    trips: int = 0


class Backend(Protocol):
    """A database that is opened once and closed once. `quota_bytes`: how many bytes one owner may
    store; None without limit."""

    quota_bytes: int | None

    @property
    def path(self) -> Location:
        """Where it is; as text it names no password."""
        ...

    async def open(self, *, fresh: bool = True) -> None:
        """Connect. Raises StoreError."""
        ...

    async def close(self) -> None:
        """Finish what is queued and let go."""
        ...

    @property
    def busy(self) -> Busy:
        """How busy it is."""
        ...

    def check_presence(self) -> None:
        """Raise StoreError when what is open is no longer what is there."""
        ...

    def hurry(self) -> None:
        """Begin at once with writes that were put off (`lazily`)."""
        ...

    def leave(self) -> None:
        """From now on wait only briefly for a lock or a server: this process is ending."""
        ...

    async def only_read(self) -> None:
        """Refuse every write from now on, in this process."""
        ...

    async def ping(self) -> None:
        """Raise StoreError unless something can be stored."""
        ...

    async def read(
        self,
        job: Job[T],
        *,
        session: int | None = None,
        single: bool = False,
        join: Chain | None = None,
    ) -> T:
        """Run `job` on one moment's view; with `single`, a job of one statement.

        With `join` it sees what that chain wrote. Reads of a `session` are answered in the order
        they were asked.
        """
        ...

    async def write(
        self,
        job: Job[T],
        *,
        session: int | None = None,
        after: Chain | None = None,
        join: Chain | None = None,
        lazily: bool = False,
    ) -> T:
        """Run `job` in a transaction, in which nobody else writes to the `session`.

        It is on disk when this returns; with `join` it may be so only once that chain is settled.
        A job `after` a chain is refused if that was lost; one that is written `lazily` may wait a
        moment for another.
        """
        ...


def not_open(path: Location) -> StoreError:
    """What is raised for a job while the database is not open."""
    return StoreError(
        f"The database {path} is not open: it is being closed, or opened anew.",
        "Call again; if that does not help, start the server again.",
    )


def resolve(future: asyncio.Future[Any], outcome: object) -> None:
    """Hand a job's result, or what it raised, to whoever waits for it; nothing if that is done."""
    if future.done():
        return
    if isinstance(outcome, Failed):
        future.set_exception(outcome.error)
        future.exception()  # marks it as seen: the caller may be gone
    else:
        future.set_result(outcome)


def checked_job(chain: Chain | None, job: Job[T]) -> Job[T]:
    """`job`, refused once a commit of `chain` has failed."""
    if chain is None:
        return job

    @functools.wraps(job)
    def checked(db: Any) -> T:
        chain.check()
        return job(db)

    return checked
