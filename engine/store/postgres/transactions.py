"""Transactions on a server that may vanish: repeated where they were undone, and never twice.

Everything here is plain calls that block; database.py makes them on threads. A thread has one
connection, made when it is first needed and anew when it was lost.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from ....schemas.database import PostgresAddress
from ....schemas.errors import StoreError
from ..backend import Failed
from ..connection import Fault
from ..dbapi import Job
from .causes import explain, final, passing, unreachable
from .connection import Connected

T = TypeVar("T")
Jobs = Sequence[Job[Any]]
log = logging.getLogger(__name__)
PATIENCE_SECONDS = 30.0
"""For so long a transaction is tried again that was undone by what passes."""
PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.02, 1.0


@dataclass
class Counts:
    """What became of transactions: `retries` were undone and begun again, of `unknown` commits
    the reply was lost (and looked up), `trips` were made to the server."""

    retries: int = 0
    unknown: int = 0
    trips: int = 0


class _Apart(Exception):
    """One of several jobs in a transaction failed: each is to be run by itself."""


class Transactions:
    """Runs jobs on the calling thread's connection. `fault` is called at each commit boundary."""

    def __init__(self, address: PostgresAddress, fault: Fault) -> None:
        self._address, self._fault = address, fault
        self._own = threading.local()
        self._all: list[Connected] = []
        self._lock = threading.Lock()
        self.counts, self.patience = Counts(), PATIENCE_SECONDS

    def look(self, jobs: Jobs) -> list[object]:
        """What jobs of one statement find, each of which is a snapshot by itself."""
        return [self._patiently(lambda db, job=job: _looked(db, job)) for job in jobs]  # type: ignore[misc]

    def read(self, jobs: Jobs) -> list[object]:
        """What jobs find in one moment's view of everything."""

        def once(db: Connected) -> list[object]:
            db.begin_reading()
            found = [self._apart(db, job, len(jobs)) for job in jobs]
            db.rollback()
            return found

        return self._each(jobs, self.read, lambda: self._patiently(once))

    def write(self, jobs: Jobs, session: int | None) -> list[object]:
        """Run jobs in one transaction; what they wrote is kept when this returns.

        A job that fails undoes only what it wrote itself.
        """
        return self._each(
            jobs,
            lambda one: self.write(one, session),
            lambda: self._patiently(lambda db: self._written(db, jobs, session)),
        )

    def _each(
        self,
        jobs: Jobs,
        alone: Callable[[Jobs], list[object]],
        together: Callable[[], list[object] | Failed],
    ) -> list[object]:
        try:
            done = together()
        except _Apart:
            return [outcome for job in jobs for outcome in alone([job])]
        return [done] * len(jobs) if isinstance(done, Failed) else list(done)

    def _apart(self, db: Connected, job: Job[Any], of: int) -> object:
        """What a job gives. One that fails alone has failed; one among others is to be alone."""
        try:
            return job(db)
        except Exception as error:
            if passing(error):
                raise
            if of > 1:
                raise _Apart from error
            return Failed(explain(error, self._address))

    def _written(self, db: Connected, jobs: Jobs, session: int | None) -> list[object]:
        db.begin_writing(session)
        outcomes = [self._apart(db, job, len(jobs)) for job in jobs]
        if isinstance(outcomes[0], Failed) and len(jobs) == 1:
            db.rollback()
            return outcomes
        self._fault("before commit")
        try:
            db.commit()
        except psycopg.Error as error:
            if len(jobs) > 1 and not passing(error):
                raise _Apart from error  # what was said with the commit was one job's
            if not unreachable(error) or not self._was_committed(db):
                raise
        self._fault("after commit")
        return outcomes

    def _was_committed(self, lost: Connected) -> bool:
        """Whether a transaction whose commit got no reply was committed all the same.

        Raises StoreError when that cannot be found out.
        """
        self.counts.unknown += 1
        lost.close()
        began, pause, db = time.monotonic(), PAUSE_SECONDS, None
        while True:
            try:
                db = self._connection()
                return db.committed(lost.writer, lost.transaction)
            except psycopg.Error as again:
                self._undo(db)
                if time.monotonic() > began + 2 * self.patience:
                    raise StoreError(
                        f"The database {self._address} was lost during a commit, and cannot be "
                        "asked whether it was made. Nothing was repeated.",
                        "Call again when the server can be reached: what was stored is found.",
                    ) from again
            time.sleep(pause)
            pause = min(2 * pause, MOST_PAUSE_SECONDS)

    def _patiently(self, act: Callable[[Connected], T]) -> T | Failed:
        """What `act` gives on a connection, begun again for as long as what undid it may pass."""
        began, pause = time.monotonic(), PAUSE_SECONDS
        while True:
            db = None
            try:
                db = self._connection()
                before = db.trips
                try:
                    return act(db)
                finally:
                    self.counts.trips += db.trips - before
            except BaseException as error:
                self._undo(db)
                if isinstance(error, _Apart) or not isinstance(error, Exception):
                    raise
                if not passing(error) or final(error) or time.monotonic() > began + self.patience:
                    return Failed(explain(error, self._address))
                log.debug("a transaction is begun again: %s", type(error).__name__)
            self.counts.retries += 1
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, MOST_PAUSE_SECONDS)

    def _undo(self, db: Connected | None) -> None:
        if db is None:
            return
        try:
            db.rollback()
        except psycopg.Error:
            db.close()  # the server undoes what it has of it

    def _connection(self) -> Connected:
        db: Connected | None = getattr(self._own, "connection", None)
        if db is None or db.lost:
            db = self._own.connection = Connected(self._address)
            with self._lock:
                self._all = [one for one in self._all if not one.lost] + [db]
        return db

    def close(self) -> None:
        """Let go of every connection. Call when no thread uses one any more."""
        with self._lock:
            for db in self._all:
                db.close()
            self._all = []


def _looked(db: Connected, job: Job[T]) -> T:
    db.read_only()
    return job(db)
