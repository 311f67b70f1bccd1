"""Between rows and models."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from ...schemas.completions import Completion, CompletionRequest, Usage
from ...schemas.errors import Conflict, StoreError
from ...schemas.graph import (
    Example,
    FileBinding,
    Gradient,
    Kind,
    Operation,
    Proposal,
    Run,
    Session,
    Value,
    Variable,
    Version,
)
from ..extensions.operations import is_loss
from .backend import Backend
from .dbapi import Connection, Row

Reader = TypeVar("Reader", bound=Callable[..., Any])
RunFence = tuple[int, str]
"""A run's number and its process: what a run writes is refused once another has taken it over."""


def now() -> str:
    """The time as stored: UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


CLOCK = "((julianday('now') - 2440587.5) * 86400.0)"
"""The database's own time, in seconds since 1970: for what several processes compare."""


def dumps(value: Any) -> str:
    """JSON as stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def rows(db: Connection, sql: str, *args: Any) -> list[Row]:
    """All rows of one query."""
    return db.execute(sql, args).fetchall()


def row(db: Connection, sql: str, *args: Any) -> Row | None:
    """The first row of one query."""
    found = rows(db, sql, *args)
    return found[0] if found else None


async def listed(db: Backend, sql: str, session: int, *args: Any) -> list[dict[str, Any]]:
    """All rows of one query on a session, its first argument, as columns by name."""

    def job(connection: Connection) -> list[dict[str, Any]]:
        return [dict(r) for r in rows(connection, sql, session, *args)]

    return await db.read(job, session=session, single=True)


def columns(db: Connection, sql: str, *args: Any) -> dict[str, list[Any]]:
    """All rows of one query as one list a column, in a fraction of the time for very many.

    `args` are one for each parameter, or one mapping of their names.
    """
    cursor = db.execute(sql, args[0] if args and isinstance(args[0], dict) else args)
    cursor.row_factory = None
    names = [about[0] for about in cursor.description]
    found = list(zip(*cursor.fetchall(), strict=True))
    return {name: list(found[n]) if found else [] for n, name in enumerate(names)}


def next_number(db: Connection, table: str, session: int) -> int:
    """The next free number of `table` within the session: none is used again after a removal.

    Call inside a write.
    """
    sql = (
        f"SELECT coalesce(max(n), 0) FROM (SELECT max(n) AS n FROM {table} WHERE session = ? "
        "UNION ALL SELECT max(n) FROM removed WHERE session = ? AND kind = ?) AS used"
    )
    return int(rows(db, sql, session, session, table)[0][0]) + 1


def check_fence(db: Connection, session: int, fence: RunFence | None) -> None:
    """Refuse what a run writes when it is no longer its process's, or no longer active."""
    if fence is None:
        return
    run = row(db, "SELECT status, owner FROM runs WHERE session = ? AND n = ?", session, fence[0])
    check_owned(run, fence)


def check_owned(run: Row | None, fence: RunFence) -> None:
    """As `check_fence`, of a run's row that was read already."""
    if run is None or run["owner"] != fence[1] or run["status"] != "running":
        raise Conflict(
            f"Run r{fence[0]} was cancelled, or taken over by another server process.",
            "Call inspect(what='runs') to see where it stands.",
        )


def readable(what: str) -> Callable[[Reader], Reader]:
    """A decorator for functions that read a row: a row that cannot be read raises StoreError, which
    names it by `what`, filled in from the row."""

    def decorate(read: Reader) -> Reader:
        @functools.wraps(read)
        def reads(r: Row, *args: Any) -> Any:
            try:
                return read(r, *args)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise StoreError(
                    f"What is stored as {what.format(**dict(r))} cannot be read: "
                    f"{_first_problem(error)}. Nothing was changed.",
                    "`textgrad-mcp database check` lists all such; delete that session, or put a "
                    "backup in the database's place with `textgrad-mcp database restore BACKUP`.",
                ) from error

        return cast("Reader", reads)

    return decorate


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:200]
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


@readable("session {id}")
def to_session(r: Row) -> Session:
    """A row of sessions."""
    data = dict(r) | {"batch": json.loads(r["batch"]), "budget": json.loads(r["budget"])}
    return Session(**data)


