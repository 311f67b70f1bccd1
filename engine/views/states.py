"""The sets of texts that a program has had, which examples can be looked at under."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

STATES = 60
"""Sets of texts that may be chosen for a comparison."""
NEWEST = 8 * STATES
"""Versions that are looked at for them: of a step as many as it changed texts."""


def states(columns: Mapping[str, list[Any]], present: Mapping[str, int]) -> list[dict[str, Any]]:
    """The sets of texts the program has had, the oldest first: that of the start, and the newest.

    `columns` are the newest versions of all leaves, `present` those that are installed of what
    steps change. A text that a set does not name is the one that is installed.
    """
    made = list(zip(*(columns[k] for k in ("variable", "version", "origin", "step")), strict=True))
    before = {v: max(1, n - 1) for v, n, _, _ in reversed(made)}
    start = dict.fromkeys([*present, *before], 1)
    now = start | dict(present) | before
    found: list[dict[str, Any]] = [{"label": "start", "versions": start}] if start else []
    for variable, version, origin, step in made:
        if origin == "created":
            continue
        now = now | {variable: version}
        label = f"s{step}" if step else origin
        if step is not None and found[-1]["label"] == label:
            found.pop()
        found.append({"label": label, "versions": now})
    short = found if len(found) <= STATES else [found[0], *found[1 - STATES :]]
    changed = {v for a, b in pairwise(short) for v in _differ(a, b)}
    return [{"label": one["label"], "versions": _only(one["versions"], changed)} for one in short]


def _differ(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return {v for v, n in b["versions"].items() if a["versions"].get(v) != n}


def _only(versions: Mapping[str, int], changed: set[str]) -> dict[str, int]:
    """The versions that say something: constants have one all along."""
    return {v: n for v, n in versions.items() if v in changed} or dict(list(versions.items())[:1])
