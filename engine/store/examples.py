"""The examples of a session, and which of them are in use."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import get_args

from ...schemas.graph import Example, Split
from ...schemas.words import says_much, words
from .admission import check_idle
from .backend import Backend, Chain
from .dbapi import ALL, Connection
from .quotas import bounded
from .rows import columns, dumps, next_number, now, rows, to_example


@dataclass(frozen=True)
class Added:
    """What became of the examples that were handed in, by count and number.

    `elsewhere` counts those that another split has too. `alike` are the numbers of other splits'
    examples that differ from one of them in case, spacing or punctuation alone.
    """

    first: int | None
    last: int | None
    added: int
    total: int
    elsewhere: int
    alike: Sequence[int] = ()


@dataclass(frozen=True)
class ExampleRows:
    """Examples, and which of them are in use; each method is one transaction."""

    db: Backend

    async def add(self, session: int, split: str, data: Sequence[dict[str, str]]) -> Added:
        """Store rows; one that the split already has is skipped. Raises Conflict when the session
        has an active run."""
        prepared = await asyncio.to_thread(_prepared, data)

        def job(db: Connection) -> Added:
            check_idle(db, session)
            first = next_number(db, "examples", session)
            last = first - 1 + _insert_new(db, session, split, first, prepared)
            db.execute(  # without a batch of its own, a session uses the first examples
                "UPDATE variables SET dirty = TRUE WHERE session = :s AND per_example AND "
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

        return await self.db.write(bounded(job, session, self.db.quota_bytes), session=session)

    async def get(
        self, session: int, numbers: Sequence[int], chain: Chain | None = None
    ) -> dict[int, Example]:
        """Examples by number; missing ones are left out."""

        if not numbers:
            return {}

        def job(db: Connection) -> dict[int, Example]:
            sql = (
                "SELECT e.* FROM json_each(?) j CROSS JOIN examples e "
                "ON e.session = ? AND e.n = j.value ORDER BY j.key"
            )
            return {r["n"]: to_example(r) for r in rows(db, sql, dumps(numbers), session)}

        return await self.db.read(job, session=session, single=True, join=chain)

    async def split(self, session: int, split: str, limit: int | None = None) -> list[int]:
        """The numbers of a split's examples, in the order they came."""

        def job(db: Connection) -> list[int]:
            sql = "SELECT n FROM examples WHERE session = ? AND split = ? ORDER BY n LIMIT ?"
            return columns(db, sql, session, split, ALL if limit is None else limit)["n"]

        return await self.db.read(job, session=session, single=True)

    async def split_digest(self, session: int, split: str) -> str:
        """A digest of a split's rows: another one as soon as a row is added, mended or taken
        out."""

        def job(db: Connection) -> str:
            sql = "SELECT n, digest FROM examples WHERE session = ? AND split = ? ORDER BY n"
            hashed = hashlib.sha256()
            for r in db.execute(sql, (session, split)):
                hashed.update(f"{r['n']} {r['digest']} ".encode())
            return hashed.hexdigest()[:16]

        return await self.db.read(job, session=session, single=True)

    async def rows_after(
        self, session: int, split: str, after: int, limit: int, chars: int
    ) -> list[tuple[int, str]]:
        """Rows of a split with numbers above `after`: number, fields as JSON.

        At most `limit`, and no more once they have so many `chars` between them.
        """

        def job(db: Connection) -> list[tuple[int, str]]:
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

        return await self.db.read(job, session=session, single=True)

    async def split_sizes(self, session: int, chain: Chain | None = None) -> dict[str, int]:
        """How many examples each split has."""

        def job(db: Connection) -> dict[str, int]:
            sql = "SELECT split, count(*) AS n FROM examples WHERE session = ? GROUP BY split"
            return {r["split"]: r["n"] for r in rows(db, sql, session)}

        return await self.db.read(job, session=session, single=True, join=chain)


def _insert_new(
    db: Connection, session: int, split: str, first: int, prepared: Sequence[tuple[str, str, str]]
) -> int:
    """Insert the rows that the split has not yet, numbered from `first` on; gives how many."""
    fresh = {digest: (fields, likeness) for fields, digest, likeness in reversed(prepared)}
    sql = (
        "SELECT e.digest FROM json_each(?) j CROSS JOIN examples e "
        "ON e.session = ? AND e.split = ? AND e.digest = j.atom"
    )
    had = {r["digest"] for r in rows(db, sql, dumps(list(fresh)), session, split)}
    wanted = [digest for digest in dict.fromkeys(d for _, d, _ in prepared) if digest not in had]
    db.executemany(
        "INSERT INTO examples (session, n, split, fields, digest, likeness) VALUES (?,?,?,?,?,?)",
        [
            (session, first + i, split, fresh[digest][0], digest, fresh[digest][1])
            for i, digest in enumerate(wanted)
        ],
    )
    return len(wanted)


def _prepared(data: Sequence[dict[str, str]]) -> list[tuple[str, str, str]]:
    """Rows as they are stored: fields, digest, likeness."""
    return [(dumps(fields), digest_of_fields(fields), likeness_of(fields)) for fields in data]


def _others(
    db: Connection, session: int, split: str, prepared: Sequence[tuple[str, str, str]]
) -> tuple[int, list[int]]:
    """How many of these rows other splits have, and which of theirs are but alike."""
    digests = [digest for _, digest, _ in prepared]
    others = dumps([s for s in get_args(Split) if s != split])
    sql = (
        "SELECT count(DISTINCT e.digest) FROM json_each(?) j CROSS JOIN json_each(?) s "
        "CROSS JOIN examples e ON e.session = ? AND e.split = s.atom AND e.digest = j.atom"
    )
    elsewhere = rows(db, sql, dumps(digests), others, session)[0][0]
    sql = (
        "SELECT DISTINCT e.n, e.digest FROM json_each(?) j CROSS JOIN examples e "
        "ON e.session = ? AND e.likeness = j.atom WHERE e.split != ? ORDER BY e.n"
    )
    likenesses = list(dict.fromkeys(likeness for _, _, likeness in prepared))
    same = set(digests)
    found = rows(db, sql, dumps(likenesses), session, split)
    return elsewhere, [r["n"] for r in found if r["digest"] not in same]


def set_batch(db: Connection, session: int, numbers: Sequence[int]) -> None:
    """Change which examples are in use. Call inside a write."""
    found = rows(db, "SELECT batch FROM sessions WHERE pk = ?", session)
    if json.loads(found[0]["batch"]) == list(numbers):
        return
    sql = "UPDATE sessions SET batch = ?, updated = ? WHERE pk = ?"
    db.execute(sql, (dumps(list(numbers)), now(), session))
    db.execute(
        "UPDATE variables SET dirty = TRUE WHERE session = ? AND per_example AND kind = 'output'",
        (session,),
    )


def digest_of_fields(fields: dict[str, str]) -> str:
    """A digest of an example's fields: two with the same one are the same example."""
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def likeness_of(fields: dict[str, str]) -> str:
    """A digest that two examples share which differ in case, spacing or punctuation alone.

    Beside texts of some length, short ones (ids, labels, numbers) do not count.
    """
    said = {name: words(fields[name]) for name in sorted(fields)}
    long = {name: found for name, found in said.items() if says_much(found)}
    text = "\n".join(f"{name} {' '.join(found)}" for name, found in (long or said).items())
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
