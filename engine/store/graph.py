"""Sessions, variables, operations, examples and computed values."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import get_args

import aiosqlite

from ...schemas.errors import NotFound
from ...schemas.graph import LOSSES, Example, Operation, Session, Split, Value, Variable, number
from .database import Database
from .quotas import room_for_session
from .rows import (
    Fence,
    check_fence,
    dumps,
    next_number,
    now,
    row,
    rows,
    to_example,
    to_operation,
    to_session,
    to_value,
    to_variable,
)

DOWNSTREAM = """
    WITH RECURSIVE down(n) AS (
        SELECT value FROM json_each(:sources)
        UNION SELECT e.output FROM down JOIN edges e ON e.session = :s AND e.source = down.n)
"""
# CROSS JOIN, here and below: the few ids come first and the table is looked up for each. Without
# statistics the planner prefers to read the session's whole table.
UPSTREAM = """
    WITH RECURSIVE need(n) AS (
        SELECT value FROM json_each(:targets)
        UNION SELECT e.source FROM need
            JOIN variables v ON v.session = :s AND v.n = need.n
            JOIN edges e ON e.session = :s AND e.output = need.n
            WHERE v.dirty OR :everything)
"""


@dataclass
class Program:
    """A part of a graph: variables by id, and the operations that make the outputs in it.

    `dirty` are the outputs that lack a value at some place in use.
    """

    variables: dict[str, Variable]
    operations: dict[str, Operation]
    dirty: set[str] = field(default_factory=set)

    def operation_of(self, variable: str) -> Operation | None:
        """The operation that makes `variable`, if it is part of this program."""
        made_by = self.variables[variable].operation
        return self.operations.get(made_by) if made_by else None


@dataclass(frozen=True)
class Added:
    """What became of examples handed in. `elsewhere` counts those another split has too."""

    first: int | None
    last: int | None
    added: int
    total: int
    elsewhere: int


class GraphVerbs:
    """The store's verbs on graphs; each is one transaction."""

    db: Database

    async def create_session(self, owner: str, title: str, most: int | None = None) -> Session:
        """A new session with an unguessable id (128 random bits).

        Raises QuotaExceeded when the owner has `most` already.
        """

        async def job(db: aiosqlite.Connection) -> Session:
            await room_for_session(db, owner, most)
            await db.execute(
                "INSERT INTO sessions (id, owner, title, created, updated) VALUES (?,?,?,?,?)",
                (f"tg_{secrets.token_urlsafe(16)}", owner, title, now(), now()),
            )
            found = await rows(db, "SELECT * FROM sessions WHERE pk = last_insert_rowid()")
            return to_session(found[0])

        return await self.db.write(job)

    async def session(self, session_id: str, owner: str) -> Session:
        """The owner's session. Raises NotFound, in the same words for foreign ones."""

        async def job(db: aiosqlite.Connection) -> Session:
            found = await row(
                db, "SELECT * FROM sessions WHERE id = ? AND owner = ?", session_id, owner
            )
            if found is None:
                raise NotFound(
                    "There is no session with this session_id.",
                    "Call inspect() for your sessions, or create_variable without session_id "
                    "to start one.",
                )
            return to_session(found)

        return await self.db.read(job, single=True)

    async def sessions(self, owner: str, limit: int = 50) -> list[Session]:
        """The owner's sessions, the last used first."""

        async def job(db: aiosqlite.Connection) -> list[Session]:
            sql = "SELECT * FROM sessions WHERE owner = ? ORDER BY updated DESC, pk DESC LIMIT ?"
            return [to_session(r) for r in await rows(db, sql, owner, limit)]

        return await self.db.read(job, single=True)

    async def add_leaf(self, session: int, variable: Variable) -> Variable:
        """Store a new leaf with its first version."""

        async def job(db: aiosqlite.Connection) -> Variable:
            made = await _insert_variable(db, session, variable, operation=None, dirty=False)
            if made.value is not None:
                await db.execute(
                    "INSERT INTO versions VALUES (?,?,1,?,'created',NULL,?)",
                    (session, number(made.id, "v"), made.value, now()),
                )
            return made

        return await self.db.write(job)

    async def add_operation(
        self,
        session: int,
        operation: Operation,
        output: Variable,
        batch: Sequence[int] | None = None,
    ) -> tuple[Operation, Variable]:
        """Store a new operation and its output, which starts without a value.

        With `batch`, these become the examples in use at the same moment.
        """

        async def job(db: aiosqlite.Connection) -> tuple[Operation, Variable]:
            if batch is not None:
                await _use_batch(db, session, batch)
            n = await next_number(db, "operations", session)
            made = await _insert_variable(db, session, output, operation=n, dirty=True)
            out = number(made.id, "v")
            inputs = {name: number(v, "v") for name, v in operation.inputs.items()}
            system = number(operation.system, "v") if operation.system else None
            await db.execute(
                "INSERT INTO operations VALUES (?,?,?,?,?,?,?)",
                (session, n, operation.kind, out, system, dumps(inputs), dumps(operation.spec)),
            )
            edges = [(session, number(source, "v"), out) for source in operation.sources]
            await db.executemany("INSERT INTO edges VALUES (?,?,?)", edges)
            stored = operation.model_copy(update={"id": f"op{n}", "output": made.id})
            return stored, made

        return await self.db.write(job)

    async def variables(
        self, session: int, ids: Iterable[str] | None = None, limit: int = 1000
    ) -> dict[str, Variable]:
        """Variables by id: those named (missing ones are left out), or the first `limit`."""
        wanted = None if ids is None else dumps([number(i, "v") for i in ids])

        async def job(db: aiosqlite.Connection) -> dict[str, Variable]:
            if wanted is None:
                sql = "SELECT * FROM variables WHERE session = ? ORDER BY n LIMIT ?"
                found = await rows(db, sql, session, limit)
            else:
                sql = (
                    "SELECT v.* FROM json_each(?) j CROSS JOIN variables v "
                    "ON v.session = ? AND v.n = j.value"
                )
                found = await rows(db, sql, wanted, session)
            return {f"v{r['n']}": to_variable(r) for r in found}

        return await self.db.read(job, single=True)

    async def program(self, session: int, targets: Sequence[str], *, everything: bool) -> Program:
        """What `targets` are made from.

        With `everything`, the whole upstream graph; else only as far as values are missing:
        a variable that has them is loaded, what it was made from is not.
        """

        async def job(db: aiosqlite.Connection) -> Program:
            numbers = [number(t, "v") for t in targets]
            args = {"targets": dumps(numbers), "s": session, "everything": everything}
            found = await db.execute_fetchall(
                UPSTREAM + "SELECT v.* FROM need JOIN variables v "
                "ON v.session = :s AND v.n = need.n ORDER BY v.n",
                args,
            )
            made = await db.execute_fetchall(
                UPSTREAM + "SELECT o.* FROM need JOIN variables v "
                "ON v.session = :s AND v.n = need.n JOIN operations o "
                "ON o.session = :s AND o.n = v.operation WHERE v.dirty OR :everything",
                args,
            )
            operations = [to_operation(r) for r in made]
            return Program(
                {f"v{r['n']}": to_variable(r) for r in found},
                {o.id: o for o in operations},
                {f"v{r['n']}" for r in found if r["dirty"]},
            )

        return await self.db.read(job)

    async def downstream(self, session: int, sources: Iterable[str]) -> set[str]:
        """Everything made from `sources`, they themselves included."""
        numbers = dumps([number(s, "v") for s in sources])

        async def job(db: aiosqlite.Connection) -> set[str]:
            found = await db.execute_fetchall(
                DOWNSTREAM + "SELECT n FROM down", {"sources": numbers, "s": session}
            )
            return {f"v{r['n']}" for r in found}

        return await self.db.read(job, single=True)

    async def operations(
        self, session: int, ids: Iterable[str] | None = None, limit: int = 1000
    ) -> list[Operation]:
        """Operations: those named, or the first `limit`."""

        async def job(db: aiosqlite.Connection) -> list[Operation]:
            if ids is None:
                sql = "SELECT * FROM operations WHERE session = ? ORDER BY n LIMIT ?"
                return [to_operation(r) for r in await rows(db, sql, session, limit)]
            wanted = dumps([number(i, "op") for i in ids])
            sql = (
                "SELECT o.* FROM json_each(?) j CROSS JOIN operations o "
                "ON o.session = ? AND o.n = j.value"
            )
            return [to_operation(r) for r in await rows(db, sql, wanted, session)]

        return await self.db.read(job, single=True)

    async def dirty(self, session: int) -> list[str]:
        """The outputs that lack a value at some place in use."""

        async def job(db: aiosqlite.Connection) -> list[str]:
            sql = "SELECT n FROM variables WHERE session = ? AND dirty ORDER BY n"
            return [f"v{r['n']}" for r in await rows(db, sql, session)]

        return await self.db.read(job, single=True)

    async def bound_to_files(self, session: int) -> list[Variable]:
        """The leaves that are bound to files."""

        async def job(db: aiosqlite.Connection) -> list[Variable]:
            sql = "SELECT * FROM variables WHERE session = ? AND file IS NOT NULL ORDER BY n"
            return [to_variable(r) for r in await rows(db, sql, session)]

        return await self.db.read(job, single=True)

    async def note_file(self, session: int, variable: str, digest: str) -> None:
        """Remember what a bound file now holds."""

        async def job(db: aiosqlite.Connection) -> None:
            await db.execute(
                "UPDATE variables SET file = json_set(file, '$.digest', ?) "
                "WHERE session = ? AND n = ?",
                (digest, session, number(variable, "v")),
            )

        await self.db.write(job)

    async def loss_outputs(self, session: int) -> list[str]:
        """The losses that no other operation uses."""

        async def job(db: aiosqlite.Connection) -> list[str]:
            sql = (
                "SELECT output FROM operations o WHERE session = ? AND kind IN "
                "(SELECT value FROM json_each(?)) AND NOT EXISTS (SELECT 1 FROM edges e "
                "WHERE e.session = o.session AND e.source = o.output) ORDER BY output"
            )
            found = await rows(db, sql, session, dumps(sorted(LOSSES)))
            return [f"v{r['output']}" for r in found]

        return await self.db.read(job, single=True)

    async def values(
        self, session: int, ids: Iterable[str], places: Iterable[int]
    ) -> dict[tuple[str, int], Value]:
        """The computed values there are of these variables at these places."""
        wanted = dumps([number(i, "v") for i in ids])
        where = dumps(list(places))

        async def job(db: aiosqlite.Connection) -> dict[tuple[str, int], Value]:
            sql = (
                "SELECT c.* FROM json_each(?) v CROSS JOIN json_each(?) p "
                "CROSS JOIN cells c ON c.session = ? AND c.variable = v.value "
                "AND c.place = p.value"
            )
            found = await rows(db, sql, wanted, where, session)
            return {(f"v{r['variable']}", r["place"]): to_value(r) for r in found}

        return await self.db.read(job, single=True)

    async def save_values(
        self,
        session: int,
        values: dict[tuple[str, int], Value],
        clean: Iterable[str],
        fence: Fence | None,
    ) -> None:
        """Keep computed values; the variables in `clean` now have all that are in use."""
        cells = [(session, number(v, "v"), p, x.text, x.score) for (v, p), x in values.items()]
        done = dumps([number(c, "v") for c in clean])

        async def job(db: aiosqlite.Connection) -> None:
            await check_fence(db, session, fence)
            await db.executemany(
                "INSERT INTO cells VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE "
                "SET text = excluded.text, score = excluded.score",
                cells,
            )
            await db.execute(
                "UPDATE variables SET dirty = 0 WHERE session = ? AND dirty "
                "AND n IN (SELECT value FROM json_each(?))",
                (session, done),
            )

        await self.db.write(job)

    async def add_examples(self, session: int, split: str, data: Sequence[dict[str, str]]) -> Added:
        """Store rows; one that the split already has is skipped."""

        async def job(db: aiosqlite.Connection) -> Added:
            first = await next_number(db, "examples", session)
            digests = [digest_of_fields(fields) for fields in data]
            cursor = await db.executemany(
                "INSERT INTO examples SELECT ?, coalesce(max(n), 0) + 1, ?, ?, ? FROM examples "
                "WHERE session = ? ON CONFLICT (session, split, digest) DO NOTHING",
                [
                    (session, split, dumps(fields), digest, session)
                    for fields, digest in zip(data, digests, strict=True)
                ],
            )
            await cursor.close()
            last = await next_number(db, "examples", session) - 1
            await db.execute(  # without a batch of its own, a session uses the first examples
                "UPDATE variables SET dirty = 1 WHERE session = :s AND per_example AND "
                "kind = 'output' AND (SELECT batch = '[]' FROM sessions WHERE pk = :s)",
                {"s": session},
            )
            sql = "SELECT count(*) FROM examples WHERE session = ? AND split = ?"
            total = (await rows(db, sql, session, split))[0][0]
            sql = (
                "SELECT count(DISTINCT e.digest) FROM json_each(?) j CROSS JOIN json_each(?) s "
                "CROSS JOIN examples e ON e.session = ? AND e.split = s.value "
                "AND e.digest = j.value"
            )
            others = dumps([s for s in get_args(Split) if s != split])
            elsewhere = (await rows(db, sql, dumps(digests), others, session))[0][0]
            some = last >= first
            return Added(
                first if some else None, last if some else None, last - first + 1, total, elsewhere
            )

        return await self.db.write(job)

    async def examples(self, session: int, numbers: Sequence[int]) -> dict[int, Example]:
        """Examples by number; missing ones are left out."""

        async def job(db: aiosqlite.Connection) -> dict[int, Example]:
            sql = (
                "SELECT e.* FROM json_each(?) j CROSS JOIN examples e "
                "ON e.session = ? AND e.n = j.value ORDER BY j.key"
            )
            return {r["n"]: to_example(r) for r in await rows(db, sql, dumps(numbers), session)}

        return await self.db.read(job, single=True)

    async def split(self, session: int, split: str, limit: int | None = None) -> list[int]:
        """The numbers of a split's examples, in the order they came."""

        async def job(db: aiosqlite.Connection) -> list[int]:
            sql = "SELECT n FROM examples WHERE session = ? AND split = ? ORDER BY n LIMIT ?"
            found = await rows(db, sql, session, split, -1 if limit is None else limit)
            return [r["n"] for r in found]

        return await self.db.read(job, single=True)

    async def split_sizes(self, session: int) -> dict[str, int]:
        """How many examples each split has."""

        async def job(db: aiosqlite.Connection) -> dict[str, int]:
            sql = "SELECT split, count(*) AS n FROM examples WHERE session = ? GROUP BY split"
            return {r["split"]: r["n"] for r in await rows(db, sql, session)}

        return await self.db.read(job, single=True)

    async def use_batch(self, session: int, numbers: Sequence[int]) -> None:
        """Make these the examples in use; what depends on examples is then to be recomputed."""

        async def job(db: aiosqlite.Connection) -> None:
            await _use_batch(db, session, numbers)

        await self.db.write(job)


