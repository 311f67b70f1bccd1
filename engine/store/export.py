"""Sessions out of the database and back in, each as one self-contained document."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...schemas.completions import CompletionRequest
from ...schemas.text import cleaned
from .backend import Backend
from .consistency import refusal, sources
from .dbapi import Connection, Row
from .examples import digest_of_fields, likeness_of
from .export_format import (
    FORMAT,
    FORMAT_VERSION,
    LATER,
    LATER_TABLES,
    SESSION,
    TABLES,
    check_file,
    is_json,
)
from .maintenance import unreadable
from .quotas import room_for_bytes
from .rows import dumps, row, rows

Document = dict[str, Any]
REPLIES = ("calls", "attempts")


@dataclass(frozen=True)
class Export:
    """Sessions as documents; each method is one transaction."""

    db: Backend

    async def export_session(self, session: int) -> Document:
        """Everything in a session, as JSON values (see `export_format.file_schema`)."""

        def job(db: Connection) -> Document:
            [found] = rows(db, "SELECT * FROM sessions WHERE pk = ?", session)
            document: Document = {
                "format": FORMAT,
                "version": FORMAT_VERSION,
                "id": found["id"],
                "session": _document(found, SESSION),
            }
            for table, columns in TABLES.items():
                asked = f"SELECT {', '.join(columns)} FROM {table} WHERE session = ?"
                sql = f"{asked} ORDER BY {db.arrival(table)}"
                document[table] = [_document(r, columns) for r in rows(db, sql, session)]
            return document

        return await self.db.read(job, session=session)

    async def import_session(
        self, owner: str, document: object, check: Callable[[Document], None] | None = None
    ) -> str:
        """Store an exported session as `owner`'s; gives its id, a new one if its own is taken.

        Raises BadInput, and stores nothing, unless all of it is in order, and what `check` raises
        for a file whose rows are.
        """
        if isinstance(document, dict):
            document = {**{table: [] for table in LATER_TABLES}, **document}
        check_file(document)
        assert isinstance(document, dict)
        data: Document = document
        if check is not None:
            check(data)

        def job(db: Connection) -> str:
            sql = "SELECT 1 FROM sessions WHERE id = ?"
            db.lock(f"session {data['id']}")
            taken = row(db, sql, data["id"])
            session_id = f"tg_{secrets.token_urlsafe(16)}" if taken else str(data["id"])
            try:
                session = _insert_all(db, owner, session_id, data)
            except db.unfit as error:
                raise refusal(f"{error}") from None
            for problem in unreadable(db, session):
                _, _, said = problem.partition("What is stored as ")
                raise refusal(said.removesuffix(". Nothing was changed."))
            room_for_bytes(db, session, self.db.quota_bytes)
            return session_id

        return await self.db.write(job)


def _document(found: Row, columns: Mapping[str, str]) -> Document:
    return {
        name: json.loads(found[name]) if is_json(kind) and found[name] is not None else found[name]
        for name, kind in columns.items()
    }


def _insert_all(db: Connection, owner: str, session_id: str, data: Document) -> int:
    head = _stored(data["session"], SESSION) | {"id": session_id, "owner": owner}
    [made] = db.execute(f"{_insert('sessions', head)} RETURNING pk", head).fetchall()
    session = int(made["pk"])
    for table, columns in TABLES.items():
        given = map(_repaired, data[table]) if table in REPLIES else data[table]
        all_ = [LATER.get(table, {}) | one for one in given]
        values = [
            _stored(one, columns) | {"session": session} | _made_here(table, one) for one in all_
        ]
        if values:
            db.executemany(_insert(table, values[0]), values)
    edges = [(session, n, one["output"]) for one in data["operations"] for n in sources(one)]
    db.executemany("INSERT INTO edges (session, source, output) VALUES (?,?,?)", edges)
    db.execute(
        "INSERT INTO spent SELECT session, purpose, count(*), sum(prompt_tokens), "
        "sum(completion_tokens), sum(cached_tokens), sum(latency), sum(cost) FROM calls "
        "WHERE session = ? AND status != 'pending' GROUP BY session, purpose",
        (session,),
    )
    return session


def _repaired(one: Mapping[str, Any]) -> Document:
    """A call, or a try at one, as it would have been recorded: without what cannot be stored.

    A request that quotes such a reply is from then on the one that quotes what is stored of it.
    """
    repaired: Document = cleaned(dict(one))
    if repaired.get("request") != one.get("request"):
        said, is_said = (CompletionRequest.model_validate(r["request"]) for r in (one, repaired))
        repaired["key"] = repaired["key"].replace(said.key, is_said.key)
    return repaired


def _stored(one: Mapping[str, Any], columns: Mapping[str, str]) -> Document:
    return {name: _value(one[name], kind) for name, kind in columns.items()}


def _value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if is_json(kind):
        return dumps(value)
    return bool(value) if kind == "b" else value


def _made_here(table: str, one: Mapping[str, Any]) -> Document:
    """What stayed behind: nobody runs an imported run until somebody resumes it."""
    match table:
        case "examples":
            fields = one["fields"]
            return {"digest": digest_of_fields(fields), "likeness": likeness_of(fields)}
        case "runs":
            return {"owner": "", "lease": 0.0}
    return {}


def _insert(table: str, values: Mapping[str, Any]) -> str:
    names = ", ".join(values)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{n}' for n in values)})"
