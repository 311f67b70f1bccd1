"""The report: what was tried, what was won, what it cost, and how the present texts came to be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..schemas.graph import Session, Variable
from .show import FEEDBACK, REASON, cut, share
from .store import Store

LINEAGE = 8
LED = 6
"""So many gradients of a version are shown: its own last, those of refused ancestors before."""
PARAMETERS = 8
"""How many a report tells of."""
ROOM = 3500
"""Characters of all their texts and feedback together."""


async def report(store: Store, session: Session) -> dict[str, Any]:
    """The session's report, as plain data.

    The difference between the first and the latest evaluation of a split is a gain only where the
    loss is the same; scores on train and validation have steered the search, test has not.
    """
    parameters = await store.parameters(session.pk)
    return {
        "proposals": await store.verdicts(session.pk),
        "scores": [_figures(one) for one in await store.spans(session.pk)],
        "gated": (await store.progress(session.pk))["gated"],
        "test_reads": session.test_reads,
        "price": {
            "calls": session.used_calls,
            "tokens": session.used_tokens,
            "cost": round(session.used_cost, 6),
            "by_purpose": await store.usage(session.pk),
        },
        "parameters": await _parameters(store, session, parameters[:PARAMETERS]),
        **_left_out(parameters),
    }


def _figures(one: dict[str, Any]) -> dict[str, Any]:
    ends = {end: _figure(one[end]) for end in ("first", "latest")}
    return one | ends | {"examples": one["latest"]["examples"]}


def _left_out(parameters: Sequence[Variable]) -> dict[str, list[str]]:
    """What a report does not tell, in sentences; empty when it tells all."""
    said = [
        f"{v.id}: the last {LINEAGE} of its {v.version} versions are shown."
        for v in parameters[:PARAMETERS]
        if v.version > LINEAGE
    ]
    if len(parameters) > PARAMETERS:
        said.append(
            f"{PARAMETERS} of {len(parameters)} parameters are shown; inspect(session_id, "
            "id='vN') shows any."
        )
    return {"left_out": said} if said else {}


def figure(one: dict[str, Any]) -> str:
    """The mean of an evaluation with its standard error, where it has one."""
    return f"{one['mean']:.3f}" + ("" if one["error"] is None else f" ± {one['error']:.3f}")


def _figure(one: dict[str, Any]) -> str:
    return f"{figure(one)} at {json.dumps(one['versions'], separators=(',', ':'))}"


async def _parameters(
    store: Store, session: Session, parameters: Sequence[Variable]
) -> list[dict[str, Any]]:
    room = share(len(parameters), 400, ROOM, ROOM)
    found = []
    for v in parameters:
        line = await store.lineage(session.pk, v.id, LINEAGE)
        led = [json.loads(one.pop("gradients") or "[]") for one in line]
        used = [g for ids in led for g in ids[-LED:]]
        texts = await store.gradient_texts(session.pk, used)
        most = share(len(used), 40, FEEDBACK // 2, room // 2)
        for one, ids in zip(line, led, strict=True):
            one["feedback"] = [f"{g}: {cut(texts.get(g, ''), most)[0]}" for g in ids[-LED:]]
            if len(ids) > LED:
                one["feedback"].append(f"and {len(ids) - LED} more: inspect(what='gradients')")
            one["gate"] = cut(one["gate"] or "", REASON)[0]
        first = await store.version(session.pk, v.id, 1)
        found.append(
            {
                "id": v.id,
                "role": cut(v.role, 120)[0],
                "version": v.version,
                "first_text": cut(first.text if first else "", min(FEEDBACK, room // 6))[0],
                "text": cut(v.value or "", min(FEEDBACK, room // 6))[0],
                "lineage": [{k: x for k, x in one.items() if x} for one in line],
            }
        )
    return found
