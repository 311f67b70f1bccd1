"""Repeated measurement: more evidence on the same examples, where what is asked may vary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...schemas.graph import NO_EXAMPLE, STEPPED
from ..evaluation.scoring import Scored
from ..program.operations import kind_of
from ..store import Program
from .cost_estimate import asking
from .trial import is_exact

RUNS = 3
"""For a decision that is open each example is run so many times at most."""
SHARE = 5
"""What such decisions may take of a budget of calls is one part in so many."""
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


def decisions(args: Mapping[str, Any], program: Program, examples: int) -> int:
    """In how many steps of a run what is open may be read again: none where the caller says how
    often to measure, or no model is asked; else as many as the budget pays for."""
    if args.get("repeats", 1) > 1 or not _asks(program):
        return 0
    calls = args["budget"].get("calls")
    most = 2 * (RUNS - 1) * examples * asking(program)
    return int(args["steps"]) if calls is None else int(calls) // (SHARE * most)


def _asks(program: Program) -> bool:
    """Whether a model or a judge can answer differently when a text is measured again."""
    if any(v.kind in STEPPED for v in program.variables.values()):
        return not is_exact(program)
    return any(kind_of(o).asks in ("forward", "backward") for o in program.operations.values())


def differing(scored: Scored) -> dict[int, bool]:
    """By example, whether repeated runs by the same models had different scores; empty where
    nothing was repeated."""
    groups: dict[int, list[dict[int, float]]] = {}
    for run in scored.runs:
        groups.setdefault(run.evaluation.lineup, []).append(run.scores)
    if all(len(runs) == 1 for runs in groups.values()):
        return {}
    return {
        n: any(len({run[n] for run in runs if n in run}) > 1 for runs in groups.values())
        for n in scored.scores
    }


def spread(scored: Scored) -> list[str]:
    """A note on how many examples had different scores in repeated runs by the same models; none
    where nothing was repeated."""
    each = differing(scored)
    if not each:
        return []
    differ = sum(each.values())
    whose = "its runs" if NO_EXAMPLE in each else f"the runs of {differ} of {len(each)} examples"
    if differ:
        return [f"With the texts that it began with, {whose} differed in score."]
    return [
        "With the texts that it began with, repeated runs had the same scores. If the model always "
        "answers alike (temperature 0 may: it cannot be known from here), more tell nothing more."
    ]
