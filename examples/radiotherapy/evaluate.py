"""Scores a plan: optimises the fluence for its objectives and compares the dose with the goals.

No clinical tool: the patients are synthetic, and the goals are ours. As an evaluator:
`score({"plan": ..., "patient": ...})`; the score is the share of goals met, with partial credit for
near misses, goals on the target counting three times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from examples.radiotherapy.patient import BUILDERS, Case, case
from examples.radiotherapy.plan import (
    BadPlan,
    Plan,
    dose_of,
    least_dose,
    parse,
    structure_rows,
    volume_above,
)

TARGET_WEIGHT = 3.0
SLACK = 0.25
"""A goal missed by this share of its bound has no credit left."""
SCORED = (
    f"A goal of the target counts {TARGET_WEIGHT:g} times, and a missed one counts in part, the "
    f"less the further it is missed, nothing from {SLACK:.0%} on."
)


@dataclass(frozen=True)
class Goal:
    """What a plan should reach: a figure of a structure, at least or at most `bound` (`unit`)."""

    structure: str
    figure: str
    measure: Callable[[Any], float]
    bound: float
    unit: str
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether `value` is enough."""
        return value >= self.bound if self.at_least else value <= self.bound

    def credit(self, value: float) -> float:
        """1 when met, less by how much it is missed, down to 0."""
        missed = self.bound - value if self.at_least else value - self.bound
        return 1.0 if missed <= 0 else max(0.0, 1.0 - missed / (SLACK * self.bound))

    def said(self) -> str:
        """The goal in words."""
        sign = "at least" if self.at_least else "at most"
        return f"{self.structure} {self.figure} {sign} {self.bound:g} {self.unit}"


def _share(percent: float) -> Callable[[Any], float]:
    return lambda dose: least_dose(dose, percent)


def _volume(level: float) -> Callable[[Any], float]:
    return lambda dose: volume_above(dose, level)


def _mean(dose: Any) -> float:
    return float(dose.mean())


GOALS: dict[str, list[Goal]] = {
    "pelvis": [
        Goal("target", "D98", _share(98), 67, "Gy", at_least=True),
        Goal("target", "D95", _share(95), 68.6, "Gy", at_least=True),
        Goal("target", "D2", _share(2), 73.5, "Gy"),
        Goal("rectum", "mean", _mean, 13, "Gy"),
        Goal("rectum", "V40", _volume(40), 7, "%"),
        Goal("rectum", "V60", _volume(60), 1, "%"),
        Goal("bladder", "mean", _mean, 12, "Gy"),
        Goal("bladder", "V40", _volume(40), 8.5, "%"),
        Goal("left femoral head", "D2", _share(2), 25, "Gy"),
        Goal("right femoral head", "D2", _share(2), 25, "Gy"),
        Goal("body", "mean", _mean, 7.3, "Gy"),
    ],
    "tg119": [
        Goal("target", "D98", _share(98), 45, "Gy", at_least=True),
        Goal("target", "D95", _share(95), 50, "Gy", at_least=True),
        Goal("target", "D10", _share(10), 55, "Gy"),
        Goal("core", "D10", _share(10), 25, "Gy"),
        Goal("body", "mean", _mean, 8, "Gy"),
    ],
}
PRESCRIBED = {"pelvis": 70.0, "tg119": 50.0}
"""Gy to the target. The goals of TG119 are those of its C-shape test, but for the body."""


def score(inputs: dict[str, str]) -> tuple[float, str]:
    """The score of `plan` for `patient`, with every goal's figure.

    Whatever the texts are, there is a score; 0 with the reason for what is no plan.
    """
    name = inputs.get("patient", "").strip()
    if name not in BUILDERS:
        return 0.0, f"Score 0: there is no patient {name!r}; there are {', '.join(BUILDERS)}."
    try:
        plan = parse(inputs.get("plan", ""), {goal.structure for goal in GOALS[name]})
    except BadPlan as error:
        return 0.0, f"Score 0: {error}."
    found = case(name)
    return judged(found, plan, figures(found, dose_of(found, plan)))


def figures(found: Case, dose: Any) -> list[float]:
    """What each goal measures, in their order."""
    rows = structure_rows(found)
    return [goal.measure(dose[rows[goal.structure]]) for goal in GOALS[found.name]]


def judged(found: Case, plan: Plan, values: list[float]) -> tuple[float, str]:
    """The score, and what to know about the plan."""
    goals = GOALS[found.name]
    weights = [TARGET_WEIGHT if goal.structure == "target" else 1.0 for goal in goals]
    earned = [goal.credit(value) for goal, value in zip(goals, values, strict=True)]
    total = sum(w * c for w, c in zip(weights, earned, strict=True)) / sum(weights)
    met = sum(goal.met(value) for goal, value in zip(goals, values, strict=True))
    lines = [f"Score {total:.3f}; {met} of {len(goals)} goals met. Prescribed: "]
    lines[0] += f"{PRESCRIBED[found.name]:g} Gy to the target. {SCORED}"
    for goal, value in zip(goals, values, strict=True):
        fate = "met" if goal.met(value) else "MISSED"
        lines.append(f"{fate}: {goal.said()}; it is {value:.2f} {goal.unit}.")
    lines.append("In force: " + ", ".join(_words(name, one) for name, one in plan.items()) + ".")
    return total, "\n".join(lines)


def _words(name: str, one: Any) -> str:
    return f"{name} weight {one.weight:g} dose {one.dose:g}"
