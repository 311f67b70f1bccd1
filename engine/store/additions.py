"""What a call adds to a graph: a leaf, or an operation with its output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...schemas.errors import NotFound
from ...schemas.graph import Operation, Variable, number
from .dbapi import Connection
from .examples import set_batch
from .rows import dumps, next_number, now, rows
from .runs import Adds


def adding(
    session: int, operation: Operation, output: Variable, batch: Sequence[int] | None
) -> Adds:
    """The part of a run's admission that adds an operation, for the run to compute its output.

    With `batch`, these become the examples in use. Raises NotFound when an input is gone.
    """

    def add(db: Connection) -> dict[str, Any]:
        if batch is not None:
            set_batch(db, session, batch)
        made, out = insert_operation(db, session, operation, output)
        ids = {"variable": out.id, "operation": made.id}
        ids |= {"loss": out.id} if made.is_loss else {}
        return {"targets": [out.id], "made": ids}

    return add


def recomputing(session: int, batch: Sequence[int] | None) -> Adds:
    """The part of a run's admission that sets the examples in use (`batch`; None: as they are), for
    the run to compute all that is stale then."""

    def recompute(db: Connection) -> dict[str, Any]:
        if batch is not None:
            set_batch(db, session, batch)
        return {"targets": stale(db, session)}

    return recompute


def binding(session: int, ids: Sequence[str]) -> Adds:
    """The part of a step's admission that binds it to the present versions of parameters."""
    wanted = dumps([number(id_, "v") for id_ in ids])

    def bind(db: Connection) -> dict[str, Any]:
        sql = (
            "SELECT v.n, v.version FROM json_each(?) j CROSS JOIN variables v "
            "ON v.session = ? AND v.n = j.value"
        )
        return {"bound": {f"v{r['n']}": r["version"] for r in rows(db, sql, wanted, session)}}

    return bind


def stale(db: Connection, session: int) -> list[str]:
    """The outputs that lack a value at some place in use."""
    sql = "SELECT n FROM variables WHERE session = ? AND dirty ORDER BY n"
    return [f"v{r['n']}" for r in rows(db, sql, session)]


def insert_operation(
    db: Connection, session: int, operation: Operation, output: Variable
) -> tuple[Operation, Variable]:
    """Add an operation and its output, which starts without a value. Call inside a write.

    Raises NotFound when an input is not there.
    """
    sources = [number(source, "v") for source in operation.sources]
    _check_there(db, session, sources)
    n = next_number(db, "operations", session)
    made = insert_variable(db, session, output, n)
    out = number(made.id, "v")
    inputs = {name: number(v, "v") for name, v in operation.inputs.items()}
    system = number(operation.system, "v") if operation.system else None
    db.execute(
        "INSERT INTO operations VALUES (?,?,?,?,?,?,?)",
        (session, n, operation.kind, out, system, dumps(inputs), dumps(operation.spec)),
    )
    db.executemany("INSERT INTO edges VALUES (?,?,?)", [(session, s, out) for s in sources])
    return operation.model_copy(update={"id": f"op{n}", "output": made.id}), made


def _check_there(db: Connection, session: int, numbers: Sequence[int | None]) -> None:
    sql = (
        "SELECT count(*) FROM json_each(?) j CROSS JOIN variables v "
        "ON v.session = ? AND v.n = j.value"
    )
    found = rows(db, sql, dumps(numbers), session)[0][0]
    if found != len(numbers):
        raise NotFound(
            "What this reads was taken out of the session meanwhile.",
            "inspect(session_id, what='graph') shows what is there.",
        )


def insert_variable(
    db: Connection,
    session: int,
    variable: Variable,
    operation: int | None = None,
) -> Variable:
    """Add a leaf, or the output of an operation. Call inside a write."""
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
            operation is not None,
            v.file.model_dump_json() if v.file else None,
        ),
    )
    db.execute("UPDATE sessions SET updated = ? WHERE pk = ?", (now(), session))
    return v
