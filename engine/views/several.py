"""Several sessions: a list of them, and some side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

from ...schemas.graph import Session
from ...schemas.report import SessionReport
from ..store import Store
from .comparisons import paired
from .examples import WHOLE
from .results import cut
from .session_report import session_report

LISTED = 100
"""Sessions in one page of the list."""
SPLITS = ("train", "validation", "test")


async def sessions(store: Store, offset: int = 0, owner: str | None = None) -> dict[str, Any]:
    """Sessions (an owner's, or all), the last used first, with the first and the latest score."""
    every = await store.maintenance.every_session(owner)
    page = every[offset : offset + LISTED]
    counts = await store.overview.counts([one.pk for one in page])
    return {
        "total": len(every),
        "offset": offset,
        "sessions": [
            {
                "session_id": one.id,
                "title": one.title,
                "owner": one.owner,
                "created": one.created,
                "updated": one.updated,
                "calls": one.used_calls,
                "tokens": one.used_tokens,
                "cost": round(one.used_cost, 6),
                **{k: counts[one.pk][k] for k in ("steps", "accepted", "score")},
            }
            for one in page
        ],
    }


async def compare(store: Store, found: list[Session]) -> dict[str, Any]:
    """Sessions side by side: scores, present texts, cost.

    Each session's `scores` are of all its own examples. `matched` has, of each split, how many
    examples all of them have, and the latest scores on those alone, against the first session's.
    """
    reports = [await session_report(store, one) for one in found]
    return {
        "sessions": [
            report.model_dump(mode="json", exclude={"owner"})
            | {"texts": await _texts(store, one, report)}
            for one, report in zip(found, reports, strict=True)
        ],
        "matched": {split: await _matched(store, found, reports, split) for split in SPLITS},
    }


async def _texts(store: Store, one: Session, report: SessionReport) -> list[dict[str, str]]:
    variables = await store.graph.variables(one.pk, [p.id for p in report.parameters])
    return [
        {"id": v.id, "role": v.role, "text": cut(v.value or "", WHOLE)[0]}
        for v in variables.values()
    ]


async def _matched(
    store: Store, found: list[Session], reports: list[SessionReport], split: str
) -> dict[str, Any]:
    """`shared` examples; of those that every session has a score of, `examples`, the `sides`."""
    shared = await store.overview.shared([one.pk for one in found], split)
    sides = []
    for one, report in zip(found, reports, strict=True):
        kept = await _latest(store, one, report, split)
        sides.append([kept.get(n) for n in shared[one.pk]])
    scored = [pair for pair in zip(*sides, strict=True) if None not in pair]
    return {
        "shared": len(shared[found[0].pk]),
        "examples": len(scored),
        "sides": await asyncio.to_thread(_against_first, scored) if scored else [],
    }


async def _latest(
    store: Store, one: Session, report: SessionReport, split: str
) -> Mapping[int, float]:
    """The scores of a split's examples in its latest evaluation, as far as they were kept."""
    last = next((change for change in report.scores if change.split == split), None)
    if last is None:
        return {}
    kept = await store.overview.evaluation_of(one.pk, last.loss, split, last.latest.versions)
    return await store.overview.scores_of(one.pk, kept[0]) if kept else {}


def _against_first(scored: list[tuple[float, ...]]) -> list[dict[str, Any]]:
    columns = [dict(enumerate(column)) for column in zip(*scored, strict=True)]
    sides = []
    for column in columns:
        change = paired(columns[0], column)
        against = asdict(change) if change and column is not columns[0] else {}
        sides.append({"mean": fmean(column.values()), **against})
    return sides
