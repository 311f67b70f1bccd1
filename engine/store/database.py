"""One SQLite file, many server processes: who reads and writes when, and what shares a commit.

Every transaction is a job on one queue, run on one thread. A caller that is cancelled
leaves its transaction whole, tasks cannot interleave inside one, and jobs that wait together
are committed together (each in its own savepoint), so a hundred replies cost a few commits.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import aiosqlite

from ...schemas.errors import StoreError
from .backend import Busy, Chain, Failed, Tried, checked_job, not_open, resolve, seen
from .causes import ROOM, explain, obstacle
from .connection import Connected, Fault, Transactions, connect
from .dbapi import Job

T = TypeVar("T")
P = ParamSpec("P")
LAZY_SECONDS = 0.05
"""How long a lazy write waits for another to go with."""

PAUSE_SECONDS = 0.002
"""Between two transactions of a busy process, so that others come to write, too."""

TURNS = 10
"""Turns of the event loop in which a caller who was just answered can ask for more."""

HOLD_SECONDS = 0.05
"""For so long a transaction is kept open for what follows; meanwhile no other process can write."""


@dataclass
class _Waiting(Generic[T]):
    job: Job[T]
    writes: bool = False
    single: bool = False
    chain: Chain | None = None
    result: asyncio.Future[T] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    committed: asyncio.Future[None] | None = None
    lazy: bool = False


class Connection(aiosqlite.Connection):
    """aiosqlite's connection and thread, on which a whole transaction runs as one call."""

    def __init__(self, path: Path, fault: Fault, *, fresh: bool) -> None:
        super().__init__(self._open, 64)
        self._path, self._fault, self._fresh = path, fault, fresh
        self.refused: Exception | None = None

    def _open(self) -> sqlite3.Connection:
        try:
            return connect(self._path, fresh=self._fresh)
        except Exception as error:  # noqa: BLE001 - raised by whoever opens
            self.refused = error  # raised here, it would end the thread unwaited for
            return Connected(":memory:")

    @property
    def connected(self) -> Connected:
        """The connection itself, once the file is open."""
        assert isinstance(self._conn, Connected)
        return self._conn

    def transactions(self) -> Transactions:
        """The open file's transactions, to be run on the thread."""
        return Transactions(self.connected, self._path, self._fault)

    async def trip(self, work: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        """The result of `work`, run on the thread."""
        done: T = await self._execute(work, *args)  # type: ignore[no-untyped-call]
        return done

    def send(self, work: Callable[[], object]) -> None:
        """Have `work` run on the thread without waiting for it."""
        self._tx.put_nowait((None, work))


class Database:
    """A database that is opened once and closed once.

    `fault` is called at each commit boundary (tests of durability use it). `quota_bytes` is how
    much one owner may have stored.
    """

    quota_bytes: int | None = None

    def __init__(self, path: Path, fault: Fault | None = None) -> None:
        self.path = path
        self._fault = fault or (lambda point: None)
        self._queue: list[_Waiting[Any]] = []
        self._due: asyncio.TimerHandle | None = None
        self._worker: asyncio.Task[None] | None = None
        self._connection: Connection | None = None

    async def open(self, *, fresh: bool = True) -> None:
        """Connect, check that the file is ours, migrate. Raises StoreError; overwrites nothing.

        A file that is missing or empty is made only when it may be a `fresh` one.
        """
        if self._connection is not None:
            return
        connection = Connection(self.path, self._fault, fresh=fresh)
        await connection
        if connection.refused is not None:
            await connection.close()
            raise connection.refused
        self._connection = connection

    async def close(self) -> None:
        """Finish what is queued and let go of the file."""
        if self._connection is not None:
            self.hurry()
        if self._worker is not None:
            await self._worker
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    @property
    def busy(self) -> Busy:
        """How busy it is."""
        return Busy(len(self._queue))

    def check_presence(self) -> None:
        """Raise StoreError when the file that is open is no longer the one that is there."""
        if self._connection is not None:
            self._connection.connected.check_presence()

    def leave(self) -> None:
        """Nothing to do: a file that is locked is free again when a process ends."""

    async def only_read(self) -> None:
        """Refuse every write from now on, in this process.

        Not by opening the file read-only: such a connection could not roll back what a server
        that was killed had begun.
        """
        await self.read(lambda db: db.execute("PRAGMA query_only = ON"), single=True)

    async def ping(self) -> None:
        """Raise StoreError unless something can be stored. It is tried, and undone."""
        with suppress(Tried):
            await self.write(self._try)

    def _try(self, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO owner_calls VALUES ('', zeroblob(?), 0)", (ROOM,))
        found = obstacle(self.path)
        if found is not None:
            raise StoreError(f"The database {self.path} {found[0]}.", found[1])
        raise Tried

    async def read(
        self,
        job: Job[T],
        *,
        session: int | None = None,
        single: bool = False,
        join: Chain | None = None,
    ) -> T:
        """Run `job` on a consistent snapshot; with `single`, a job of one statement, which needs
        no transaction for that. With `join` it sees what the chain wrote and is not on disk yet.
        Reads are answered in the order they were asked, at least those of the same `session`.
        """
        return await self._submit(_Waiting(job, single=single, chain=join or seen.get()))

    async def write(
        self,
        job: Job[T],
        *,
        session: int | None = None,
        after: Chain | None = None,
        join: Chain | None = None,
        lazily: bool = False,
    ) -> T:
        """Run `job` in a transaction; when this returns, what it wrote is on disk.

        Nobody else writes to the `session` meanwhile: what the job has read of it holds.
        Not so with `join`: then the job has run, and its commit is the chain's to wait for.
        A job `after` a chain is refused with its error if that was lost. One that is run
        `lazily` waits a moment for another write, before which it is done.
        """
        checked = checked_job(join or after, job)
        if join is None:
            return await self._submit(_Waiting(checked, writes=True, lazy=lazily))
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(checked, writes=True, chain=join, committed=committed, lazy=lazily)
        made = await self._submit(waiting)
        join.add(committed)
        return made

    def hurry(self) -> None:
        """Begin at once with writes that were put off (`lazily`)."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
            self._wake()

    async def _submit(self, waiting: _Waiting[T]) -> T:
        if self._connection is None:
            raise not_open(self.path)
        self._queue.append(waiting)
        if not waiting.lazy:
            self._wake()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(LAZY_SECONDS, self.hurry)
        # Shielded: a cancelled caller must not cancel the future the worker will resolve.
        return await asyncio.shield(waiting.result)

    def _wake(self) -> None:
        if self._connection is not None and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._drain(self._connection))

    def _take(self) -> list[_Waiting[Any]]:
        """What is to be done now: all, or only the reads while every write is a lazy one."""
        stay: list[_Waiting[Any]] = []
        if self._due is not None:
            if any(waiting.writes and not waiting.lazy for waiting in self._queue):
                self._due.cancel()
                self._due = None
            else:
                stay = [waiting for waiting in self._queue if waiting.lazy]
        taken = [waiting for waiting in self._queue if not (stay and waiting.lazy)]
        self._queue = stay
        return taken

    async def _drain(self, connection: Connection) -> None:
        file = connection.transactions()
        while batch := self._take():
            # Reads first: behind a write they would wait for the disk.
            looks = [waiting for waiting in batch if waiting.single]
            if looks:
                found = await connection.trip(file.look, [w.job for w in looks])
                _resolve(looks, found)
            if len(looks) < len(batch):
                await self._transact(connection, file, [w for w in batch if not w.single])
                if self._queue:
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _transact(
        self, connection: Connection, file: Transactions, batch: list[_Waiting[Any]]
    ) -> None:
        """One transaction; those who do not wait for its commit may add to it at once."""
        done: list[_Waiting[Any]] = []
        outcomes: list[object] = []
        clock = asyncio.get_running_loop().time
        until = clock() + HOLD_SECONDS
        try:
            while batch:
                done += batch
                # A transaction that began to read may not go on to write: BEGIN IMMEDIATE is for
                # that, or two processes that read would each wait for the other to end.
                stays = any(waiting.committed is not None for waiting in done)
                open_ended = stays and any(waiting.chain is not None for waiting in batch)
                last = not open_ended or clock() > until
                outcomes += await connection.trip(_run, file, batch, last)
                _resolve_early(done, outcomes)
                batch = [] if last else await self._following(done)
            if not last:
                await connection.trip(file.commit)
        except asyncio.CancelledError:
            connection.send(file.rollback)
            raise
        except Exception as error:  # noqa: BLE001 - every caller of the batch is told
            outcomes = [Failed(explain(error, self.path))] * len(done)
        _resolve(done, outcomes)

    async def _following(self, done: list[_Waiting[Any]]) -> list[_Waiting[Any]]:
        """What came right after the jobs in the open transaction: writes, and reads of theirs."""
        chains = [waiting.chain for waiting in done if waiting.chain is not None]

        def follows(waiting: _Waiting[Any]) -> bool:
            return waiting.writes or any(waiting.chain is chain for chain in chains)

        await self._turns(
            lambda: any(map(follows, self._queue)) or all(chain.waited for chain in chains)
        )
        found = [waiting for waiting in self._queue if follows(waiting)]
        self._queue = [waiting for waiting in self._queue if not follows(waiting)]
        return found

    async def _turns(self, enough: Callable[[], bool]) -> None:
        for _ in range(TURNS):
            if enough():
                return
            await asyncio.sleep(0)


def _run(file: Transactions, batch: list[_Waiting[Any]], commit: bool) -> list[object]:
    outcomes = file.run([(waiting.job, waiting.writes) for waiting in batch])
    if commit:
        file.commit()
    return outcomes


def _resolve_early(batch: list[_Waiting[Any]], outcomes: list[object]) -> None:
    """Answer those who do not wait for the commit."""
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.chain is not None:
            resolve(waiting.result, outcome)


def _resolve(batch: list[_Waiting[Any]], outcomes: list[object]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        resolve(waiting.result, outcome)
        if waiting.committed is not None:
            resolve(waiting.committed, outcome if isinstance(outcome, Failed) else None)
