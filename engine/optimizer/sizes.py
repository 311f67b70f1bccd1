"""How many examples and rewrites a step has: what the caller says, or the budget pays for."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ...schemas.graph import Kind
from ..program.forward import made_from
from ..program.operations import kind_of
from ..store import Program
from .strategies import STRATEGIES

CHECK = 3
"""On so many of the examples that a reflection was shown its texts are checked (docs/gate.md)."""
LOW = 0.5
"""A text has a low score where it has less than this on what measures."""
RUN_IF_LOW, CHECKED_IF_LOW = 3, 2
"""So many are run, and checked on, where the score is low: most outputs fail then, and a few show
as much as many."""
LEAST = 8
"""So few validation examples are not chosen for a budget's sake: they would decide by luck."""
SHARE = 4
"""What scoring the start may take of a budget is one part in so many."""
FAR = 2
PATIENCE = 5
REFLECT = ((6, 3), (6, 2), (4, 1))
FEEDBACK = ((4, 3), (4, 2), (4, 1))
"""Training examples and rewrites of a step, from what is usual to the least."""


def strategy(program: Program, variables: Sequence[str] | None) -> str:
    """The name of the usual strategy: `reflect` where one text is improved and at most FAR steps
    stand between it and its loss, so that one call can see all of that; else `gradient`."""
    texts = [v for v in program.variables.values() if v.kind is Kind.PARAMETER]
    mine = [v.id for v in texts if variables is None or v.id in variables]
    affected = made_from(program, mine)
    made = [o for o in program.operations.values() if o.output in affected]
    steps = [o for o in made if kind_of(o).asks and kind_of(o).backwards == "ask"]
    ungraded = any(not o.spec.get("graded", True) for o in program.operations.values())
    return "reflect" if len(mine) == 1 and len(steps) <= FAR and not ungraded else "gradient"


def chosen(asked: Mapping[str, Any], per_example: int, examples: int, usual: str) -> dict[str, Any]:
    """The arguments of `optimize`, with values for what the caller left open (None).

    `per_example` is how many calls an example takes, `examples` how many examples there are to
    measure on, `usual` the strategy if none is named. Sizes are the usual ones, or smaller where
    the budget would not pay for the start and one step.
    """
    left_open = [k for k in ("strategy", "batch_size", "candidates") if asked[k] is None]
    asked = {**asked, "strategy": asked["strategy"] or usual}
    reflects = STRATEGIES.find(asked["strategy"]).reflects
    calls, runs = asked["budget"].get("calls"), asked.get("repeats", 1)
    measured = examples if calls is None else min(examples, _affordable(calls, per_example * runs))
    ways = [_sized(asked, *way) for way in (REFLECT if reflects else FEEDBACK)]
    rest = (calls or 0) - per_example * runs * measured
    fitting = (w for w in ways if calls is None or _step(w, per_example, measured, runs) <= rest)
    return {
        **asked,
        **next(fitting, ways[-1]),
        "parents": asked["parents"] or ("best" if reflects else "pareto"),
        "patience": asked["patience"] or PATIENCE,
        "early": asked["patience"] is None,
        "measured": None if calls is None else measured,
        "open": left_open,
    }


def _affordable(calls: float, per_example: int) -> int:
    return max(LEAST, int(calls) // (SHARE * max(per_example, 1)))


def _sized(asked: Mapping[str, Any], learn: int, candidates: int) -> dict[str, int]:
    learn = asked["batch_size"] or learn
    reflects = STRATEGIES.find(asked["strategy"]).reflects
    few = min(RUN_IF_LOW, learn) if reflects and not asked["batch_size"] else learn
    return {
        "batch_size": learn,
        "few": few,
        "check": min(CHECK, learn) if reflects else learn,
        "candidates": asked["candidates"] or candidates,
    }


def _step(way: Mapping[str, int], per_example: int, examples: int, runs: int) -> int:
    """The calls of a step at most, where what is measured is run so many times; what a step learns
    from is run once."""
    again = (runs - 1) * way["check"]
    scored = way["batch_size"] + again + runs * (way["candidates"] * way["check"] + examples)
    return per_example * scored + 1 + way["candidates"]


def drawn(examples: Sequence[int], args: Mapping[str, Any]) -> list[int]:
    """The examples that a run measures on: all, or as many as its budget pays for."""
    most = args.get("measured")
    if most is None or len(examples) <= most:
        return list(examples)
    draw = random.Random(f"validation:{args['seed']}")  # noqa: S311 - a draw that can be repeated
    return sorted(draw.sample(list(examples), most))


def notes(args: Mapping[str, Any]) -> list[str]:
    """A note on how large each step was, for the result; none where the caller chose all sizes."""
    left_open = [k for k in args.get("open", []) if k != "strategy"]
    if not left_open:
        return []
    learn, check, candidates = (args[k] for k in ("batch_size", "check", "candidates"))
    rewrites = "1 rewrite" if candidates == 1 else f"{candidates} rewrites"
    on = f"on {check} of them" if check < learn else "on them"
    few = (
        f" ({RUN_IF_LOW} and {CHECKED_IF_LOW} while the text scores below {LOW:g})"
        if args.get("few", learn) < learn
        else ""
    )
    most = "all" if args["measured"] is None else f"up to {args['measured']}"
    more = args.get("referees")
    how = f"{rewrites} from {learn} training examples, checked {on}{few}"
    decide = f" What those leave open, up to {more} training examples decide." if more else ""
    return [
        f"Each step: {how}, the best of them on {most} validation examples "
        f"({' and '.join(left_open)} chosen for the budget).{decide}"
    ]