async def _use_batch(db: aiosqlite.Connection, session: int, numbers: Sequence[int]) -> None:
    found = await rows(db, "SELECT batch FROM sessions WHERE pk = ?", session)
    if json.loads(found[0]["batch"]) == list(numbers):
        return
    sql = "UPDATE sessions SET batch = ?, updated = ? WHERE pk = ?"
    await db.execute(sql, (dumps(list(numbers)), now(), session))
    await db.execute(
        "UPDATE variables SET dirty = 1 WHERE session = ? AND per_example AND kind = 'output'",
        (session,),
    )


async def _insert_variable(
    db: aiosqlite.Connection,
    session: int,
    variable: Variable,
    *,
    operation: int | None,
    dirty: bool,
) -> Variable:
    n = await next_number(db, "variables", session)
    v = variable.model_copy(
        update={"id": f"v{n}", "operation": f"op{operation}" if operation else None}
    )
    await db.execute(
        "INSERT INTO variables VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            session,
            n,
            v.kind,
            v.role,
            v.name,
            v.value,
            v.version,
            v.requires_grad,
            v.reference,
            v.per_example,
            v.field,
            dumps(v.constraints),
            operation,
            dirty,
            v.file.model_dump_json() if v.file else None,
        ),
    )
    await db.execute("UPDATE sessions SET updated = ? WHERE pk = ?", (now(), session))
    return v


async def invalidate(db: aiosqlite.Connection, session: int, sources: Iterable[int]) -> None:
    """Drop the values of everything made from `sources`. Call inside a write."""
    args = {"sources": dumps(list(sources)), "s": session}
    await db.execute(
        DOWNSTREAM + "UPDATE variables SET dirty = 1 WHERE session = :s "
        "AND kind = 'output' AND n IN (SELECT n FROM down)",
        args,
    )
    await db.execute(
        DOWNSTREAM + "DELETE FROM cells WHERE session = :s AND variable IN (SELECT n FROM down)",
        args,
    )


def digest_of_fields(fields: dict[str, str]) -> str:
    """What makes two examples the same example."""
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
