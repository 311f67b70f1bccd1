"""Sessions, variables, operations and computed values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ...schemas.graph import Operation, Variable, number
from ..extensions.operations import LOSSES
from .additions import insert_variable, stale
from .backend import Backend, Chain
from .dbapi import ALL, Connection
from .quotas import bounded
from .rows import (
    dumps,
    now,
    row,
    rows,
    to_operation,
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
    """A part of a graph: variables by id, and the operations that make the outputs among them.

    `dirty` are the ids of the outputs that lack a value at some example in use.
    """

    variables: dict[str, Variable]
    operations: dict[str, Operation]
    dirty: set[str] = field(default_factory=set)

    def operation_of(self, variable: str) -> Operation | None:
        """The operation that makes `variable`, if it is part of this program."""
        made_by = self.variables[variable].operation
        return self.operations.get(made_by) if made_by else None


@dataclass(frozen=True)
class GraphRows:
    """Variables and operations; each method is one transaction."""

    db: Backend

    async def add_leaf(
        self, session: int, variable: Variable, chain: Chain | None = None
    ) -> Variable:
        """Store a new leaf with its first version."""

        def job(db: Connection) -> Variable:
            made = insert_variable(db, session, variable)
            if made.value is not None:
                db.execute(
                    "INSERT INTO versions VALUES (?,?,1,?,'created',NULL,?)",
                    (session, number(made.id, "v"), made.value, now()),
                )
            return made

        return await self.db.write(
            bounded(job, session, self.db.quota_bytes), session=session, after=chain
        )

    async def variables(
        self, session: int, ids: Iterable[str] | None = None, limit: int | None = None
    ) -> dict[str, Variable]:
        """Variables by id: those named (missing ones are left out), all, or the first `limit`."""
        wanted = None if ids is None else dumps([number(i, "v") for i in ids])

        def job(db: Connection) -> dict[str, Variable]:
            if wanted is None:
                sql = "SELECT * FROM variables WHERE session = ? ORDER BY n LIMIT ?"
                found = rows(db, sql, session, ALL if limit is None else limit)
            else:
                sql = (
                    "SELECT v.* FROM json_each(?) j CROSS JOIN variables v "
                    "ON v.session = ? AND v.n = j.value"
                )
                found = rows(db, sql, wanted, session)
            return {f"v{r['n']}": to_variable(r) for r in found}

        return await self.db.read(job, session=session, single=True)

    async def program(
        self,
        session: int,
        targets: Sequence[str],
        *,
        everything: bool,
        chain: Chain | None = None,
    ) -> Program:
        """What `targets` are made from.

        With `everything`, the whole upstream graph; else only as far as values are missing:
        a variable that has them is loaded, what it was made from is not. What
        `chain` wrote is seen.
        """

        def job(db: Connection) -> Program:
            numbers = [number(t, "v") for t in targets]
            args = {"targets": dumps(numbers), "s": session, "everything": everything}
            program = Program({}, {})
            found = db.execute(
                UPSTREAM + "SELECT v.* FROM need JOIN variables v "
                "ON v.session = :s AND v.n = need.n ORDER BY v.n",
                args,
            )
            for r in found:  # row by row: of a large graph the rows alone would fill the memory
                variable = to_variable(r)
                program.variables[variable.id] = variable
                if r["dirty"]:
                    program.dirty.add(variable.id)
            made = db.execute(
                UPSTREAM + "SELECT o.* FROM need JOIN variables v "
                "ON v.session = :s AND v.n = need.n JOIN operations o "
                "ON o.session = :s AND o.n = v.operation WHERE v.dirty OR :everything",
                args,
            )
            program.operations.update((o.id, o) for o in map(to_operation, made))
            return program

        return await self.db.read(job, session=session, join=chain)

    async def parameters(self, session: int) -> list[Variable]:
        """All parameters, in the order they were made."""

        def job(db: Connection) -> list[Variable]:
            sql = (
                "SELECT * FROM variables INDEXED BY variables_parameters WHERE session = ? "
                "AND kind = 'parameter' ORDER BY n"
            )
            return [to_variable(r) for r in rows(db, sql, session)]

        return await self.db.read(job, session=session, single=True)

    async def downstream(self, session: int, sources: Iterable[str]) -> set[str]:
        """Everything made from `sources`, they themselves included."""
        numbers = dumps([number(s, "v") for s in sources])

        def job(db: Connection) -> set[str]:
            found = db.execute(
                DOWNSTREAM + "SELECT n FROM down", {"sources": numbers, "s": session}
            ).fetchall()
            return {f"v{r['n']}" for r in found}

        return await self.db.read(job, session=session, single=True)

    async def operations(
        self, session: int, ids: Iterable[str] | None = None, limit: int | None = None
    ) -> list[Operation]:
        """Operations: those named, or all, or the first `limit`."""

        def job(db: Connection) -> list[Operation]:
            if ids is None:
                sql = "SELECT * FROM operations WHERE session = ? ORDER BY n LIMIT ?"
                most = ALL if limit is None else limit
                return [to_operation(r) for r in rows(db, sql, session, most)]
            wanted = dumps([number(i, "op") for i in ids])
            sql = (
                "SELECT o.* FROM json_each(?) j CROSS JOIN operations o "
                "ON o.session = ? AND o.n = j.value"
            )
            return [to_operation(r) for r in rows(db, sql, wanted, session)]

        return await self.db.read(job, session=session, single=True)

    async def dirty(self, session: int) -> list[str]:
        """The ids of the outputs that lack a value at some example in use."""

        return await self.db.read(lambda db: stale(db, session), session=session, single=True)

    async def bound_to_files(self, session: int, chain: Chain | None = None) -> list[Variable]:
        """The leaves that are bound to files."""

        def job(db: Connection) -> list[Variable]:
            sql = "SELECT * FROM variables WHERE session = ? AND file IS NOT NULL ORDER BY n"
            return [to_variable(r) for r in rows(db, sql, session)]

        return await self.db.read(job, session=session, single=True, join=chain)

    async def note_file(self, session: int, variable: str, digest: str) -> None:
        """Remember the digest of what the file bound to a variable now holds."""

        def job(db: Connection) -> None:
            n = number(variable, "v")
            found = row(db, "SELECT file FROM variables WHERE session = ? AND n = ?", session, n)
            if found is not None and found["file"] is not None:
                noted = dumps(json.loads(found["file"]) | {"digest": digest})
                sql = "UPDATE variables SET file = ? WHERE session = ? AND n = ?"
                db.execute(sql, (noted, session, n))

        await self.db.write(job, session=session)

    async def loss_outputs(self, session: int) -> list[str]:
        """The losses that no other operation uses."""

        def job(db: Connection) -> list[str]:
            sql = (
                "SELECT output FROM operations o WHERE session = ? AND kind IN "
                "(SELECT atom FROM json_each(?)) AND NOT EXISTS (SELECT 1 FROM edges e "
                "WHERE e.session = o.session AND e.source = o.output) ORDER BY output"
            )
            found = rows(db, sql, session, dumps(sorted(LOSSES)))
            return [f"v{r['output']}" for r in found]

        return await self.db.read(job, session=session, single=True)


def invalidate(db: Connection, session: int, sources: Iterable[int]) -> None:
    """Drop the values of everything made from `sources`. Call inside a write."""
    args = {"sources": dumps(list(sources)), "s": session}
    db.execute(
        DOWNSTREAM + "UPDATE variables SET dirty = TRUE WHERE session = :s "
        "AND kind = 'output' AND n IN (SELECT n FROM down)",
        args,
    )
    db.execute(
        DOWNSTREAM + "DELETE FROM cells WHERE session = :s AND variable IN (SELECT n FROM down)",
        args,
    )
