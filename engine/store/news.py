"""What has changed, whoever changed it: marks to be compared with those of an earlier look."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from .database import Database
from .rows import dumps, rows


@dataclass(frozen=True)
class Owned:
    """What an owner has: `newest` grows with each new session, `mark` is another one as soon as
    anything has changed in any."""

    newest: int
    mark: str


@dataclass(frozen=True)
class News:
    """What has changed; each method is one transaction."""

    db: Database

    async def of_sessions(self, ids: Iterable[str]) -> dict[str, str]:
        """For each of these sessions that is there, a mark that is another one as soon as anything
        in it has changed."""
        wanted = dumps(sorted(ids))

        def job(db: sqlite3.Connection) -> dict[str, str]:
            sql = (
                "SELECT s.id, s.updated, s.bytes, s.used_calls, r.n, r.status, r.updated, "
                "(SELECT max(stopped) FROM quiet_runs q WHERE q.session = s.pk), "
                "(SELECT max(n) FROM calls c WHERE c.session = s.pk), "
                "(SELECT max(n) FROM steps t WHERE t.session = s.pk), "
                "(SELECT max(n) FROM gradients g WHERE g.session = s.pk), "
                "(SELECT max(n) FROM evaluations e WHERE e.session = s.pk) "
                "FROM json_each(?) j CROSS JOIN sessions s ON s.id = j.value "
                "LEFT JOIN runs r ON r.session = s.pk "
                "AND r.n = (SELECT max(n) FROM runs WHERE session = s.pk)"
            )
            return {str(found[0]): _mark(found) for found in rows(db, sql, wanted)}

        return await self.db.read(job, single=True)

    async def of_owners(self, owners: Iterable[str]) -> dict[str, Owned]:
        """The same for all that these owners have."""
        wanted = dumps(sorted(owners))

        def job(db: sqlite3.Connection) -> dict[str, Owned]:
            sql = (
                "SELECT j.value, max(s.pk), count(s.pk), max(s.updated), sum(s.bytes), "
                "sum(s.used_calls) FROM json_each(?) j LEFT JOIN sessions s ON s.owner = j.value "
                "GROUP BY j.value"
            )
            return {
                str(found[0]): Owned(int(found[1] or 0), _mark(found))
                for found in rows(db, sql, wanted)
            }

        return await self.db.read(job, single=True)

    async def progress(self, session: int, run: int) -> tuple[int, int]:
        """How many of the calls that a run has asked for were answered, and how many it asked."""

        def job(db: sqlite3.Connection) -> tuple[int, int]:
            sql = (
                "SELECT coalesce(sum(CASE WHEN status = 'pending' THEN 0 ELSE 1 END), 0), count(*) "
                "FROM calls WHERE session = ? AND run = ?"
            )
            [found] = rows(db, sql, session, run)
            return int(found[0]), int(found[1])

        return await self.db.read(job, single=True)


def _mark(found: Iterable[object]) -> str:
    return "|".join(map(str, found))
