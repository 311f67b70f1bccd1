"""Who may change a session: one run at a time, or one change while there is none.

Everything here is called inside a write, so that between the look and the change nothing slips.
"""

from __future__ import annotations

import json

from ...schemas.errors import Conflict
from ...schemas.graph import Run
from .dbapi import Connection
from .rows import CLOCK, row, to_run

RECENT = 100
"""So many of a session's newest runs can have ended while a call waited for its turn."""
BLUR_SECONDS = 0.002
"""The database's clock counts milliseconds: what ended just then had ended."""
ACTIVE = "status IN ('running', 'needs_completions')"


def busy(run: Run) -> Conflict:
    """The Conflict for a call that finds another `run` active in its session."""
    how = "is waiting for completions" if run.status == "needs_completions" else "is running"
    return Conflict(
        f"Run {run.id} ({run.tool}) {how} in this session, and a session does one thing at a time.",
        f"Call resume(session_id='{run.session_id}') to go on with it, or resume with "
        "cancel=true to drop it (what was answered is kept).",
    )


def check_idle(db: Connection, session: int, besides: int = 0) -> None:
    """Raises Conflict when the session has an active run, other than number `besides`."""
    sql = f"SELECT * FROM runs WHERE session = ? AND {ACTIVE}"
    found = row(db, sql, session)
    if found is not None and found["n"] != besides:
        whose = row(db, "SELECT id FROM sessions WHERE pk = ?", session)
        raise busy(to_run(found, whose["id"] if whose else ""))


def standing(db: Connection, session: int, session_id: str, digest: str, age: float) -> Run | None:
    """The run that an arriving call is to follow: one of the same call (the same `digest`) that is
    active, or was until after this call came in, `age` seconds ago; else the session's active run;
    None without either."""
    sql = (
        f"SELECT * FROM runs WHERE session = ? AND {ACTIVE} "
        "UNION SELECT * FROM "
        "(SELECT * FROM runs WHERE session = ? ORDER BY n DESC LIMIT ?) AS recent "
        f"WHERE digest = ? AND stopped > {CLOCK} - ? ORDER BY n DESC"
    )
    values = (session, session, RECENT, digest, age - BLUR_SECONDS)
    runs = [to_run(r, session_id) for r in db.execute(sql, values).fetchall()]
    own = [run for run in runs if run.digest == digest]
    own += _quiet(db, session, session_id, digest, age)
    return next(iter(own or runs), None)


def _quiet(db: Connection, session: int, session_id: str, digest: str, age: float) -> list[Run]:
    sql = (
        "SELECT tool, result FROM quiet_runs WHERE session = ? AND digest = ? "
        f"AND stopped > {CLOCK} - ?"
    )
    found = row(db, sql, session, digest, age - BLUR_SECONDS)
    if found is None:
        return []
    result = json.loads(found["result"])
    return [
        Run(
            id="",
            session_id=session_id,
            tool=found["tool"],
            args={},
            status="done",
            result=result,
            digest=digest,
        )
    ]
