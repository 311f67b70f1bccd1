"""Quotas: what the operator lets one owner have and use, counted where it is used."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

from ...schemas.errors import QuotaExceeded
from .rows import row


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
