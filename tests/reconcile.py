"""Compares an endpoint's log with the ledger: nothing lost, nothing doubled, nothing asked twice.

Every reply holds the number of the request that it answers, and no two sessions ask the same.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from .standin import Seen

NUMBER = re.compile(r"Reply (\d+)\.")
GROWTH, GROWTH_KIB = 1.10, 8 * 1024
LONG = 120
"""Samples from which on growth of memory tells something."""


@dataclass
class Account:
    """What was counted, and what does not add up."""

    figures: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recorded:
    """One row of the ledger: the digest of what was asked, its status, whose reply it holds, and
    the outcomes of its attempts."""

    asked: str
    status: str
    reply: int | None
    outcomes: Counter[str]


def reconcile(database: Path, log: Iterable[Seen], given: Mapping[int, str]) -> Account:
    """The account of a run in which `given` tells what became of each request."""
    requests = {seen.index: digest(seen.body["messages"]) for seen in log}
    ledger = recorded(database)
    good = {index for index, what in given.items() if what == "good"}
    replies = Counter(row.reply for row in ledger if row.reply is not None)
    account = Account()
    account.figures = {
        "requests": len(requests),
        **{f"{what} requests": n for what, n in sorted(Counter(given.values()).items())},
        "calls in the ledger": len(ledger),
        "attempts in the ledger": sum(row.outcomes.total() for row in ledger),
        "good replies recorded": len(good & set(replies)),
        "recorded more than once": sum(n - 1 for n in replies.values()),
        "recorded under another request": _astray(ledger, requests),
        "calls left pending": sum(row.status == "pending" for row in ledger),
        "asked again after being recorded": _again(ledger, requests),
        "good replies lost": len(good - set(replies)) - _late(ledger, requests, given),
        "good replies that came too late": _late(ledger, requests, given),
        "requests without a recorded attempt": _unseen(ledger, requests),
    }
    account.problems = [
        f"{what}: {account.figures[what]}"
        for what in (
            "recorded more than once",
            "recorded under another request",
            "calls left pending",
            "asked again after being recorded",
            "good replies lost",
            "requests without a recorded attempt",
        )
        if account.figures[what]
    ]
    return account


def digest(messages: Iterable[Mapping[str, Any]]) -> str:
    """What was asked, in short."""
    plain = [[message["role"], message["content"]] for message in messages]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def recorded(database: Path) -> list[Recorded]:
    """The ledger's rows."""
    with closing(sqlite3.connect(database)) as db:
        outcomes: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
        for session, call, outcome in db.execute("SELECT session, call, outcome FROM attempts"):
            outcomes[session, call][outcome] += 1
        found = db.execute("SELECT session, n, request, status, text FROM calls").fetchall()
    return [
        Recorded(digest(json.loads(request)["messages"]), status, _number(text), outcomes[s, n])
        for s, n, request, status, text in found
    ]


def _number(text: str | None) -> int | None:
    found = NUMBER.search(text or "")
    return int(found[1]) if found else None


def _astray(ledger: list[Recorded], requests: Mapping[int, str]) -> int:
    """Replies that stand in the ledger beside another request than they answered."""
    return sum(row.reply is not None and requests[row.reply] != row.asked for row in ledger)


def _again(ledger: list[Recorded], requests: Mapping[int, str]) -> int:
    """Requests that came after the reply to the same request was recorded."""
    by_digest = defaultdict(list)
    for row in ledger:
        by_digest[row.asked].append(row.reply or 0)
    return sum(
        len(by_digest[asked]) == 1 and 0 < by_digest[asked][0] < index
        for index, asked in requests.items()
    )


def _late(ledger: list[Recorded], requests: Mapping[int, str], given: Mapping[int, str]) -> int:
    """Good replies to attempts that had timed out: more time-outs than the endpoint stalled."""
    stalled = Counter(requests[index] for index, what in given.items() if what == "stalled")
    return sum(max(0, row.outcomes["timeout"] - stalled[row.asked]) for row in ledger)


def _unseen(ledger: list[Recorded], requests: Mapping[int, str]) -> int:
    """Requests of which the ledger has no attempt."""
    attempts: Counter[str] = Counter()
    for row in ledger:
        attempts[row.asked] += row.outcomes.total()
    return sum((Counter(requests.values()) - attempts).values())


def memory_of(samples: Mapping[str, list[int]]) -> tuple[dict[str, list[float]], list[str]]:
    """Each process's resident memory in MiB (start, early, late), and which of them grew.

    Early is the mean of the second quarter of its samples, late that of the last.
    """
    shown, grown = {}, []
    for name, sizes in samples.items():
        quarter = len(sizes) // 4
        early = mean(sizes[quarter : 2 * quarter] or sizes)
        late = mean(sizes[-quarter:] or sizes)
        shown[name] = [round(size / 1024, 1) for size in (sizes[0], early, late)]
        if len(sizes) >= LONG and late > GROWTH * early + GROWTH_KIB:
            grown.append(f"{name} grew from {early / 1024:.0f} to {late / 1024:.0f} MiB")
    return shown, grown
