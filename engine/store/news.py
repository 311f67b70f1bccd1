"""What has changed, whoever changed it: marks to be compared with those of an earlier look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .backend import Backend
from .dbapi import Connection
from .rows import dumps, rows

CHANGES = (
    "s.updated, s.bytes, s.used_calls, r.n, r.status, r.updated, "
    "(SELECT max(stopped) FROM quiet_runs q WHERE q.session = s.pk), "
    "(SELECT max(n) FROM calls c WHERE c.session = s.pk), "
    "(SELECT max(n) FROM steps t WHERE t.session = s.pk), "
    "(SELECT max(n) FROM gradients g WHERE g.session = s.pk), "
    "(SELECT max(n) FROM evaluations e WHERE e.session = s.pk)"
)
"""Of a session `s` with its newest run `r`: one of these changes with whatever changes in it."""
NEWEST_RUN = (
    "LEFT JOIN runs r ON r.session = s.pk AND r.n = (SELECT max(n) FROM runs WHERE session = s.pk)"
)


@dataclass(frozen=True)
class Owned:
    """What has changed for an owner: `newest` grows with each new session; `mark` differs as soon
    as anything has changed in any."""

    newest: int
    mark: str


@dataclass(frozen=True)
class News:
    """Marks that tell whether something has changed; each method is one transaction."""

    db: Backend

    async def of_sessions(self, ids: Iterable[str]) -> dict[str, str]:
        """For each of these sessions that is there, a mark that differs as soon as anything in it
        has changed."""
        wanted = dumps(sorted(ids))

        def job(db: Connection) -> dict[str, str]:
            sql = (
                f"SELECT s.id, {CHANGES} FROM json_each(?) j "
                f"CROSS JOIN sessions s ON s.id = j.atom {NEWEST_RUN}"
            )
            return {str(found[0]): mark(found) for found in rows(db, sql, wanted)}

        return await self.db.read(job, single=True)

    async def of_owners(self, owners: Iterable[str]) -> dict[str, Owned]:
        """The same for all sessions of each of these owners."""
        wanted = dumps(sorted(owners))

        def job(db: Connection) -> dict[str, Owned]:
            sql = (
                "SELECT j.atom, max(s.pk), count(s.pk), max(s.updated), sum(s.bytes), "
                "sum(s.used_calls) FROM json_each(?) j LEFT JOIN sessions s ON s.owner = j.atom "
                "GROUP BY j.atom"
            )
            return {
                str(found[0]): Owned(int(found[1] or 0), mark(found))
                for found in rows(db, sql, wanted)
            }

        return await self.db.read(job, single=True)

    async def progress(self, session: int, run: int) -> tuple[int, int]:
        """How many of the calls that a run has asked for were answered, and how many it asked."""

        def job(db: Connection) -> tuple[int, int]:
            sql = (
                "SELECT coalesce(sum(CASE WHEN status = 'pending' THEN 0 ELSE 1 END), 0), count(*) "
                "FROM calls WHERE session = ? AND run = ?"
            )
            [found] = rows(db, sql, session, run)
            return int(found[0]), int(found[1])

        return await self.db.read(job, session=session, single=True)


def mark(found: Iterable[object]) -> str:
    """The values of a row as one text, to be compared."""
    return "|".join(map(str, found))