@readable("variable v{n}")
def to_variable(r: Row) -> Variable:
    """A row of variables."""
    known = {
        "name": r["name"],
        "version": r["version"],
        "requires_grad": bool(r["requires_grad"]),
        "reference": bool(r["reference"]),
        "per_example": bool(r["per_example"]),
        "field": r["field"],
        "constraints": json.loads(r["constraints"]),
        "operation": f"op{r['operation']}" if r["operation"] else None,
        "file": FileBinding.model_validate_json(r["file"]) if r["file"] else None,
    }
    # A model remembers which fields it was given: for large graphs, only those that say something.
    said: dict[str, Any] = {name: value for name, value in known.items() if value}
    if r["value"] is not None:
        said["value"] = r["value"]
    return Variable(id=f"v{r['n']}", kind=Kind(r["kind"]), role=r["role"], **said)


@readable("operation op{n}")
def to_operation(r: Row) -> Operation:
    """A row of operations."""
    return Operation(
        id=f"op{r['n']}",
        kind=r["kind"],
        is_loss=is_loss(r["kind"]),
        output=f"v{r['output']}",
        system=f"v{r['system']}" if r["system"] else None,
        inputs={name: f"v{n}" for name, n in json.loads(r["inputs"]).items()},
        spec=json.loads(r["spec"]),
    )


@readable("example e{n}")
def to_example(r: Row) -> Example:
    """A row of examples."""
    return Example(id=f"e{r['n']}", split=r["split"], fields=json.loads(r["fields"]))


@readable("the value of v{variable}")
def to_value(r: Row) -> Value:
    """A row of cells."""
    return Value(text=r["text"], score=r["score"])


@readable("gradient g{n}")
def to_gradient(r: Row) -> Gradient:
    """A row of gradients."""
    return Gradient(
        id=f"g{r['n']}",
        variable=f"v{r['variable']}",
        version=r["version"],
        text=r["text"],
        examples=json.loads(r["examples"]),
        batch=json.loads(r["batch"]),
        operation=r["operation"],
        losses=json.loads(r["losses"]),
        exact=bool(r["exact"]),
        spent_by=f"s{r['spent_by']}" if r["spent_by"] else None,
    )


@readable("version {version} of v{variable}")
def to_version(r: Row) -> Version:
    """A row of versions."""
    return Version(
        variable=f"v{r['variable']}",
        version=r["version"],
        text=r["text"],
        origin=r["origin"],
        step=f"s{r['step']}" if r["step"] else None,
        created=r["created"],
    )


@readable("proposal p{n}")
def to_proposal(r: Row) -> Proposal:
    """A row of proposals."""
    return Proposal(
        id=f"p{r['n']}",
        step=f"s{r['step']}",
        variable=f"v{r['variable']}",
        gradients=json.loads(r["gradients"]),
        **{
            k: r[k]
            for k in (
                "parent",
                "text",
                "verdict",
                "fate",
                "reason",
                "version",
                "score",
                "parent_score",
                "gain",
                "error",
                "p",
                "split",
                "examples",
            )
        },
    )


@readable("run r{n}")
def to_run(r: Row, session_id: str) -> Run:
    """A row of runs. What cannot be read of it is empty, and named in `damaged`: it must still be
    possible to see the run and to drop it."""
    saved = {name: _object(r[name]) for name in ("args", "state", "result")}
    damaged = [name for name, value in saved.items() if value is None]
    return Run(
        id=f"r{r['n']}",
        session_id=session_id,
        tool=r["tool"],
        args=saved["args"] or {},
        status=r["status"],
        state=saved["state"] or {},
        result=saved["result"] or None,
        error=r["error"],
        process=r["owner"],
        digest=r["digest"],
        lease=r["lease"],
        answerers=r["answerers"],
        damaged=damaged,
    )


@readable("run r{n}")
def to_whole_run(r: Row) -> Run:
    """A row of runs, nothing of which may be damaged."""
    run = to_run(r, "")
    if run.damaged:
        raise ValueError(f"{', '.join(run.damaged)} is no JSON object")
    return run


def _object(text: Any) -> dict[str, Any] | None:
    """A JSON object as stored, an empty one for NULL; None where it is damaged."""
    try:
        found = json.loads(text) if text is not None else {}
    except (ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@readable("the request of call c{n}")
def to_request(r: Row) -> CompletionRequest:
    """The request in a row of calls."""
    return CompletionRequest.model_validate_json(r["request"])


@readable("the reply to call c{n}")
def to_completion(r: Row) -> Completion:
    """An answered row of calls."""
    usage = Usage(
        prompt_tokens=r["prompt_tokens"],
        completion_tokens=r["completion_tokens"],
        cached_tokens=r["cached_tokens"],
        cost=r["cost"],
    )
    return Completion(
        text=r["text"],
        finish=r["finish"],
        refusal=r["refusal"],
        reasoning=r["reasoning"],
        model=r["model"],
        latency=r["latency"],
        usage=usage,
    )
