"""Constraints that code checks, on texts of any length: long ones in a worker."""

from __future__ import annotations

from collections.abc import Sequence

from . import constraints
from .worker import SMALL
from .workers import Job, Workers


async def violations(
    workers: Workers, owner: str, lines: Sequence[str], old: str, new: str
) -> list[str]:
    """What to fix in `new`, a rewrite of `old`, by the constraints in `lines`.

    Raises TooLong, and BadInput like `constraints.parse`.
    """
    if len(old) + len(new) <= SMALL:
        return constraints.broken(lines, old, new)
    job = Job(
        owner,
        f"Checking constraints on a text of {len(new):,} characters",
        "Shorten the text, or leave out max_change and parses.",
    )
    return await workers.run(job, constraints.broken, list(lines), old, new)
