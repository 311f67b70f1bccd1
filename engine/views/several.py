"""Several sessions: a list of them, and some side by side."""

from __future__ import annotations

from typing import Any

from ...schemas.graph import Session
from ..show import cut
from ..store import Store
from .examples import WHOLE
from .session_report import session_report

LISTED = 100
"""Sessions in one page of the list."""
SPLITS = ("train", "validation", "test")


async def sessions(store: Store, offset: int = 0, owner: str | None = None) -> dict[str, Any]:
    """Sessions (an owner's, or all), the last used first, with the first and the latest score."""
    every = await store.every_session(owner)
    page = every[offset : offset + LISTED]
    counts = await store.counts([one.pk for one in page])
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
    """Sessions side by side: scores, present texts, cost, and how many examples they share.

    Each session's scores are of all its own examples, whether the others have them or not.
    """
    columns = []
    for one in found:
        report = await session_report(store, one)
        variables = await store.variables(one.pk, [p.id for p in report.parameters])
        columns.append(
            {
                **report.model_dump(mode="json", exclude={"owner"}),
                "texts": [
                    {"id": v.id, "role": v.role, "text": cut(v.value or "", WHOLE)[0]}
                    for v in variables.values()
                ],
            }
        )
    shared = await store.shared([one.pk for one in found])
    return {"sessions": columns, "shared": {split: shared.get(split, 0) for split in SPLITS}}
