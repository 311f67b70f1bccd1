"""Runs: which tool calls are under way in which process, and how they ended."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...schemas.graph import Run, Session, number
from .admission import ACTIVE, RECENT, busy, check_idle, standing
from .backend import Backend, Chain
from .dbapi import ALL, Connection, Job
from .quotas import bounded
from .rows import (
    CLOCK,
    RunFence,
    check_fence,
    dumps,
    listed,
    next_number,
    now,
    row,
    rows,
    to_run,
    to_session,
)

LEASE_SECONDS = 10.0
"""How long a run is its process's without a sign of life from it."""

LATE_SECONDS = 1.0
"""A claim that had to wait so long for the file proves nothing: nor could its process write."""

Adds = Job[dict[str, Any]]
"""A change that belongs to a run's admission; gives what it adds to the arguments."""

KEPT_SECONDS = 7200.0
"""For so long what a quiet run gave is kept: who made the same call meanwhile waits no longer."""


@dataclass(frozen=True)
class NewRun:
    """A call that is to become a run: its tool, arguments and digest, the `process` that runs it,
    and who answers.

    `came` is when it came in, in seconds of this process's own clock.
    """

    tool: str
    args: dict[str, Any]
    digest: str
    process: str
    answerers: str = ""
    came: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Admitted:
    """The run of a call, with the session as it was when it was admitted; `mine` unless an equal
    call began it."""

    run: Run
    session: Session
    mine: bool


@dataclass(frozen=True)
class Running:
    """A running run, its session's key and owner, and how often it was taken over."""

    session: int
    whose: str
    run: Run
    taken: int


