"""Sessions, variables, operations and computed values."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ...schemas.errors import NotFound
from ...schemas.graph import LOSSES, Operation, Session, Variable, number
from .database import Chain, Database
from .examples import set_batch
from .quotas import bounded, room_for_bytes, room_for_session
from .rows import (
    dumps,
    next_number,
    now,
    row,
    rows,
    to_operation,
    to_session,
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


class GraphVerbs:
    """The store's verbs on graphs; each is one transaction."""

    db: Database

    async def create_session(
        self, owner: str, title: str, most: int | None = None, chain: Chain | None = None
    ) -> Session:
        """A new session with an unguessable id (128 random bits).

        Raises QuotaExceeded when the owner has `most` already. With `chain`, it is on disk once
        that is settled.
        """

        def job(db: sqlite3.Connection) -> Session:
            room_for_session(db, owner, most)
            db.execute(
                "INSERT INTO sessions (id, owner, title, created, updated) VALUES (?,?,?,?,?)",
                (f"tg_{secrets.token_urlsafe(16)}", owner, title, now(), now()),
            )
            found = rows(db, "SELECT * FROM sessions WHERE pk = last_insert_rowid()")
            room_for_bytes(db, found[0]["pk"], self.db.quota_bytes)
            return to_session(found[0])

        return await self.db.write(job, join=chain)

    async def session(self, session_id: str, owner: str) -> Session:
        """The owner's session. Raises NotFound, in the same words for foreign ones."""

        def job(db: sqlite3.Connection) -> Session:
            found = row(db, "SELECT * FROM sessions WHERE id = ? AND owner = ?", session_id, owner)
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

        def job(db: sqlite3.Connection) -> list[Session]:
            sql = "SELECT * FROM sessions WHERE owner = ? ORDER BY updated DESC, pk DESC LIMIT ?"
            return [to_session(r) for r in rows(db, sql, owner, limit)]

        return await self.db.read(job, single=True)

    async def add_leaf(
        self, session: int, variable: Variable, chain: Chain | None = None
    ) -> Variable:
        """Store a new leaf with its first version."""

        def job(db: sqlite3.Connection) -> Variable:
            made = _insert_variable(db, session, variable, operation=None, dirty=False)
            if made.value is not None:
                db.execute(
                    "INSERT INTO versions VALUES (?,?,1,?,'created',NULL,?)",
                    (session, number(made.id, "v"), made.value, now()),
                )
            return made

        return await self.db.write(bounded(job, session, self.db.quota_bytes), after=chain)

    async def add_operation(
        self,
        session: int,
        operation: Operation,
        output: Variable,
        batch: Sequence[int] | None = None,
        chain: Chain | None = None,
    ) -> tuple[Operation, Variable]:
        """Store a new operation and its output, which starts without a value.

        With `batch`, these become the examples in use at the same moment. With `chain`, it is on
        disk once that is settled. Raises NotFound when what it reads was taken out meanwhile.
        """

        def job(db: sqlite3.Connection) -> tuple[Operation, Variable]:
            if batch is not None:
                set_batch(db, session, batch)
            _check_there(db, session, operation.sources)
            n = next_number(db, "operations", session)
            made = _insert_variable(db, session, output, operation=n, dirty=True)
            out = number(made.id, "v")
            inputs = {name: number(v, "v") for name, v in operation.inputs.items()}
            system = number(operation.system, "v") if operation.system else None
            db.execute(
                "INSERT INTO operations VALUES (?,?,?,?,?,?,?)",
                (session, n, operation.kind, out, system, dumps(inputs), dumps(operation.spec)),
            )
            edges = [(session, number(source, "v"), out) for source in operation.sources]
            db.executemany("INSERT INTO edges VALUES (?,?,?)", edges)
            stored = operation.model_copy(update={"id": f"op{n}", "output": made.id})
            return stored, made

        return await self.db.write(bounded(job, session, self.db.quota_bytes), join=chain)

    async def variables(
        self, session: int, ids: Iterable[str] | None = None, limit: int | None = None
    ) -> dict[str, Variable]:
        """Variables by id: those named (missing ones are left out), all, or the first `limit`."""
        wanted = None if ids is None else dumps([number(i, "v") for i in ids])

        def job(db: sqlite3.Connection) -> dict[str, Variable]:
            if wanted is None:
                sql = "SELECT * FROM variables WHERE session = ? ORDER BY n LIMIT ?"
                found = rows(db, sql, session, -1 if limit is None else limit)
            else:
                sql = (
                    "SELECT v.* FROM json_each(?) j CROSS JOIN variables v "
                    "ON v.session = ? AND v.n = j.value"
                )
                found = rows(db, sql, wanted, session)
            return {f"v{r['n']}": to_variable(r) for r in found}

        return await self.db.read(job, single=True)

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

        def job(db: sqlite3.Connection) -> Program:
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

        return await self.db.read(job, join=chain)

    async def parameters(self, session: int) -> list[Variable]:
        """All parameters, in the order they were made."""

        def job(db: sqlite3.Connection) -> list[Variable]:
            sql = (
                "SELECT * FROM variables INDEXED BY variables_parameters WHERE session = ? "
                "AND kind = 'parameter' ORDER BY n"
            )
            return [to_variable(r) for r in rows(db, sql, session)]

        return await self.db.read(job, single=True)

    async def downstream(self, session: int, sources: Iterable[str]) -> set[str]:
        """Everything made from `sources`, they themselves included."""
        numbers = dumps([number(s, "v") for s in sources])

        def job(db: sqlite3.Connection) -> set[str]:
            found = db.execute(
                DOWNSTREAM + "SELECT n FROM down", {"sources": numbers, "s": session}
            ).fetchall()
            return {f"v{r['n']}" for r in found}

        return await self.db.read(job, single=True)

    async def operations(
        self, session: int, ids: Iterable[str] | None = None, limit: int | None = None
    ) -> list[Operation]:
        """Operations: those named, or all, or the first `limit`."""

        def job(db: sqlite3.Connection) -> list[Operation]:
            if ids is None:
                sql = "SELECT * FROM operations WHERE session = ? ORDER BY n LIMIT ?"
                most = -1 if limit is None else limit
                return [to_operation(r) for r in rows(db, sql, session, most)]
            wanted = dumps([number(i, "op") for i in ids])
            sql = (
                "SELECT o.* FROM json_each(?) j CROSS JOIN operations o "
                "ON o.session = ? AND o.n = j.value"
            )
            return [to_operation(r) for r in rows(db, sql, wanted, session)]

        return await self.db.read(job, single=True)

    async def dirty(self, session: int) -> list[str]:
        """The outputs that lack a value at some place in use."""

        def job(db: sqlite3.Connection) -> list[str]:
            sql = "SELECT n FROM variables WHERE session = ? AND dirty ORDER BY n"
            return [f"v{r['n']}" for r in rows(db, sql, session)]

        return await self.db.read(job, single=True)

    async def bound_to_files(self, session: int, chain: Chain | None = None) -> list[Variable]:
        """The leaves that are bound to files."""

        def job(db: sqlite3.Connection) -> list[Variable]:
            sql = "SELECT * FROM variables WHERE session = ? AND file IS NOT NULL ORDER BY n"
            return [to_variable(r) for r in rows(db, sql, session)]

        return await self.db.read(job, single=True, join=chain)

    async def note_file(self, session: int, variable: str, digest: str) -> None:
        """Remember what a bound file now holds."""

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE variables SET file = json_set(file, '$.digest', ?) "
                "WHERE session = ? AND n = ?",
                (digest, session, number(variable, "v")),
            )

        await self.db.write(job)

    async def loss_outputs(self, session: int) -> list[str]:
        """The losses that no other operation uses."""

        def job(db: sqlite3.Connection) -> list[str]:
            sql = (
                "SELECT output FROM operations o WHERE session = ? AND kind IN "
                "(SELECT value FROM json_each(?)) AND NOT EXISTS (SELECT 1 FROM edges e "
                "WHERE e.session = o.session AND e.source = o.output) ORDER BY output"
            )
            found = rows(db, sql, session, dumps(sorted(LOSSES)))
            return [f"v{r['output']}" for r in found]

        return await self.db.read(job, single=True)


