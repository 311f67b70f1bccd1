"""Quotas: what the operator lets one owner have and use, counted where it is used."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from ...schemas.errors import QuotaExceeded
from .dbapi import Connection
from .rows import row

T = TypeVar("T")


def room_for_session(db: Connection, owner: str, most: int | None) -> None:
    """Raise QuotaExceeded when `owner` has `most` sessions already. Call inside a write."""
    if most is None:
        return
    db.lock(f"sessions of {owner}")
    found = row(db, "SELECT count(*) AS n FROM sessions WHERE owner = ?", owner)
    used = int(found["n"]) if found else 0
    if used >= most:
        raise QuotaExceeded(
            f"You have {used} sessions, and {most} is the most you may have.",
            "Go on in one of them (inspect() lists them, with session_id you add to one). Room is "
            "free as soon as the operator deletes some: textgrad-mcp sessions delete, or prune.",
        )


def room_for_bytes(db: Connection, session: int, most: int | None) -> None:
    """Raise QuotaExceeded when the owner of `session` has more than `most` bytes by now.

    Call inside a write, after what it stores, which is undone then.
    """
    if most is None:
        return
    whose = row(db, "SELECT owner FROM sessions WHERE pk = ?", session)
    owner = str(whose["owner"]) if whose else ""
    db.lock(f"bytes of {owner}")  # or two sessions would each find room for what only one has
    found = row(db, "SELECT sum(bytes) AS n FROM sessions WHERE owner = ?", owner)
    used = int(found["n"] or 0) if found else 0
    if used > most:
        raise QuotaExceeded(
            f"You would have {used:,} bytes stored with this, and {most:,} is the most you may "
            "have. This was not stored; what was before is kept.",
            "Store less, or have the operator make room (`textgrad-mcp sessions list` tells sizes, "
            "delete or prune frees them) or raise quota_bytes.",
        )


def bounded(
    job: Callable[[Connection], T], session: int, most: int | None
) -> Callable[[Connection], T]:
    """`job`, undone if it stores more in the session than its owner, with `most` bytes, may."""
    if most is None:
        return job

    def size(db: Connection) -> int:
        found = row(db, "SELECT bytes FROM sessions WHERE pk = ?", session)
        return int(found["bytes"]) if found else 0

    @functools.wraps(job)
    def checked(db: Connection) -> T:
        before = size(db)
        made = job(db)
        if size(db) > before:
            room_for_bytes(db, session, most)
        return made

    return checked


def count_call(db: Connection, owner: str, most: int | None) -> None:
    """Count one model call of `owner`'s on this day (UTC). Call inside a write.

    Raises QuotaExceeded when `most` were made already.
    """
    if most is None:
        return
    now = datetime.now(UTC)
    today = f"{now:%Y-%m-%d}"
    sql = (
        "INSERT INTO owner_calls (owner, day, calls) VALUES (?,?,1) ON CONFLICT (owner, day) "
        "DO UPDATE SET calls = owner_calls.calls + 1 WHERE owner_calls.calls < ? RETURNING calls"
    )
    counted = row(db, sql, owner, today, most)
    if counted is None:
        found = row(db, "SELECT calls FROM owner_calls WHERE owner = ? AND day = ?", owner, today)
        used = int(found["calls"]) if found else most
        raise QuotaExceeded(
            f"You have used {used} model calls today, and {most} a day is the most.",
            f"Nothing is lost: {_frees(now)}, then call again. What you answer yourself is not "
            "counted.",
        )
    if counted["calls"] == 1:
        db.later("DELETE FROM owner_calls WHERE owner = ? AND day != ?", (owner, today))


def _frees(now: datetime) -> str:
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = int((midnight - now).total_seconds() // 60) + 1
    wait = f"{minutes // 60} h {minutes % 60} min"
    return f"the count starts anew at {midnight:%Y-%m-%d %H:%M} UTC, in {wait}"
