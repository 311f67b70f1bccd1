"""What an answer adds to its call, and what it cost to the totals of run and session."""

from __future__ import annotations

from ...schemas.completions import Completion, Usage
from ...schemas.text import cleaned, storable
from ..answerers import Attempt
from .budgets import PAID
from .dbapi import Connection
from .rows import now


def add_attempt(db: Connection, session: int, call: int, attempt: Attempt) -> None:
    """Record one try at call number `call`. Call inside a write."""
    db.later(
        "INSERT INTO attempts VALUES (?,?,?,?,?,?)",
        (session, call, attempt.outcome, attempt.latency, storable(attempt.detail), now()),
    )


def storable_reply(completion: Completion) -> Completion:
    """The reply without characters that cannot be stored: it is not asked for again for those."""
    said = completion.model_dump(include={"text", "finish", "refusal", "reasoning", "model"})
    return completion.model_copy(update=cleaned(said))


def set_answer(db: Connection, session: int, n: int, completion: Completion) -> bool:
    """Make this the answer to call number `n`, and count what it cost; False, and nothing is
    changed, if the call has an answer already. Call inside a write."""
    cursor = db.execute(
        "UPDATE calls SET status = 'answered', text = ?, finish = ?, refusal = ?, reasoning = ?, "
        f"model = ?, answered = ?, {_ADDED} WHERE session = ? AND n = ? AND status = 'pending'",
        (
            completion.text,
            completion.finish,
            completion.refusal,
            completion.reasoning,
            completion.model,
            now(),
            *_added(completion),
            session,
            n,
        ),
    )
    if cursor.rowcount != 1:
        return False
    _total(db, session, n, completion, calls=1)
    return True


def count_late(db: Connection, session: int, n: int, completion: Completion) -> None:
    """Add what a completion cost that came too late to be the answer to call number `n`. Call
    inside a write."""
    sql = f"UPDATE calls SET {_ADDED} WHERE session = ? AND n = ?"
    db.later(sql, (*_added(completion), session, n))
    _total(db, session, n, completion, calls=0)


_ADDED = (
    "prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?, "
    "cached_tokens = cached_tokens + ?, latency = latency + ?, "
    "cost = CASE WHEN ? IS NULL THEN cost ELSE coalesce(cost, 0) + ? END"
)
"""What a completion cost, added to its call."""


def _figures(completion: Completion) -> tuple[int, int, int, float]:
    used: Usage = completion.usage
    return used.prompt_tokens, used.completion_tokens, used.cached_tokens, completion.latency


def _added(completion: Completion) -> tuple[object, ...]:
    cost = completion.usage.cost
    return (*_figures(completion), cost, cost)


def _total(db: Connection, session: int, n: int, completion: Completion, *, calls: int) -> None:
    """Add what a completion cost to its purpose, its run and its session."""
    used: Usage = completion.usage
    db.later(
        f"INSERT INTO spent SELECT session, purpose, CASE WHEN {PAID} THEN ? ELSE 0 END, "
        "?, ?, ?, ?, CAST(? AS REAL) FROM calls WHERE session = ? "
        "AND n = ? ON CONFLICT (session, purpose) DO UPDATE SET calls = spent.calls + "
        "excluded.calls, prompt_tokens = spent.prompt_tokens + excluded.prompt_tokens, "
        "completion_tokens = spent.completion_tokens + excluded.completion_tokens, "
        "cached_tokens = spent.cached_tokens + excluded.cached_tokens, "
        "seconds = spent.seconds + excluded.seconds, "
        "cost = CASE WHEN spent.cost IS NULL THEN excluded.cost "
        "ELSE spent.cost + coalesce(excluded.cost, 0) END",
        (calls, *_figures(completion), used.cost, session, n),
    )
    tokens, cost = used.prompt_tokens + used.completion_tokens, used.cost or 0.0
    db.later(
        "UPDATE runs SET used_tokens = used_tokens + ?, used_cost = used_cost + ? "
        "WHERE session = ? AND n = (SELECT run FROM calls WHERE session = ? AND n = ?)",
        (tokens, cost, session, session, n),
    )
    db.later(
        "UPDATE sessions SET used_calls = used_calls + (SELECT CASE WHEN "
        f"{PAID} THEN ? ELSE 0 END FROM calls WHERE session = ? AND n = ?), "
        "used_tokens = used_tokens + ?, "
        "used_cost = used_cost + ?, updated = ? WHERE pk = ?",
        (calls, session, n, tokens, cost, now(), session),
    )
