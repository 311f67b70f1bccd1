"""The report: what was tried, what was won, what it cost, and how the present texts came to be."""

from __future__ import annotations

import json
from typing import Any

from ..schemas.graph import Kind, Session
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
    evaluations = await store.evaluations(session.pk, 1000)
    usage = await store.usage(session.pk)
    return {
        "proposals": await store.verdicts(session.pk),
        "scores": _scores(evaluations),
        "gated": _gated(await store.steps(session.pk, 1000)),
        "test_reads": session.test_reads,
        "price": {
            "calls": session.used_calls,
            "tokens": session.used_tokens,
            "cost": round(session.used_cost, 6),
            "by_purpose": usage,
        },
        "parameters": await _parameters(store, session),
    }


def spans(evaluations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The `first` and the `latest` evaluation of each loss and split: mean, standard error (None
    for one example), examples, and the `versions` of the parameters. `evaluations` are the
    store's, newest first."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in reversed(evaluations):
        grouped.setdefault((one["loss"], one["split"]), []).append(one)
    return [
        {
            "loss": loss,
            "split": split,
            "first": _evaluation(found[0]),
            "latest": _evaluation(found[-1]),
            "evaluations": len(found),
        }
        for (loss, split), found in grouped.items()
    ]


def _evaluation(one: dict[str, Any]) -> dict[str, Any]:
    kept = {key: one[key] for key in ("mean", "error", "examples")}
    return kept | {"versions": json.loads(one["versions"])}


def _scores(evaluations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        one
        | {
            "first": _figure(one["first"]),
            "latest": _figure(one["latest"]),
            "examples": one["latest"]["examples"],
        }
        for one in spans(evaluations)
    ]


def figure(one: dict[str, Any]) -> str:
    """The mean of an evaluation with its standard error, where it has one."""
    return f"{one['mean']:.3f}" + ("" if one["error"] is None else f" ± {one['error']:.3f}")


def _figure(one: dict[str, Any]) -> str:
    return f"{figure(one)} at {json.dumps(one['versions'], separators=(',', ':'))}"


def _gated(steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The score on the gate's split at the first step, and after the last one accepted."""
    compared = [s for s in steps if s["before"] is not None]
    if not compared:
        return None
    accepted = [s for s in compared if s["accepted"]]
    last = accepted[0]["after"] if accepted else compared[-1]["before"]
    return {
        "split": compared[0]["split"],
        "before": round(compared[-1]["before"], 4),
        "after": round(last, 4),
        "steps": len(compared),
        "accepted": len(accepted),
    }


async def _parameters(store: Store, session: Session) -> list[dict[str, Any]]:
    variables = await store.variables(session.pk)
    parameters = [v for v in variables.values() if v.kind is Kind.PARAMETER]
    room = share(len(parameters), 400, ROOM, ROOM)
    found = []
    for v in parameters[:PARAMETERS]:
        line = await store.lineage(session.pk, v.id, LINEAGE)
        led = [json.loads(one.pop("gradients") or "[]")[-LED:] for one in line]
        used = [g for ids in led for g in ids]
        texts = await store.gradient_texts(session.pk, used)
        most = share(len(used), 40, FEEDBACK // 2, room // 2)
        for one, ids in zip(line, led, strict=True):
            one["feedback"] = [f"{g}: {cut(texts.get(g, ''), most)[0]}" for g in ids]
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
