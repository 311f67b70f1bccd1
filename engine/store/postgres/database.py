"""One PostgreSQL database, many server processes on many machines: who reads and writes when.

Jobs of one session go through one lane, in the order they were asked: reads are answered in that
order, and writes that wait together share a commit. Lanes do not wait for each other. Between
processes the session's row is the lock, which every transaction that writes to it takes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ....schemas.database import PostgresAddress
from ....schemas.errors import StoreError
from ..backend import Busy, Chain, Failed, Tried, checked_job, not_open, resolve
from ..connection import Fault
from ..dbapi import Connection, Job
from .schema import check_version
from .transactions import PATIENCE_SECONDS, Counts, Transactions

T = TypeVar("T")
OPEN_SECONDS = 5.0
"""For so long a server that cannot be reached is waited for when a database is opened."""
LAST_SECONDS = 1.0
"""How long a process that ends waits for a server that is away."""
MOST_TOGETHER = 64
"""So many jobs of a session share a transaction at most."""


@dataclass
class _Waiting:
    job: Job[Any]
    writes: bool
    single: bool
    result: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class PostgresDatabase:
    """A database on a server, opened once and closed once.

    `fault` is called at each commit boundary (tests of durability use it). `quota_bytes` is how
    much one owner may have stored.
    """

    quota_bytes: int | None = None

    def __init__(self, path: PostgresAddress, fault: Fault | None = None) -> None:
        self.path = path
        self._fault = fault or (lambda point: None)
        self._threads: ThreadPoolExecutor | None = None
        self._transactions = Transactions(path, self._fault)
        self._waiting: dict[Hashable, list[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._only_reads = False

    @property
    def counts(self) -> Counts:
        """What became of the transactions so far."""
        return self._transactions.counts

    @property
    def busy(self) -> Busy:
        """How busy it is: each lane that is at work has one job of its thread's, or waits for a
        thread with a connection."""
        counts, lanes = self.counts, len(self._tasks)
        return Busy(
            waiting=sum(map(len, self._waiting.values())),
            unconnected=max(0, lanes - self.path.connections),
            retries=counts.retries,
            unknown=counts.unknown,
            trips=counts.trips,
        )

    async def open(self, *, fresh: bool = True) -> None:
        """Connect and check that the schema is one we can use. Raises StoreError.

        The schema is made by `migrate` alone.
        """
        if self._threads is not None:
            return
        self._threads = ThreadPoolExecutor(self.path.connections, "textgrad-postgres")
        self._transactions.patience = OPEN_SECONDS
        try:
            await self.read(check_version(self.path))
        except BaseException:
            await self.close()
            raise
        self._transactions.patience = PATIENCE_SECONDS

    async def close(self) -> None:
        """Finish what is queued and let go of the server."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
            self._transactions.close()

    def check_presence(self) -> None:
        """Nothing to do: a server cannot be exchanged unseen while it is connected to."""

    def hurry(self) -> None:
        """Nothing to do: nothing is put off."""

    def leave(self) -> None:
        """Wait for a server that is away for a moment only: this process ends."""
        self._transactions.patience = LAST_SECONDS

    async def only_read(self) -> None:
        """Refuse every write from now on, in this process."""
        self._only_reads = True

    async def ping(self) -> None:
        """Raise StoreError unless something can be stored. It is tried, and undone."""
        look = check_version(self.path)

        def job(db: Connection) -> None:
            look(db)
            raise Tried

        with suppress(Tried):
            await self.write(job)

    async def read(
        self,
        job: Job[T],
        *,
        session: int | None = None,
        single: bool = False,
        join: Chain | None = None,
    ) -> T:
        """Run `job` on one moment's view; with `single`, a job of one statement.

        Reads of the same `session` (and those of none) are answered in the order they were asked.
        What a chain has written is committed, and seen by all.
        """
        made: T = await self._submit(("session", session), _Waiting(job, False, single))
        return made

    async def write(
        self,
        job: Job[T],
        *,
        session: int | None = None,
        after: Chain | None = None,
        join: Chain | None = None,
        lazily: bool = False,
    ) -> T:
        """Run `job` in a transaction; when this returns, what it wrote is committed.

        Nobody else writes to the `session` meanwhile: what the job has read of it holds.
        """
        if self._only_reads:
            raise StoreError("This process only reads the database.", "Use another command.")
        checked = checked_job(join or after, job)
        # What belongs to no session waits for nobody: signs of life among them.
        lane = ("session", session) if session is not None else ("alone", object())
        made: T = await self._submit(lane, _Waiting(checked, True, False))
        return made

    async def _submit(self, lane: tuple[str, Any], waiting: _Waiting) -> Any:
        if self._threads is None:
            raise not_open(self.path)
        if lane in self._waiting:
            self._waiting[lane].append(waiting)
        else:
            self._waiting[lane] = [waiting]
            task = asyncio.create_task(self._drain(lane, self._threads))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # Shielded: a cancelled caller must not cancel the future the lane will resolve.
        return await asyncio.shield(waiting.result)

    async def _drain(self, lane: tuple[str, Any], threads: ThreadPoolExecutor) -> None:
        try:
            while batch := self._waiting[lane][:MOST_TOGETHER]:
                del self._waiting[lane][: len(batch)]
                work = self._work(lane, batch)
                await self._done(threads, *work)
        finally:
            for left in self._waiting.pop(lane):
                left.result.cancel()

    def _work(
        self, lane: tuple[str, Any], batch: Sequence[_Waiting]
    ) -> tuple[Sequence[_Waiting], Callable[[], list[object]]]:
        """What is done of a batch now, and how; the rest goes back.

        Reads of one statement first, for they need no transaction; then all others together.
        """
        do, name = self._transactions, lane[1]
        looks = [waiting for waiting in batch if waiting.single]
        if looks:
            self._waiting[lane][:0] = [waiting for waiting in batch if not waiting.single]
            return looks, lambda: do.look([waiting.job for waiting in looks])
        jobs = [waiting.job for waiting in batch]
        if not any(waiting.writes for waiting in batch):
            return batch, lambda: do.read(jobs)
        return batch, lambda: do.write(jobs, name if isinstance(name, int) else None)

    async def _done(
        self,
        threads: ThreadPoolExecutor,
        batch: Sequence[_Waiting],
        work: Callable[[], list[object]],
    ) -> None:
        try:
            outcomes = await asyncio.get_running_loop().run_in_executor(threads, work)
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.result.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - every caller of the batch is told
            outcomes = [Failed(error)] * len(batch)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            resolve(waiting.result, outcome)
