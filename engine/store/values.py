"""Values that were computed: a cache of what follows from leaves and ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...schemas.graph import Value, number
from .backend import Backend, Chain
from .dbapi import Connection
from .quotas import bounded
from .rows import RunFence, check_fence, dumps, rows, to_value


@dataclass(frozen=True)
class ValueRows:
    """Computed values; each method is one transaction."""

    db: Backend

    async def get(
        self,
        session: int,
        ids: Iterable[str],
        places: Iterable[int],
        chain: Chain | None = None,
    ) -> dict[tuple[str, int], Value]:
        """The computed values there are of these variables at these places."""
        numbers = [number(i, "v") for i in ids]
        if not numbers:
            return {}
        wanted, where = dumps(numbers), dumps(list(places))

        def job(db: Connection) -> dict[tuple[str, int], Value]:
            sql = (
                "SELECT c.* FROM json_each(?) v CROSS JOIN json_each(?) p "
                "CROSS JOIN cells c ON c.session = ? AND c.variable = v.value "
                "AND c.place = p.value"
            )
            found = rows(db, sql, wanted, where, session)
            return {(f"v{r['variable']}", r["place"]): to_value(r) for r in found}

        return await self.db.read(job, session=session, single=True, join=chain)

    async def save(
        self,
        session: int,
        values: dict[tuple[str, int], Value],
        clean: Iterable[str],
        fence: RunFence | None,
        chain: Chain | None = None,
    ) -> None:
        """Store computed values by variable and place. The variables in `clean` now have all values
        that are in use: they are no longer stale.

        With `chain`, it is on disk once that is settled. Raises Conflict when the run that `fence`
        names is no longer its process's.
        """
        cells = [
            {"s": session, "v": number(v, "v"), "p": p, "text": x.text, "score": x.score}
            for (v, p), x in values.items()
        ]
        done = dumps([number(c, "v") for c in clean])

        def job(db: Connection) -> None:
            check_fence(db, session, fence)
            db.executemany(  # not of what was taken out meanwhile
                "INSERT INTO cells SELECT :s, :v, :p, :text, CAST(:score AS REAL) WHERE EXISTS "
                "(SELECT 1 FROM variables WHERE session = :s AND n = :v) AND (:p = 0 OR EXISTS "
                "(SELECT 1 FROM examples WHERE session = :s AND n = :p)) "
                "ON CONFLICT (session, variable, place) DO UPDATE "
                "SET text = excluded.text, score = excluded.score",
                cells,
            )
            db.execute(
                "UPDATE variables SET dirty = FALSE WHERE session = ? AND dirty "
                "AND n IN (SELECT value FROM json_each(?))",
                (session, done),
            )

        await self.db.write(bounded(job, session, self.db.quota_bytes), session=session, join=chain)