@dataclass(frozen=True)
class RunRows:
    """Runs; each method is one transaction."""

    db: Backend

    async def start(
        self,
        session: int,
        session_id: str,
        new: NewRun,
        adds: Adds | None = None,
        chain: Chain | None = None,
    ) -> Admitted:
        """A new active run, or the one that the same call has begun meanwhile.

        `adds` changes the session at the same moment, and gives what that adds to the run's
        arguments. Raises Conflict, and changes nothing, when another run is active. With `chain`,
        all is on disk once that is settled.
        """

        def job(db: Connection) -> Admitted:
            run = standing(db, session, session_id, new.digest, time.monotonic() - new.came)
            if run is not None and run.digest != new.digest:
                raise busy(run)
            mine = run is None
            if run is None:
                args = new.args | (adds(db) if adds is not None else {})
                run = _insert(db, session, session_id, new, args)
            return Admitted(run, _session(db, session), mine)

        return await self.db.write(
            bounded(job, session, self.db.quota_bytes), session=session, join=chain
        )

    async def standing(self, session: int, session_id: str, digest: str, came: float) -> Run | None:
        """The run that a call has to do with (see `admission.standing`)."""

        def job(db: Connection) -> Run | None:
            return standing(db, session, session_id, digest, time.monotonic() - came)

        return await self.db.read(job, session=session, single=True)

    async def active(self, session: int, session_id: str) -> Run | None:
        """The session's active run."""
        return await self._run(session, session_id, f"AND {ACTIVE}")

    async def last(self, session: int, session_id: str) -> Run | None:
        """The session's active run, or else its newest one, whatever became of it."""

        def job(db: Connection) -> Run | None:
            found = row(db, f"SELECT * FROM runs WHERE session = ? AND {ACTIVE}", session)
            newest = "SELECT * FROM runs WHERE session = ? ORDER BY n DESC LIMIT 1"
            found = found or row(db, newest, session)
            return to_run(found, session_id) if found else None

        return await self.db.read(job, session=session)

    async def get(self, session: int, session_id: str, run_id: str) -> Run | None:
        """One run by id."""
        return await self._run(session, session_id, "AND n = ?", number(run_id, "r"))

    async def _run(self, session: int, session_id: str, where: str, *args: Any) -> Run | None:
        def job(db: Connection) -> Run | None:
            found = row(db, f"SELECT * FROM runs WHERE session = ? {where}", session, *args)
            return to_run(found, session_id) if found else None

        return await self.db.read(job, session=session, single=True)

    async def latest(self, session: int, limit: int = 50) -> list[dict[str, object]]:
        """The latest runs, newest first, without their results."""
        sql = (
            "SELECT 'r' || n AS id, tool, status, error, created, updated FROM runs "
            "WHERE session = ? ORDER BY n DESC LIMIT ?"
        )
        return await listed(self.db, sql, session, limit)

    async def running(self) -> list[Running]:
        """The runs that are marked as running, in all processes."""

        def job(db: Connection) -> list[Running]:
            sql = (
                "SELECT r.*, s.id AS session_id, s.owner AS whose FROM runs r "
                "JOIN sessions s ON s.pk = r.session WHERE r.status = 'running'"
            )
            return [
                Running(r["session"], r["whose"], to_run(r, r["session_id"]), r["taken"])
                for r in rows(db, sql)
            ]

        return await self.db.read(job, single=True)

    async def claim(
        self, session: int, run: Run, process: str, *, dead: bool = False
    ) -> Admitted | None:
        """Take over a run that waits, failed, or that no process has; with `dead`, also one whose
        process has given no sign of life since it was read as `run`.

        None when it is alive or has ended, and when the file was locked too long to know. Raises
        Conflict when another run of the session is active.
        """
        n, asked = number(run.id, "r") or 0, time.monotonic()

        def job(db: Connection) -> Admitted | None:
            check_idle(db, session, besides=n)
            sql = (
                f"UPDATE runs SET status = 'running', owner = ?, lease = {CLOCK} + ?, error = '', "
                "result = NULL, taken = taken + CASE WHEN status = 'running' THEN 1 ELSE 0 END, "
                "updated = ?, "
                f"began = began + coalesce({CLOCK} - stopped, 0), stopped = NULL "
                "WHERE session = ? AND n = ? AND digest = ? AND (status IN "
                "('needs_completions', 'failed') OR (status = 'running' AND (owner IN ('', ?) "
                "OR (? AND owner = ? AND lease = ?))))"
            )
            sure = dead and time.monotonic() - asked < LATE_SECONDS
            theirs = (sure, run.process, run.lease)
            values = (process, LEASE_SECONDS, now(), session, n, run.digest, process, *theirs)
            if db.execute(sql, values).rowcount != 1:
                return None
            found = rows(db, "SELECT * FROM runs WHERE session = ? AND n = ?", session, n)
            return Admitted(to_run(found[0], run.session_id), _session(db, session), True)

        return await self.db.write(job, session=session)

    async def end(
        self,
        session: int,
        run_id: str,
        process: str,
        status: str,
        *,
        result: dict[str, Any] | None = None,
        error: str = "",
        chain: Chain | None = None,
    ) -> bool:
        """Leave a run in `status`; False when it is no longer the process's.

        Raises StoreError, and leaves it, if what came before in `chain` was lost.
        """

        def job(db: Connection) -> bool:
            fence = (number(run_id, "r") or 0, process)
            return _leave(db, session, fence, status, result, error)

        return await self.db.write(job, session=session, after=chain)

    async def end_quietly(
        self, session: int, run: Run, result: dict[str, Any], chain: Chain | None = None
    ) -> bool:
        """End a run that needed nothing from anybody, so that it is no news: its result is kept for
        a while, for whoever made the same call meanwhile.

        False as for `end`.
        """

        def job(db: Connection) -> bool:
            sql = (
                "DELETE FROM runs WHERE session = ? AND n = ? AND owner = ? AND status = 'running'"
            )
            if db.execute(sql, (session, number(run.id, "r"), run.process)).rowcount != 1:
                return False
            sql = (
                f"DELETE FROM quiet_runs WHERE session = ? AND (stopped < {CLOCK} - ? OR digest IN "
                "(SELECT digest FROM quiet_runs WHERE session = ? ORDER BY stopped DESC "
                "LIMIT ? OFFSET ?))"
            )
            db.execute(sql, (session, KEPT_SECONDS, session, ALL, RECENT - 1))
            sql = (
                "INSERT INTO quiet_runs (session, digest, tool, result, stopped) "
                f"VALUES (?,?,?,?,{CLOCK}) ON CONFLICT (session, digest) "
                "DO UPDATE SET result = excluded.result, stopped = excluded.stopped"
            )
            db.execute(sql, (session, run.digest, run.tool, dumps(result)))
            return True

        return await self.db.write(job, session=session, after=chain)

    async def pause_run(
        self, session: int, run_id: str, process: str, chain: Chain | None = None
    ) -> bool | None:
        """Let a run wait for the completions that are pending; False when none is any more, so
        that it can go on, None when it is no longer the process's."""
        n = number(run_id, "r") or 0

        def job(db: Connection) -> bool | None:
            sql = "SELECT 1 FROM calls WHERE session = ? AND run = ? AND status = 'pending' LIMIT 1"
            if row(db, sql, session, n) is None:
                return False
            return _leave(db, session, (n, process), "needs_completions") or None

        return await self.db.write(job, session=session, after=chain)

    async def drop_run(
        self, session: int, run_id: str, process: str, chain: Chain | None = None
    ) -> None:
        """Forget a run that was refused before it asked or changed anything."""

        def job(db: Connection) -> None:
            sql = "DELETE FROM runs WHERE session = ? AND n = ? AND owner = ? AND used_calls = 0"
            db.execute(sql, (session, number(run_id, "r"), process))

        await self.db.write(job, session=session, after=chain)

    async def cancel(self, session: int, run_id: str) -> bool:
        """End an active run; what was answered stays. False when it was not active."""

        def job(db: Connection) -> bool:
            cursor = db.execute(
                f"UPDATE runs SET status = 'cancelled', updated = ?, stopped = {CLOCK} "
                f"WHERE session = ? AND n = ? AND {ACTIVE}",
                (now(), session, number(run_id, "r")),
            )
            return cursor.rowcount == 1

        return await self.db.write(job, session=session)

    async def save_state(self, session: int, fence: RunFence | None, state: dict[str, Any]) -> None:
        """Remember how far a long run has come. Raises Conflict when it is not its process's."""

        def job(db: Connection) -> None:
            check_fence(db, session, fence)
            set_state(db, session, fence, state)

        await self.db.write(job, session=session)

    async def keep_alive(
        self, process: str, runs: Iterable[tuple[int, str]]
    ) -> set[tuple[int, str]]:
        """A sign of life for runs of this process, by session and id; gives those still its own."""
        wanted = list(runs)
        given: dict[str, Any] = {"most": LEASE_SECONDS, "process": process}

        def job(db: Connection) -> set[tuple[int, str]]:
            sql = (  # another value each time, whatever the clock does
                f"UPDATE runs SET lease = CASE WHEN {CLOCK} + :most > lease THEN {CLOCK} + :most "
                "ELSE lease + 0.001 END WHERE session = :s AND n = :n AND owner = :process "
                "AND status = 'running'"
            )
            return {
                (session, id_)
                for session, id_ in wanted
                if db.execute(sql, given | {"s": session, "n": number(id_, "r")}).rowcount == 1
            }

        return await self.db.write(job)

    async def give_back(self, process: str) -> None:
        """Let any process go on at once with what this one was running."""

        def job(db: Connection) -> None:
            sql = "UPDATE runs SET owner = '', lease = 0 WHERE owner = ? AND status = 'running'"
            db.execute(sql, (process,))

        await self.db.write(job)


