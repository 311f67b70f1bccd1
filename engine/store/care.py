"""Care of the data: finding, deleting and pruning sessions; checking and copying the file."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ...schemas.errors import BadInput, Conflict, StoreError
from ...schemas.graph import Session
from .causes import explain
from .database import Database
from .migrations import bytes_of_session
from .rows import (
    dumps,
    rows,
    to_completion,
    to_example,
    to_gradient,
    to_operation,
    to_proposal,
    to_request,
    to_run,
    to_session,
    to_value,
    to_variable,
    to_version,
)

IN_USE = (
    "EXISTS (SELECT 1 FROM runs r WHERE r.session = s.pk AND r.status = 'running' "
    "AND r.lease > :now AND r.owner != '')"
)


class CareVerbs:
    """The store's verbs for an operator, who sees everybody's sessions."""

    db: Database

    async def every_session(self, owner: str | None = None) -> list[Session]:
        """All sessions, or an owner's, the last used first."""

        def job(db: sqlite3.Connection) -> list[Session]:
            sql = "SELECT * FROM sessions WHERE ? IS NULL OR owner = ? ORDER BY updated DESC, pk"
            return [to_session(r) for r in rows(db, sql, owner, owner)]

        return await self.db.read(job)

    async def any_session(self, session_id: str) -> Session | None:
        """A session by id, whoever owns it."""

        def job(db: sqlite3.Connection) -> Session | None:
            found = rows(db, "SELECT * FROM sessions WHERE id = ?", session_id)
            return to_session(found[0]) if found else None

        return await self.db.read(job)

    async def delete_sessions(self, pks: list[int]) -> int:
        """Delete sessions with all they hold, and overwrite what they left in the file.

        Gives how many there were. Raises Conflict, and deletes none, when one is being run.
        """

        def job(db: sqlite3.Connection) -> int:
            which = {"pks": dumps(pks), "now": time.time()}
            sql = (
                "SELECT s.id FROM sessions s WHERE s.pk IN (SELECT value FROM json_each(:pks)) "
                f"AND {IN_USE}"
            )
            busy = db.execute(sql, which).fetchall()
            if busy:
                raise Conflict(
                    f"Session {busy[0][0]} is being run by a server.",
                    "Cancel the run (resume with cancel=true), or wait until it has ended.",
                )
            db.execute("PRAGMA secure_delete = ON")
            sql = "DELETE FROM sessions WHERE pk IN (SELECT value FROM json_each(:pks))"
            return db.execute(sql, which).rowcount

        return await self.db.write(job)

    async def unused_since(self, days: float, owner: str | None = None) -> list[Session]:
        """Sessions that nothing has changed for so many days and that nobody runs."""
        before = datetime.now(UTC) - timedelta(days=days)
        stamp = before.isoformat(timespec="milliseconds").replace("+00:00", "Z")

        def job(db: sqlite3.Connection) -> list[Session]:
            sql = (
                "SELECT * FROM sessions s WHERE updated < :before AND (:owner IS NULL OR "
                f"owner = :owner) AND NOT {IN_USE} ORDER BY updated"
            )
            given = {"before": stamp, "owner": owner, "now": time.time()}
            return [to_session(r) for r in db.execute(sql, given).fetchall()]

        return await self.db.read(job)

    async def check(self) -> list[str]:
        """What is wrong with the file, in words; nothing when it is whole."""

        return await self.db.read(problems_of)

    async def backup(self, target: Path) -> None:
        """Copy everything, as it is at one moment, into a new file; servers may go on writing.

        Raises BadInput if `target` exists, StoreError if it cannot be written.
        """
        if target.exists():  # noqa: ASYNC240 - one look, before a copy on a thread
            raise BadInput(f"{target} exists already; it was left as it is.", "Name a new file.")
        try:
            await asyncio.to_thread(_copy, self.db.path, target)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"The backup {target} could not be written: {error}.",
                "Check the place and its free space, and try again.",
            ) from explain(error, target)


def running(db: sqlite3.Connection) -> list[str]:
    """The ids of the sessions that some server is running."""
    found = db.execute(f"SELECT s.id FROM sessions s WHERE {IN_USE}", {"now": time.time()})
    return [str(r["id"]) for r in found.fetchall()]


def problems_of(db: sqlite3.Connection) -> list[str]:
    """What is wrong with a file, in words; nothing when it is whole."""
    found = [str(r[0]) for r in rows(db, "PRAGMA integrity_check")]
    problems = [] if found == ["ok"] else found
    for r in rows(db, "PRAGMA foreign_key_check"):
        problems.append(f"row {r[1]} of {r[0]} belongs to no session")
    for what, sql in _RULES.items():
        n = rows(db, sql)[0][0]
        problems += [f"{n} {what}"] if n else []
    return problems + unreadable(db)


def unreadable(db: sqlite3.Connection, session: int | None = None) -> list[str]:
    """What of a file's rows (or of a session's) cannot be read, each in a sentence."""
    problems = []
    for table, readers in _READERS.items():
        key = "pk" if table == "sessions" else "session"
        where = ("", ()) if session is None else (f" WHERE {key} = ?", (session,))
        for found in db.execute(f"SELECT * FROM {table}{where[0]}", where[1]):
            for read in readers:
                try:
                    read(found)
                except StoreError as error:
                    problems.append(f"{_session_of(db, found)}{error.message}")
    return problems


def _session_of(db: sqlite3.Connection, found: sqlite3.Row) -> str:
    if "session" not in found.keys():  # noqa: SIM118 - of a row, the other form asks for values
        return ""
    owned = rows(db, "SELECT id FROM sessions WHERE pk = ?", found["session"])
    return f"{owned[0]['id']}: " if owned else ""


_READERS: dict[str, list[Callable[[sqlite3.Row], object]]] = {
    "sessions": [to_session],
    "variables": [to_variable],
    "operations": [to_operation],
    "versions": [to_version],
    "examples": [to_example],
    "cells": [to_value],
    "calls": [to_request, lambda r: r["status"] == "pending" or to_completion(r)],
    "gradients": [to_gradient],
    "proposals": [to_proposal],
    "runs": [lambda r: to_run(r, "")],
}
_RULES = {
    "answered calls have no text": "SELECT count(*) FROM calls WHERE status != 'pending' AND "
    "text IS NULL",
    "sessions count other calls than were answered": "SELECT count(*) FROM sessions s WHERE "
    "used_calls != (SELECT count(*) FROM calls c WHERE c.session = s.pk AND status != 'pending')",
    "sessions hold other bytes than are counted": "SELECT count(*) FROM sessions s WHERE "
    f"bytes != {bytes_of_session('s')}",
    "values are not those of their versions": "SELECT count(*) FROM variables v WHERE version > 0 "
    "AND NOT EXISTS (SELECT 1 FROM versions w WHERE w.session = v.session AND w.variable = v.n "
    "AND w.version = v.version AND w.text = v.value)",
    "outputs have no operation": "SELECT count(*) FROM variables v WHERE kind = 'output' AND "
    "NOT EXISTS (SELECT 1 FROM operations o WHERE o.session = v.session AND o.n = v.operation)",
}


def _copy(source: Path, target: Path) -> None:
    """Through a draft, so that `target` is whole or not there."""
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(draft)) as new:
            old.execute("PRAGMA busy_timeout = 15000")
            old.backup(new)  # all pages in one go: a copy in parts starts over at each write
            new.execute("PRAGMA journal_mode = DELETE")
        os.link(draft, target)  # fails if somebody made it meanwhile
    finally:
        draft.unlink(missing_ok=True)
