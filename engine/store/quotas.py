"""Quotas: what the operator lets one owner have and use, counted where it is used."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from ...schemas.errors import QuotaExceeded
from .rows import row

T = TypeVar("T")


def room_for_session(db: sqlite3.Connection, owner: str, most: int | None) -> None:
    """Raise QuotaExceeded when `owner` has `most` sessions already. Call inside a write."""
    if most is None:
        return
    found = row(db, "SELECT count(*) AS n FROM sessions WHERE owner = ?", owner)
    used = int(found["n"]) if found else 0
    if used >= most:
        raise QuotaExceeded(
            f"You have {used} sessions, and {most} is the most you may have.",
            "Go on in one of them (inspect() lists them, with session_id you add to one). Room is "
            "free as soon as the operator deletes some: textgrad-mcp sessions delete, or prune.",
        )


def room_for_bytes(db: sqlite3.Connection, session: int, most: int | None) -> None:
    """Raise QuotaExceeded when the owner of `session` has more than `most` bytes by now.

    Call inside a write, after what it stores, which is undone then.
    """
    if most is None:
        return
    sql = (
        "SELECT sum(o.bytes) AS n FROM sessions s JOIN sessions o ON o.owner = s.owner "
        "WHERE s.pk = ?"
    )
    found = row(db, sql, session)
    used = int(found["n"] or 0) if found else 0
    if used > most:
        raise QuotaExceeded(
            f"You would have {used:,} bytes stored with this, and {most:,} is the most you may "
            "have. This was not stored; what was before is kept.",
            "Store less, or have the operator make room (`textgrad-mcp sessions list` tells sizes, "
            "delete or prune frees them) or raise quota_bytes.",
        )


def bounded(
    job: Callable[[sqlite3.Connection], T], session: int, most: int | None
) -> Callable[[sqlite3.Connection], T]:
    """`job`, undone if it stores more in the session than its owner, with `most` bytes, may."""
    if most is None:
        return job

    def size(db: sqlite3.Connection) -> int:
        found = row(db, "SELECT bytes FROM sessions WHERE pk = ?", session)
        return int(found["bytes"]) if found else 0

    @functools.wraps(job)
    def checked(db: sqlite3.Connection) -> T:
        before = size(db)
        made = job(db)
        if size(db) > before:
            room_for_bytes(db, session, most)
        return made

    return checked


def count_call(db: sqlite3.Connection, owner: str, most: int | None) -> None:
    """Count one model call of `owner`'s on this day (UTC). Call inside a write.

    Raises QuotaExceeded when `most` were made already.
    """
    if most is None:
        return
    now = datetime.now(UTC)
    today = f"{now:%Y-%m-%d}"
    sql = "SELECT calls FROM owner_calls WHERE owner = ? AND day = ?"
    found = row(db, sql, owner, today)
    used = int(found["calls"]) if found else 0
    if used >= most:
        raise QuotaExceeded(
            f"You have used {used} model calls today, and {most} a day is the most.",
            f"Nothing is lost: {_frees(now)}, then call again. What you answer yourself is not "
            "counted.",
        )
    if found is None:
        db.execute("DELETE FROM owner_calls WHERE owner = ?", (owner,))
    db.execute(
        "INSERT INTO owner_calls (owner, day, calls) VALUES (?,?,1) "
        "ON CONFLICT DO UPDATE SET calls = calls + 1",
        (owner, today),
    )


def _frees(now: datetime) -> str:
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = int((midnight - now).total_seconds() // 60) + 1
    wait = f"{minutes // 60} h {minutes % 60} min"
    return f"the count starts anew at {midnight:%Y-%m-%d %H:%M} UTC, in {wait}"
