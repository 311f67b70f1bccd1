"""The report as a model reads it: the figures in few words, texts cut to the room there is."""

from __future__ import annotations

import json
from typing import Any

from ...schemas.report import OWN_LOSS, Change, Measured, Parameter, SessionReport
from .results import FEEDBACK, cut, share

ROOM = 3500
"""Characters of all texts together, six times: of each parameter two are shown, beside others."""


def in_short(report: SessionReport) -> dict[str, Any]:
    """A report with texts, as plain data small enough for a model's context."""
    told = [p for p in report.parameters if p.lineage]
    most = min(FEEDBACK, share(len(told), 400, ROOM, ROOM) // 6)
    return {
        "headline": report.headline,
        **report.model_dump(include={"proposals", "gated", "test_reads"}),
        "price": report.price.model_dump() | {"by_purpose": _counted(report.price.by_purpose)},
        "scores": [_change(one) for one in report.scores],
        "parameters": [_parameter(one, most) for one in told],
        **({"left_out": report.left_out} if report.left_out else {}),
    }


def _counted(by_purpose: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Calls and tokens as whole numbers."""
    return {
        purpose: {k: int(n) if n == int(n) else n for k, n in used.items()}
        for purpose, used in by_purpose.items()
    }


def _change(one: Change) -> dict[str, Any]:
    said = {
        "loss": one.loss,
        "split": one.split,
        "first": _at(one.first),
        "latest": _at(one.latest),
        "evaluations": one.evaluations,
        **({"examples": one.latest.examples} if one.split != OWN_LOSS else {}),
    }
    return said | ({"gain": one.said} if one.said else {})


def _at(one: Measured) -> str:
    return f"{one.said} at {json.dumps(one.versions, separators=(',', ':'))}"


def _parameter(one: Parameter, most: int) -> dict[str, Any]:
    line = [made.model_dump() for made in one.lineage]
    return {
        "id": one.id,
        "role": cut(one.role, 120)[0],
        "version": one.version,
        "first_text": cut(one.first_text or "", most)[0],
        "text": cut(one.text or "", most)[0],
        "lineage": [{k: x for k, x in made.items() if x} for made in line],
    }
