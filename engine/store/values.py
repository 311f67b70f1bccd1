"""Values that were computed: a cache of what follows from leaves and ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from ...schemas.graph import Value, number
from .database import Chain, Database
from .quotas import bounded
from .rows import Fence, check_fence, dumps, rows, to_value


class ValueVerbs:
    """The store's verbs on computed values; each is one transaction."""

    db: Database

    async def values(
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

        def job(db: sqlite3.Connection) -> dict[tuple[str, int], Value]:
            sql = (
                "SELECT c.* FROM json_each(?) v CROSS JOIN json_each(?) p "
                "CROSS JOIN cells c ON c.session = ? AND c.variable = v.value "
                "AND c.place = p.value"
            )
            found = rows(db, sql, wanted, where, session)
            return {(f"v{r['variable']}", r["place"]): to_value(r) for r in found}

        return await self.db.read(job, single=True, join=chain)

    async def save_values(
        self,
        session: int,
        values: dict[tuple[str, int], Value],
        clean: Iterable[str],
        fence: Fence | None,
        chain: Chain | None = None,
    ) -> None:
        """Keep computed values; the variables in `clean` now have all that are in use.

        With `chain`, they are on disk once that is settled.
        """
        cells = [(session, number(v, "v"), p, x.text, x.score) for (v, p), x in values.items()]
        done = dumps([number(c, "v") for c in clean])

        def job(db: sqlite3.Connection) -> None:
            check_fence(db, session, fence)
            db.executemany(  # not of what was taken out meanwhile
                "INSERT INTO cells SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS "
                "(SELECT 1 FROM variables WHERE session = ?1 AND n = ?2) AND (?3 = 0 OR EXISTS "
                "(SELECT 1 FROM examples WHERE session = ?1 AND n = ?3)) ON CONFLICT DO UPDATE "
                "SET text = excluded.text, score = excluded.score",
                cells,
            )
            db.execute(
                "UPDATE variables SET dirty = 0 WHERE session = ? AND dirty "
                "AND n IN (SELECT value FROM json_each(?))",
                (session, done),
            )

        await self.db.write(bounded(job, session, self.db.quota_bytes), join=chain)
