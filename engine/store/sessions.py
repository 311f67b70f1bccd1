"""Sessions: who has which."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from ...schemas.errors import NotFound
from ...schemas.graph import Session
from .backend import Backend, Chain
from .dbapi import Connection
from .quotas import room_for_bytes, room_for_session
from .rows import now, row, rows, to_session


@dataclass(frozen=True)
class SessionRows:
    """Sessions of their owners; each method is one transaction."""

    db: Backend

    async def create(
        self, owner: str, title: str, most: int | None = None, chain: Chain | None = None
    ) -> Session:
        """A new session with an unguessable id (128 random bits).

        Raises QuotaExceeded when the owner has `most` already. With `chain`, it is on disk once
        that is settled.
        """

        def job(db: Connection) -> Session:
            room_for_session(db, owner, most)
            sql = (
                "INSERT INTO sessions (id, owner, title, created, updated) VALUES (?,?,?,?,?) "
                "RETURNING *"
            )
            id_ = f"tg_{secrets.token_urlsafe(16)}"
            found = rows(db, sql, id_, owner, title, now(), now())
            room_for_bytes(db, found[0]["pk"], self.db.quota_bytes)
            return to_session(found[0])

        return await self.db.write(job, join=chain)

    async def get(self, session_id: str, owner: str) -> Session:
        """The owner's session. Raises NotFound, in the same words for foreign ones."""
        came = time.monotonic()

        def job(db: Connection) -> Session:
            found = row(db, "SELECT * FROM sessions WHERE id = ? AND owner = ?", session_id, owner)
            if found is None:
                raise NotFound(
                    "There is no session with this session_id.",
                    "Call inspect() for your sessions, or create_variable without session_id "
                    "to start one.",
                )
            return to_session(found).model_copy(update={"came": came})

        return await self.db.read(job, single=True)

    async def of_owner(self, owner: str, limit: int = 50) -> list[Session]:
        """The owner's sessions, the last used first."""

        def job(db: Connection) -> list[Session]:
            sql = "SELECT * FROM sessions WHERE owner = ? ORDER BY updated DESC, pk DESC LIMIT ?"
            return [to_session(r) for r in rows(db, sql, owner, limit)]

        return await self.db.read(job, single=True)
