"""Losses whose texts have changed: which they are, and what measuring them anew has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...schemas.graph import Operation, number
from .backend import Backend
from .dbapi import Connection
from .examples import set_batch
from .graph import invalidate
from .rows import dumps, rows, to_operation
from .runs import Adds


@dataclass(frozen=True)
class AgainRows:
    """Losses to be measured again, and texts that no step has judged; each method is one
    transaction."""

    db: Backend

    async def alike(self, session: int, operation: Operation) -> list[tuple[Operation, bool]]:
        """The operations of the same kind that read the same variables by the same names, and of
        each whether its output is out of date."""
        sources = dumps([number(v, "v") for v in operation.sources][:1])

        def job(db: Connection) -> list[tuple[Operation, bool]]:
            sql = (
                "SELECT o.*, v.dirty FROM json_each(?) j CROSS JOIN edges e ON e.session = ? AND "
                "e.source = j.value CROSS JOIN variables v ON v.session = e.session AND "
                "v.n = e.output CROSS JOIN operations o ON o.session = v.session AND "
                "o.n = v.operation WHERE o.kind = ? ORDER BY o.n"
            )
            found = rows(db, sql, sources, session, operation.kind)
            alike = [(to_operation(r), bool(r["dirty"])) for r in found]
            return [(o, stale) for o, stale in alike if o.inputs == operation.inputs]

        return await self.db.read(job, session=session, single=True)

    async def unjudged(self, session: int, run: int, limit: int) -> list[tuple[str, str]]:
        """The rewrites that were written in a run since the session's last step: the ids of their
        calls, and the replies."""

        def job(db: Connection) -> list[tuple[str, str]]:
            sql = (
                "SELECT n, text FROM calls INDEXED BY calls_by_run WHERE session = :s AND run = :r "
                "AND purpose = 'update' AND status = 'answered' AND answered > coalesce((SELECT "
                "created FROM steps WHERE session = :s ORDER BY n DESC LIMIT 1), '') "
                "ORDER BY n DESC LIMIT :most"
            )
            found = db.execute(sql, {"s": session, "r": run, "most": limit}).fetchall()
            return [(f"c{r['n']}", r["text"]) for r in found]

        return await self.db.read(job, session=session, single=True)


def measuring_again(
    session: int, operation: Operation, spec: dict[str, Any] | None, batch: Sequence[int] | None
) -> Adds:
    """The part of a run's admission that gives a loss what was found this time, so that what it
    said before is out of date. With `batch`, these become the examples in use."""

    def again(db: Connection) -> dict[str, Any]:
        if batch is not None:
            set_batch(db, session, batch)
        if spec is not None:
            db.execute(
                "UPDATE operations SET spec = ? WHERE session = ? AND n = ?",
                (dumps(spec), session, number(operation.id, "op")),
            )
            invalidate(db, session, [number(operation.output, "v") or 0])
        return {}

    return again