def _check_there(db: sqlite3.Connection, session: int, ids: Sequence[str]) -> None:
    sql = (
        "SELECT count(*) FROM json_each(?) j CROSS JOIN variables v "
        "ON v.session = ? AND v.n = j.value"
    )
    found = rows(db, sql, dumps([number(i, "v") for i in ids]), session)[0][0]
    if found != len(ids):
        raise NotFound(
            "What this reads was taken out of the session meanwhile.",
            "inspect(session_id, what='graph') shows what is there.",
        )


def _insert_variable(
    db: sqlite3.Connection,
    session: int,
    variable: Variable,
    *,
    operation: int | None,
    dirty: bool,
) -> Variable:
    n = next_number(db, "variables", session)
    v = variable.model_copy(
        update={"id": f"v{n}", "operation": f"op{operation}" if operation else None}
    )
    db.execute(
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
    db.execute("UPDATE sessions SET updated = ? WHERE pk = ?", (now(), session))
    return v


def invalidate(db: sqlite3.Connection, session: int, sources: Iterable[int]) -> None:
    """Drop the values of everything made from `sources`. Call inside a write."""
    args = {"sources": dumps(list(sources)), "s": session}
    db.execute(
        DOWNSTREAM + "UPDATE variables SET dirty = 1 WHERE session = :s "
        "AND kind = 'output' AND n IN (SELECT n FROM down)",
        args,
    )
    db.execute(
        DOWNSTREAM + "DELETE FROM cells WHERE session = :s AND variable IN (SELECT n FROM down)",
        args,
    )
