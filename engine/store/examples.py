"""The examples of a session, and which of them are in use."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import get_args

from ...schemas.graph import Example, Split
from ...schemas.words import says_much, words
from .database import Chain, Database
from .quotas import bounded
from .rows import dumps, next_number, now, rows, to_example


@dataclass(frozen=True)
class Added:
    """What became of examples handed in. `elsewhere` counts those another split has too.

    `alike` are the numbers of other splits' examples that differ from one of them in case, spacing
    or punctuation alone.
    """

    first: int | None
    last: int | None
    added: int
    total: int
    elsewhere: int
    alike: Sequence[int] = ()


class ExampleVerbs:
    """The store's verbs on examples; each is one transaction."""

    db: Database

    async def add_examples(self, session: int, split: str, data: Sequence[dict[str, str]]) -> Added:
        """Store rows; one that the split already has is skipped."""
        prepared = await asyncio.to_thread(_prepared, data)

        def job(db: sqlite3.Connection) -> Added:
            first = next_number(db, "examples", session)
            cursor = db.executemany(
                "INSERT INTO examples (session, n, split, fields, digest, likeness) "
                "SELECT ?, max(coalesce(max(n), 0), ?) + 1, ?, ?, ?, ? FROM examples "
                "WHERE session = ? ON CONFLICT (session, split, digest) DO NOTHING",
                [(session, first - 1, split, *one, session) for one in prepared],
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
            elsewhere, alike = _others(db, session, split, prepared)
            count = last - first + 1
            some = count > 0
            return Added(
                first if some else None, last if some else None, count, total, elsewhere, alike
            )

        return await self.db.write(bounded(job, session, self.db.quota_bytes))

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

    async def rows_after(
        self, session: int, split: str, after: int, limit: int, chars: int
    ) -> list[tuple[int, str]]:
        """Rows of a split with numbers above `after`: number, fields as JSON.

        At most `limit`, and no more once they have so many `chars` between them.
        """

        def job(db: sqlite3.Connection) -> list[tuple[int, str]]:
            sql = (
                "SELECT n, fields FROM examples WHERE session = ? AND split = ? AND n > ? "
                "ORDER BY n LIMIT ?"
            )
            page, room = [], chars
            with closing(db.execute(sql, (session, split, after, limit))) as found:
                while room > 0 and (r := found.fetchone()) is not None:
                    page.append((r["n"], r["fields"]))
                    room -= len(r["fields"])
            return page

        return await self.db.read(job, single=True)

    async def split_sizes(self, session: int, chain: Chain | None = None) -> dict[str, int]:
        """How many examples each split has."""

        def job(db: sqlite3.Connection) -> dict[str, int]:
            sql = "SELECT split, count(*) AS n FROM examples WHERE session = ? GROUP BY split"
            return {r["split"]: r["n"] for r in rows(db, sql, session)}

        return await self.db.read(job, single=True, join=chain)

    async def use_batch(self, session: int, numbers: Sequence[int]) -> None:
        """Make these the examples in use; what depends on examples is then to be recomputed."""

        def job(db: sqlite3.Connection) -> None:
            set_batch(db, session, numbers)

        await self.db.write(bounded(job, session, self.db.quota_bytes))


def _prepared(data: Sequence[dict[str, str]]) -> list[tuple[str, str, str]]:
    """Rows as they are stored: fields, digest, likeness."""
    return [(dumps(fields), digest_of_fields(fields), likeness_of(fields)) for fields in data]


def _others(
    db: sqlite3.Connection, session: int, split: str, prepared: Sequence[tuple[str, str, str]]
) -> tuple[int, list[int]]:
    """How many of these rows other splits have, and which of theirs are but alike."""
    digests = [digest for _, digest, _ in prepared]
    others = dumps([s for s in get_args(Split) if s != split])
    sql = (
        "SELECT count(DISTINCT e.digest) FROM json_each(?) j CROSS JOIN json_each(?) s "
        "CROSS JOIN examples e ON e.session = ? AND e.split = s.value AND e.digest = j.value"
    )
    elsewhere = rows(db, sql, dumps(digests), others, session)[0][0]
    sql = (
        "SELECT DISTINCT e.n, e.digest FROM json_each(?) j CROSS JOIN examples e "
        "ON e.session = ? AND e.likeness = j.value WHERE e.split != ? ORDER BY e.n"
    )
    likenesses = list(dict.fromkeys(likeness for _, _, likeness in prepared))
    same = set(digests)
    found = rows(db, sql, dumps(likenesses), session, split)
    return elsewhere, [r["n"] for r in found if r["digest"] not in same]


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


def likeness_of(fields: dict[str, str]) -> str:
    """What two examples share that differ in case, spacing or punctuation alone.

    Beside texts of some length, short ones (ids, labels, numbers) do not count.
    """
    said = {name: words(fields[name]) for name in sorted(fields)}
    long = {name: found for name, found in said.items() if says_much(found)}
    text = "\n".join(f"{name} {' '.join(found)}" for name, found in (long or said).items())
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