def set_state(db: Connection, session: int, fence: RunFence | None, state: dict[str, Any]) -> None:
    """Replace what the run that `fence` names remembers (nothing without one). Call inside a
    write."""
    if fence is not None:
        sql = "UPDATE runs SET state = ?, updated = ? WHERE session = ? AND n = ?"
        db.execute(sql, (dumps(state), now(), session, fence[0]))


def _session(db: Connection, session: int) -> Session:
    return to_session(rows(db, "SELECT * FROM sessions WHERE pk = ?", session)[0])


def _insert(
    db: Connection, session: int, session_id: str, new: NewRun, args: dict[str, Any]
) -> Run:
    n = next_number(db, "runs", session)
    db.execute(
        "INSERT INTO runs (session, n, tool, args, digest, status, state, error, owner, lease, "
        "created, updated, began, answerers) "
        f"VALUES (?,?,?,?,?,'running','{{}}','',?,{CLOCK} + ?,?,?,{CLOCK},?)",
        (
            session,
            n,
            new.tool,
            dumps(args),
            new.digest,
            new.process,
            LEASE_SECONDS,
            now(),
            now(),
            new.answerers,
        ),
    )
    return Run(
        id=f"r{n}",
        session_id=session_id,
        tool=new.tool,
        args=args,
        status="running",
        process=new.process,
        digest=new.digest,
        answerers=new.answerers,
    )


def _leave(
    db: Connection,
    session: int,
    fence: RunFence,
    status: str,
    result: dict[str, Any] | None = None,
    error: str = "",
) -> bool:
    """Leave a run in `status`, from which its time no longer counts; False for one that is not
    (any longer) the process's."""
    sql = (
        "UPDATE runs SET status = ?, result = ?, error = ?, updated = ?, "
        f"stopped = {CLOCK} WHERE session = ? AND n = ? AND owner = ? AND status = 'running'"
    )
    kept = dumps(result) if result is not None else None
    values = (status, kept, error, now(), session, *fence)
    return db.execute(sql, values).rowcount == 1
