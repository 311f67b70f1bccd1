"""Runs: which tool calls are under way in which process, and how they ended."""

from __future__ import annotations

import time
from typing import Any

import aiosqlite

from ...schemas.errors import Conflict
from ...schemas.graph import Run, number
from .database import Database
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
    ) -> Run:
        """A new active run. Raises Conflict when the session has one already."""

        async def job(db: aiosqlite.Connection) -> Run:
            sql = f"SELECT * FROM runs WHERE session = ? AND {ACTIVE}"
            active = await row(db, sql, session)
            if active is not None:
                raise busy(to_run(active, session_id))
            n = await next_number(db, "runs", session)
            await db.execute(
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
            found = await rows(db, "SELECT * FROM runs WHERE session = ? AND n = ?", session, n)
            return to_run(found[0], session_id)

        return await self.db.write(job)

    async def active_run(self, session: int, session_id: str) -> tuple[Run, str] | None:
        """The session's active run and the digest of the call that began it."""

        async def job(db: aiosqlite.Connection) -> tuple[Run, str] | None:
            found = await row(db, f"SELECT * FROM runs WHERE session = ? AND {ACTIVE}", session)
            return (to_run(found, session_id), found["digest"]) if found else None

        return await self.db.read(job, single=True)

    async def last_run(self, session: int, session_id: str) -> Run | None:
        """The session's newest run, whatever became of it."""

        async def job(db: aiosqlite.Connection) -> Run | None:
            sql = "SELECT * FROM runs WHERE session = ? ORDER BY n DESC LIMIT 1"
            found = await row(db, sql, session)
            return to_run(found, session_id) if found else None

        return await self.db.read(job, single=True)

    async def run(self, session: int, session_id: str, run_id: str) -> Run | None:
        """One run by id."""

        async def job(db: aiosqlite.Connection) -> Run | None:
            sql = "SELECT * FROM runs WHERE session = ? AND n = ?"
            found = await row(db, sql, session, number(run_id, "r"))
            return to_run(found, session_id) if found else None

        return await self.db.read(job, single=True)

    async def runs(self, session: int, limit: int = 50) -> list[dict[str, object]]:
        """The latest runs, newest first, without their results."""

        async def job(db: aiosqlite.Connection) -> list[dict[str, object]]:
            sql = (
                "SELECT 'r' || n AS id, tool, status, error, created, updated FROM runs "
                "WHERE session = ? ORDER BY n DESC LIMIT ?"
            )
            return [dict(r) for r in await rows(db, sql, session, limit)]

        return await self.db.read(job, single=True)

    async def claim_run(
        self, session: int, session_id: str, run_id: str, owner: str, dead: set[str]
    ) -> Run | None:
        """Take over a run that waits, failed, or whose process is gone (its lease ran out, or
        its owner is in `dead`); None when it is alive elsewhere or has ended."""
        n = number(run_id, "r")

        async def job(db: aiosqlite.Connection) -> Run | None:
            cursor = await db.execute(
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
            found = await rows(db, sql, session, n)
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
    ) -> bool:
        """Leave a run in `status`; False when it is no longer the owner's."""

        async def job(db: aiosqlite.Connection) -> bool:
            cursor = await db.execute(
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

        return await self.db.write(job)

    async def cancel_run(self, session: int, run_id: str) -> bool:
        """End an active run; what it had answered stays. False when it was not active."""

        async def job(db: aiosqlite.Connection) -> bool:
            cursor = await db.execute(
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

        async def job(db: aiosqlite.Connection) -> None:
            await db.execute(
                "UPDATE runs SET state = ?, updated = ? WHERE session = ? AND n = ? AND owner = ?",
                (dumps(state), now(), session, number(run_id, "r"), owner),
            )

        await self.db.write(job)

    async def keep_alive(self, owner: str) -> None:
        """Renew the leases of everything this process is running."""

        async def job(db: aiosqlite.Connection) -> None:
            await db.execute(
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
