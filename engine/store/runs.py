"""Runs: which tool calls are under way in which process, and how they ended."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from ...schemas.errors import Conflict
from ...schemas.graph import Run, number
from .database import Chain, Database
from .quotas import bounded
from .rows import dumps, next_number, now, row, rows, to_run

LEASE_SECONDS = 30.0
ACTIVE = "status IN ('running', 'needs_completions')"


class RunVerbs:
    """The store's verbs on runs; each is one transaction."""

    db: Database

    async def start_run(
        self,
        session: int,
        session_id: str,
        tool: str,
        args: dict[str, Any],
        digest: str,
        owner: str,
        chain: Chain | None = None,
    ) -> Run:
        """A new active run. Raises Conflict when the session has one already.

        With `chain`, it is on disk once that is settled.
        """

        def job(db: sqlite3.Connection) -> Run:
            sql = f"SELECT * FROM runs WHERE session = ? AND {ACTIVE}"
            active = row(db, sql, session)
            if active is not None:
                raise busy(to_run(active, session_id))
            n = next_number(db, "runs", session)
            db.execute(
                "INSERT INTO runs (session, n, tool, args, digest, status, state, error, owner, "
                "lease, created, updated, began) VALUES (?,?,?,?,?,'running','{}','',?,?,?,?,?)",
                (
                    session,
                    n,
                    tool,
                    dumps(args),
                    digest,
                    owner,
                    time.time() + LEASE_SECONDS,
                    now(),
                    now(),
                    time.time(),
                ),
            )
            found = rows(db, "SELECT * FROM runs WHERE session = ? AND n = ?", session, n)
            return to_run(found[0], session_id)

        return await self.db.write(bounded(job, session, self.db.quota_bytes), join=chain)

    async def active_run(self, session: int, session_id: str) -> tuple[Run, str] | None:
        """The session's active run and the digest of the call that began it."""

        def job(db: sqlite3.Connection) -> tuple[Run, str] | None:
            found = row(db, f"SELECT * FROM runs WHERE session = ? AND {ACTIVE}", session)
            return (to_run(found, session_id), found["digest"]) if found else None

        return await self.db.read(job, single=True)

    async def last_run(self, session: int, session_id: str) -> Run | None:
        """The session's newest run, whatever became of it."""

        def job(db: sqlite3.Connection) -> Run | None:
            sql = "SELECT * FROM runs WHERE session = ? ORDER BY n DESC LIMIT 1"
            found = row(db, sql, session)
            return to_run(found, session_id) if found else None

        return await self.db.read(job, single=True)

    async def run(self, session: int, session_id: str, run_id: str) -> Run | None:
        """One run by id."""

        def job(db: sqlite3.Connection) -> Run | None:
            sql = "SELECT * FROM runs WHERE session = ? AND n = ?"
            found = row(db, sql, session, number(run_id, "r"))
            return to_run(found, session_id) if found else None

        return await self.db.read(job, single=True)

    async def runs(self, session: int, limit: int = 50) -> list[dict[str, object]]:
        """The latest runs, newest first, without their results."""

        def job(db: sqlite3.Connection) -> list[dict[str, object]]:
            sql = (
                "SELECT 'r' || n AS id, tool, status, error, created, updated FROM runs "
                "WHERE session = ? ORDER BY n DESC LIMIT ?"
            )
            return [dict(r) for r in rows(db, sql, session, limit)]

        return await self.db.read(job, single=True)

    async def claim_run(
        self, session: int, session_id: str, run_id: str, owner: str, dead: set[str]
    ) -> Run | None:
        """Take over a run that waits, failed, or whose process is gone (its lease ran out, or
        its owner is in `dead`); None when it is alive elsewhere or has ended."""
        n = number(run_id, "r")

        def job(db: sqlite3.Connection) -> Run | None:
            cursor = db.execute(
                "UPDATE runs SET status = 'running', owner = ?, lease = ?, error = '', "
                "updated = ? WHERE session = ? AND n = ? AND (status IN "
                "('needs_completions', 'failed') OR (status = 'running' AND (lease < ? OR "
                "owner = ? OR owner IN (SELECT value FROM json_each(?))))) "
                f"AND NOT EXISTS (SELECT 1 FROM runs WHERE session = ? AND n != ? AND {ACTIVE})",
                (
                    owner,
                    time.time() + LEASE_SECONDS,
                    now(),
                    session,
                    n,
                    time.time(),
                    owner,
                    dumps(sorted(dead)),
                    session,
                    n,
                ),
            )
            if cursor.rowcount != 1:
                return None
            sql = "SELECT * FROM runs WHERE session = ? AND n = ?"
            found = rows(db, sql, session, n)
            return to_run(found[0], session_id)

        return await self.db.write(job)

    async def end_run(
        self,
        session: int,
        run_id: str,
        owner: str,
        status: str,
        *,
        result: dict[str, Any] | None = None,
        error: str = "",
        chain: Chain | None = None,
    ) -> bool:
        """Leave a run in `status`; False when it is no longer the owner's.

        Raises StoreError, and leaves it, if what came before in `chain` was lost.
        """

        def job(db: sqlite3.Connection) -> bool:
            cursor = db.execute(
                "UPDATE runs SET status = ?, result = ?, error = ?, updated = ? "
                "WHERE session = ? AND n = ? AND owner = ? AND status = 'running'",
                (
                    status,
                    dumps(result) if result is not None else None,
                    error,
                    now(),
                    session,
                    number(run_id, "r"),
                    owner,
                ),
            )
            return cursor.rowcount == 1

        return await self.db.write(job, after=chain)

    async def cancel_run(self, session: int, run_id: str) -> bool:
        """End an active run; what it had answered stays. False when it was not active."""

        def job(db: sqlite3.Connection) -> bool:
            cursor = db.execute(
                f"UPDATE runs SET status = 'cancelled', updated = ? WHERE session = ? AND n = ? "
                f"AND {ACTIVE}",
                (now(), session, number(run_id, "r")),
            )
            return cursor.rowcount == 1

        return await self.db.write(job)

    async def save_state(
        self, session: int, run_id: str, owner: str, state: dict[str, Any]
    ) -> None:
        """Remember how far a long run has come."""

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE runs SET state = ?, updated = ? WHERE session = ? AND n = ? AND owner = ?",
                (dumps(state), now(), session, number(run_id, "r"), owner),
            )

        await self.db.write(job)

    async def keep_alive(self, owner: str) -> None:
        """Renew the leases of everything this process is running."""

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE runs SET lease = ? WHERE owner = ? AND status = 'running'",
                (time.time() + LEASE_SECONDS, owner),
            )

        await self.db.write(job)


def busy(run: Run) -> Conflict:
    """What a second run in a session is told."""
    how = "is waiting for completions" if run.status == "needs_completions" else "is running"
    return Conflict(
        f"Run {run.id} ({run.tool}) {how} in this session, and a session does one thing at a time.",
        f"Call resume(session_id='{run.session_id}') to go on with it, or resume with "
        "cancel=true to drop it (what was answered is kept).",
    )
