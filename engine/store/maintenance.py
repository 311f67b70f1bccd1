"""Care of the data: finding, deleting and pruning sessions; checking and copying the file."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ...schemas.database import PostgresAddress
from ...schemas.errors import BadInput, Conflict, StoreError
from ...schemas.graph import Session
from .backend import Backend
from .causes import explain
from .dbapi import Connection, Row
from .migrations import bytes_of_session
from .rows import (
    CLOCK,
    dumps,
    rows,
    to_completion,
    to_example,
    to_gradient,
    to_operation,
    to_proposal,
    to_request,
    to_session,
    to_value,
    to_variable,
    to_version,
    to_whole_run,
)

IN_USE = (
    "EXISTS (SELECT 1 FROM runs r WHERE r.session = s.pk AND r.status = 'running' "
    f"AND r.lease > {CLOCK} AND r.owner != '')"
)


@dataclass(frozen=True)
class Maintenance:
    """What an operator does with the whole file; each method is one transaction."""

    db: Backend

    async def every_session(self, owner: str | None = None) -> list[Session]:
        """All sessions, or an owner's, the last used first."""

        def job(db: Connection) -> list[Session]:
            sql = (
                "SELECT * FROM sessions WHERE owner = coalesce(?, owner) ORDER BY updated DESC, pk"
            )
            return [to_session(r) for r in rows(db, sql, owner)]

        return await self.db.read(job)

    async def any_session(self, session_id: str) -> Session | None:
        """A session by id, whoever owns it."""

        def job(db: Connection) -> Session | None:
            found = rows(db, "SELECT * FROM sessions WHERE id = ?", session_id)
            return to_session(found[0]) if found else None

        return await self.db.read(job)

    async def delete_sessions(self, pks: list[int]) -> int:
        """Delete sessions with all they hold, and overwrite what they left in the file.

        Gives how many there were. Raises Conflict, and deletes none, when one is being run.
        """

        def job(db: Connection) -> int:
            db.lock_sessions(pks)
            which = {"pks": dumps(pks)}
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
            db.overwrite_deleted()
            sql = "DELETE FROM sessions WHERE pk IN (SELECT value FROM json_each(:pks))"
            return db.execute(sql, which).rowcount

        return await self.db.write(job)

    async def shared_key(self, name: str) -> str:
        """A secret of 256 bits that all processes on this database share; made if there is none."""

        def job(db: Connection) -> str:
            sql = "INSERT INTO shared_keys VALUES (?,?) ON CONFLICT (name) DO NOTHING"
            db.execute(sql, (name, secrets.token_hex(32)))
            return str(rows(db, "SELECT value FROM shared_keys WHERE name = ?", name)[0][0])

        return await self.db.write(job)

    async def running(self) -> list[str]:
        """The ids of the sessions that some server is running."""
        return await self.db.read(running, single=True)

    async def unused_since(self, days: float, owner: str | None = None) -> list[Session]:
        """Sessions that nothing has changed for so many days and that nobody runs."""
        before = datetime.now(UTC) - timedelta(days=days)
        stamp = before.isoformat(timespec="milliseconds").replace("+00:00", "Z")

        def job(db: Connection) -> list[Session]:
            sql = (
                "SELECT * FROM sessions s WHERE updated < :before AND "
                f"owner = coalesce(:owner, owner) AND NOT {IN_USE} ORDER BY updated"
            )
            given = {"before": stamp, "owner": owner}
            return [to_session(r) for r in db.execute(sql, given).fetchall()]

        return await self.db.read(job)

    async def check(self) -> list[str]:
        """What is wrong with the file, in words; nothing when it is whole."""

        return await self.db.read(problems_of)

    async def backup(self, target: Path) -> None:
        """Copy everything, as it is at one moment, into a new file; servers may go on writing.

        Raises BadInput if `target` exists, StoreError if it cannot be written.
        """
        source = self.db.path
        if isinstance(source, PostgresAddress):
            raise BadInput(
                f"{source} is not a file; a server makes its own backups.",
                "Use pg_dump, or the server's point-in-time recovery; `textgrad-mcp sessions "
                "export` writes one session into a file.",
            )
        if target.exists():  # noqa: ASYNC240 - one look, before a copy on a thread
            raise BadInput(f"{target} exists already; it was left as it is.", "Name a new file.")
        try:
            await asyncio.to_thread(_copy, source, target)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"The backup {target} could not be written: {error}.",
                "Check the place and its free space, and try again.",
            ) from explain(error, target)


def running(db: Connection) -> list[str]:
    """The ids of the sessions that some server is running."""
    found = db.execute(f"SELECT s.id FROM sessions s WHERE {IN_USE}")
    return [str(r["id"]) for r in found.fetchall()]


def problems_of(db: Connection) -> list[str]:
    """What is wrong with a file, in words; nothing when it is whole."""
    problems = db.damage()
    for what, sql in _RULES.items():
        n = rows(db, sql)[0][0]
        problems += [f"{n} {what}"] if n else []
    return problems + unreadable(db)


def unreadable(db: Connection, session: int | None = None) -> list[str]:
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


def _session_of(db: Connection, found: Row) -> str:
    if "session" not in found.keys():  # noqa: SIM118 - of a row, the other form asks for values
        return ""
    owned = rows(db, "SELECT id FROM sessions WHERE pk = ?", found["session"])
    return f"{owned[0]['id']}: " if owned else ""


_READERS: dict[str, list[Callable[[Row], object]]] = {
    "sessions": [to_session],
    "variables": [to_variable],
    "operations": [to_operation],
    "versions": [to_version],
    "examples": [to_example],
    "cells": [to_value],
    "calls": [to_request, lambda r: r["status"] == "pending" or to_completion(r)],
    "gradients": [to_gradient],
    "proposals": [to_proposal],
    "runs": [to_whole_run],
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
