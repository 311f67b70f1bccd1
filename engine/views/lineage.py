"""How the texts of a session came to be: versions, what made them, and the feedback behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...schemas.graph import Variable
from ...schemas.report import Made, SessionReport
from ..store import Store
from .results import FEEDBACK, REASON, cut, share

LINEAGE = 8
LED = 6
"""So many gradients of a version are shown: its own last, those of refused ancestors before."""
TOLD = 8
"""Parameters whose lineage is told."""
ROOM = 3500
"""Characters of all their feedback together."""


async def add_texts(
    store: Store, session: int, report: SessionReport, variables: Sequence[Variable]
) -> None:
    """Add to a report the texts of its parameters and how they came to be, and what is left out."""
    for parameter, v in zip(report.parameters, variables, strict=True):
        parameter.text = v.value
    told = report.parameters[:TOLD]
    room = share(len(told), 400, ROOM, ROOM)
    for parameter in told:
        first = await store.history.version(session, parameter.id, 1)
        parameter.first_text = first.text if first else ""
        parameter.lineage = await _lineage(store, session, parameter.id, room // 2)
    report.left_out = _left_out(variables)


async def _lineage(store: Store, session: int, variable: str, room: int) -> list[Made]:
    line = await store.evaluations.lineage(session, variable, LINEAGE)
    led = [json.loads(one.pop("gradients") or "[]") for one in line]
    used = [g for ids in led for g in ids[-LED:]]
    texts = await store.evaluations.gradient_texts(session, used)
    most = share(len(used), 40, FEEDBACK // 2, room)
    return [
        _made(one, [f"{g}: {cut(texts.get(g, ''), most)[0]}" for g in ids[-LED:]], len(ids))
        for one, ids in zip(line, led, strict=True)
    ]


def _made(one: dict[str, Any], feedback: list[str], led: int) -> Made:
    if led > LED:
        feedback.append(f"and {led - LED} more: inspect(what='gradients')")
    gate = cut(one["gate"] or "", REASON)[0]
    return Made.model_validate(one | {"gate": gate, "feedback": feedback})


def _left_out(parameters: Sequence[Variable]) -> list[str]:
    """What a report does not tell, in sentences."""
    said = [
        f"{v.id}: the last {LINEAGE} of its {v.version} versions are shown."
        for v in parameters[:TOLD]
        if v.version > LINEAGE
    ]
    if len(parameters) > TOLD:
        said.append(
            f"{TOLD} of {len(parameters)} parameters are shown; inspect(session_id, "
            "id='vN') shows any."
        )
    return said
