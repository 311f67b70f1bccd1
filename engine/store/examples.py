"""The examples of a session, and which of them are in use."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from ...schemas.graph import Example, Split
from .admission import check_idle
from .database import Chain, Database
from .rows import dumps, next_number, now, rows, to_example


@dataclass(frozen=True)
class Added:
    """What became of examples handed in. `elsewhere` counts those another split has too."""

    first: int | None
    last: int | None
    added: int
    total: int
    elsewhere: int


class ExampleVerbs:
    """The store's verbs on examples; each is one transaction."""

    db: Database

    async def add_examples(self, session: int, split: str, data: Sequence[dict[str, str]]) -> Added:
        """Store rows; one that the split already has is skipped. Raises Conflict when the session
        has an active run."""

        def job(db: sqlite3.Connection) -> Added:
            check_idle(db, session)
            first = next_number(db, "examples", session)
            digests = [digest_of_fields(fields) for fields in data]
            cursor = db.executemany(
                "INSERT INTO examples SELECT ?, coalesce(max(n), 0) + 1, ?, ?, ? FROM examples "
                "WHERE session = ? ON CONFLICT (session, split, digest) DO NOTHING",
                [
                    (session, split, dumps(fields), digest, session)
                    for fields, digest in zip(data, digests, strict=True)
                ],
            )
            cursor.close()
            last = next_number(db, "examples", session) - 1
            db.execute(  # without a batch of its own, a session uses the first examples
                "UPDATE variables SET dirty = 1 WHERE session = :s AND per_example AND "
                "kind = 'output' AND (SELECT batch = '[]' FROM sessions WHERE pk = :s)",
                {"s": session},
            )
            sql = "SELECT count(*) FROM examples WHERE session = ? AND split = ?"
            total = rows(db, sql, session, split)[0][0]
            sql = (
                "SELECT count(DISTINCT e.digest) FROM json_each(?) j CROSS JOIN json_each(?) s "
                "CROSS JOIN examples e ON e.session = ? AND e.split = s.value "
                "AND e.digest = j.value"
            )
            others = dumps([s for s in get_args(Split) if s != split])
            elsewhere = rows(db, sql, dumps(digests), others, session)[0][0]
            some = last >= first
            return Added(
                first if some else None, last if some else None, last - first + 1, total, elsewhere
            )

        return await self.db.write(job)

    async def examples(
        self, session: int, numbers: Sequence[int], chain: Chain | None = None
    ) -> dict[int, Example]:
        """Examples by number; missing ones are left out."""

        if not numbers:
            return {}

        def job(db: sqlite3.Connection) -> dict[int, Example]:
            sql = (
                "SELECT e.* FROM json_each(?) j CROSS JOIN examples e "
                "ON e.session = ? AND e.n = j.value ORDER BY j.key"
            )
            return {r["n"]: to_example(r) for r in rows(db, sql, dumps(numbers), session)}

        return await self.db.read(job, single=True, join=chain)

    async def split(self, session: int, split: str, limit: int | None = None) -> list[int]:
        """The numbers of a split's examples, in the order they came."""

        def job(db: sqlite3.Connection) -> list[int]:
            sql = "SELECT n FROM examples WHERE session = ? AND split = ? ORDER BY n LIMIT ?"
            found = rows(db, sql, session, split, -1 if limit is None else limit)
            return [r["n"] for r in found]

        return await self.db.read(job, single=True)

    async def split_digest(self, session: int, split: str) -> str:
        """What tells one content of a split from another."""

        def job(db: sqlite3.Connection) -> str:
            sql = "SELECT n, digest FROM examples WHERE session = ? AND split = ? ORDER BY n"
            hashed = hashlib.sha256()
            for r in db.execute(sql, (session, split)):
                hashed.update(f"{r['n']} {r['digest']} ".encode())
            return hashed.hexdigest()[:16]

        return await self.db.read(job, single=True)

    async def split_sizes(self, session: int, chain: Chain | None = None) -> dict[str, int]:
        """How many examples each split has."""

        def job(db: sqlite3.Connection) -> dict[str, int]:
            sql = "SELECT split, count(*) AS n FROM examples WHERE session = ? GROUP BY split"
            return {r["split"]: r["n"] for r in rows(db, sql, session)}

        return await self.db.read(job, single=True, join=chain)


def set_batch(db: sqlite3.Connection, session: int, numbers: Sequence[int]) -> None:
    """Change which examples are in use. Call inside a write."""
    found = rows(db, "SELECT batch FROM sessions WHERE pk = ?", session)
    if json.loads(found[0]["batch"]) == list(numbers):
        return
    sql = "UPDATE sessions SET batch = ?, updated = ? WHERE pk = ?"
    db.execute(sql, (dumps(list(numbers)), now(), session))
    db.execute(
        "UPDATE variables SET dirty = 1 WHERE session = ? AND per_example AND kind = 'output'",
        (session,),
    )


def digest_of_fields(fields: dict[str, str]) -> str:
    """What makes two examples the same example."""
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
