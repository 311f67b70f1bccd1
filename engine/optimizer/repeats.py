"""Repeated measurement: more evidence on the same examples, where what is asked may vary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...schemas.graph import NO_EXAMPLE, STEPPED
from ..evaluation.scoring import Scored
from ..program.operations import kind_of
from ..store import Program
from .trial import is_exact

ONCE = (
    "Measured once, whatever repeats says: no model is asked between the texts and "
    "the score, and what was computed or told for a text is kept."
)


def settled(asked: Mapping[str, Any], program: Program) -> dict[str, Any]:
    """The arguments of a call with `repeats` as it will be for this program, and a note on it."""
    repeats = asked.get("repeats", 1)
    if repeats == 1:
        return dict(asked)
    if not _asks(program):
        return {**asked, "repeats": 1, "notes": [ONCE]}
    per_example = any(v.per_example for v in program.variables.values())
    what = "each example" if per_example else "the program"
    note = f"To measure, {what} {repeats} times: the mean of the runs counts."
    return {**asked, "notes": [note]}


def _asks(program: Program) -> bool:
    """Whether a model or a judge can answer differently when a text is measured again."""
    if any(v.kind in STEPPED for v in program.variables.values()):
        return not is_exact(program)
    return any(kind_of(o).asks in ("forward", "backward") for o in program.operations.values())


def spread(scored: Scored) -> list[str]:
    """A note on how many examples had different scores in repeated runs by the same models; none
    where nothing was repeated."""
    groups: dict[int, list[dict[int, float]]] = {}
    for run in scored.runs:
        groups.setdefault(run.evaluation.lineup, []).append(run.scores)
    if all(len(runs) == 1 for runs in groups.values()):
        return []
    each = {
        n: any(len({run[n] for run in runs if n in run}) > 1 for runs in groups.values())
        for n in scored.scores
    }
    differ = sum(each.values())
    whose = "its runs" if NO_EXAMPLE in each else f"the runs of {differ} of {len(each)} examples"
    if differ:
        return [f"With the texts that it began with, {whose} differed in score."]
    return [
        "With the texts that it began with, repeated runs had the same scores. If the model always "
        "answers alike (temperature 0 may: it cannot be known from here), more tell nothing more."
    ]
