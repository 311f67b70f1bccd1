"""Budgets: what a call may cost is set aside in the transaction that opens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...schemas.errors import BudgetExhausted
from ..answerers import PROGRAM
from .dbapi import Connection
from .quotas import count_call
from .rows import CLOCK, RunFence, check_owned, row

Budget = Mapping[str, float]
"""Some of: calls, tokens, cost (dollars), seconds."""


@dataclass(frozen=True)
class Price:
    """What one call may cost at most, as far as can be known beforehand: `tokens`, and dollars
    (`cost`)."""

    tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True)
class Budgets:
    """What a run and its session may spend; how many calls a day their owner may make, if that is
    limited and this call counts; and how many bytes the owner may store.

    A call that is `free`, a run of the operator's own program, is no call to a model: it only takes
    time.
    """

    run: Budget
    session: Budget
    owner: str = ""
    owner_calls: int | None = None
    owner_bytes: int | None = None
    free: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is limited for a call."""
        quotas = self.owner_calls, self.owner_bytes
        return bool(self.run or self.session) or quotas != (None, None)


def reserve(
    db: Connection, session: int, fence: RunFence | None, price: Price, budgets: Budgets
) -> None:
    """Count a call that is about to be opened. Call inside a write.

    Raises BudgetExhausted, QuotaExceeded, and Conflict when the run was cancelled or taken over
    meanwhile.
    """
    if fence is not None:
        spent = _spent(db, session, fence)
    count_call(db, budgets.owner, budgets.owner_calls)
    if fence is not None:
        pending = _pending(db, session, fence[0]) if budgets.run else _NOTHING
        _check("run", budgets.run, spent, pending, price, budgets.free)
        db.later(
            "UPDATE runs SET used_calls = used_calls + ? WHERE session = ? AND n = ?",
            (int(not budgets.free), session, fence[0]),
        )
    if budgets.session:
        total = row(
            db,
            "SELECT used_calls AS calls, used_tokens AS tokens, used_cost AS cost FROM sessions "
            "WHERE pk = ?",
            session,
        )
        every = _pending(db, session, None)
        used = dict(total or {}) | {"seconds": 0.0}
        used["calls"] += every["calls"]
        _check("session", budgets.session, used, every, price, budgets.free)


def _spent(db: Connection, session: int, fence: RunFence) -> dict[str, float]:
    """What a run has spent. Raises Conflict when it is not its owner's any more."""
    found = row(
        db,
        "SELECT status, owner, used_calls AS calls, used_tokens AS tokens, used_cost AS cost, "
        f"{CLOCK} - began AS seconds FROM runs WHERE session = ? AND n = ?",
        session,
        fence[0],
    )
    check_owned(found, fence)
    return dict(found or {})


PAID = f"substr(answerer, 1, {len(PROGRAM)}) != '{PROGRAM}'"
"""What is true of calls to models, in SQL: not of runs of the operator's programs."""
_NOTHING: dict[str, float] = {"calls": 0, "tokens": 0, "cost": 0}


def _pending(db: Connection, session: int, run: int | None) -> dict[str, float]:
    sql = (
        "SELECT count(*) AS calls, coalesce(sum(reserved_tokens), 0) AS tokens, "
        "coalesce(sum(reserved_cost), 0) AS cost FROM calls INDEXED BY calls_pending "
        f"WHERE session = ? AND status = 'pending' AND {PAID}"
    )
    found = row(db, sql, session) if run is None else row(db, f"{sql} AND run = ?", session, run)
    return dict(found) if found else _NOTHING


def _check(
    whose: str,
    budget: Budget,
    used: Mapping[str, float],
    pending: Mapping[str, float],
    price: Price,
    free: bool,
) -> None:
    more = {
        "calls": used["calls"] + 1,
        "tokens": used["tokens"] + pending["tokens"] + price.tokens,
        "cost": used["cost"] + pending["cost"] + price.cost,
        "seconds": used["seconds"],
    }
    for key, most in budget.items():
        if more[key] > most and not (free and key != "seconds"):
            raise BudgetExhausted(
                f"The {whose}'s budget of {most:g} {_UNITS[key]} is used up "
                f"({used[key]:.6g} spent, and the next call may take it to {more[key]:.6g}).",
                "Nothing is lost. Give a larger budget and call again to go on from here.",
            )


_UNITS = {"calls": "calls", "tokens": "tokens", "cost": "dollars", "seconds": "seconds"}
