"""From objectives to dose: reads a plan, optimises the fluence, measures doses and volumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from examples.radiotherapy.patient import Case

ITERATIONS = 120
BODY = 6  # the fluence heeds one in so many of the body's rows
MOST_WEIGHT = 10_000.0
MOST_DOSE = 150.0


class BadPlan(Exception):
    """A text is no plan; it says why."""


@dataclass(frozen=True)
class Objective:
    """How much doses away from `dose` (Gy) weigh: any difference in the target, more elsewhere."""

    weight: float
    dose: float


Plan = Mapping[str, Objective]


def parse(text: str, structures: set[str]) -> dict[str, Objective]:
    """The objective of each structure, from `{"rectum": {"weight": 1, "dose": 30}, ...}`.

    A structure that is left out has no weight. Raises BadPlan.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise BadPlan(f"the text must be one JSON object and nothing else ({error})") from None
    except RecursionError:
        raise BadPlan("the JSON is nested too deeply") from None
    if not isinstance(given, dict):
        raise BadPlan("the JSON must be an object: structure -> {weight, dose}")
    unknown = sorted(set(given) - structures)
    if unknown:
        raise BadPlan(f"there is no structure {unknown[0]!r}; there are {_listed(structures)}")
    plan = {name: _objective(name, one) for name, one in given.items()}
    if "target" not in plan or not plan["target"].weight:
        raise BadPlan("the target needs a weight above 0, or nothing is irradiated")
    return plan


def _objective(name: str, given: object) -> Objective:
    if not isinstance(given, dict) or set(given) != {"weight", "dose"}:
        raise BadPlan(f"{name!r} must have exactly the keys weight and dose")
    weight, dose = (
        _number(name, key, given[key], most)
        for key, most in (("weight", MOST_WEIGHT), ("dose", MOST_DOSE))
    )
    return Objective(weight, dose)


def _number(name: str, key: str, value: object, most: float) -> float:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not 0 <= float(value) <= most:  # type: ignore[arg-type]
        raise BadPlan(f"{key} of {name!r} is {value!r}; it must be a number from 0 to {most:g}")
    return float(value)  # type: ignore[arg-type]


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def dose_of(case: Case, plan: Plan) -> Any:
    """The dose in Gy in each row's voxel, of the fluence that meets the objectives best.

    Minimises the weighted mean of squared differences, by L-BFGS-B from a flat start; the same
    each time.
    """
    rows = structure_rows(case)
    rows["body"] = rows["body"][::BODY]
    terms = [
        (rows[name], one.weight / max(1, len(rows[name])), one.dose, name == "target")
        for name, one in plan.items()
        if one.weight
    ]
    used = np.unique(np.concatenate([term[0] for term in terms]))
    matrix = case.matrix[used]
    placed = [(np.searchsorted(used, index), *rest) for index, *rest in terms]
    transposed = matrix.T.tocsr()

    def value(fluence: Any) -> tuple[float, Any]:
        dose = matrix @ fluence
        total, slope = 0.0, np.zeros(len(used))
        for index, weight, wanted, both_ways in placed:
            away = dose[index] - wanted
            if not both_ways:
                away = np.maximum(away, 0)
            total += weight * float(away @ away)
            slope[index] += 2 * weight * away
        return total, transposed @ slope

    fluence = _solved(value, case, plan["target"].dose)
    return case.matrix @ fluence


def _solved(value: Any, case: Case, wanted: float) -> Any:
    """The best fluence, none below 0. The start gives the target its dose on average."""
    flat = np.ones(case.matrix.shape[1])
    mean = float((case.matrix[structure_rows(case)["target"]] @ flat).mean())
    start = flat * max(wanted, 1.0) / mean
    options = {"maxiter": ITERATIONS, "maxcor": 20}
    bounds = [(0, None)] * len(start)
    return minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x


def structure_rows(case: Case) -> dict[str, Any]:
    """The rows of the matrix that lie in each structure; of the body the evenly spread ones."""
    number = np.full(case.hu.size, -1)
    number[case.rows] = np.arange(len(case.rows))
    found = {}
    for name, mask in case.masks.items():
        chosen = mask
        if name == "body":
            chosen = np.zeros_like(mask)
            chosen[::2, ::2, ::2] = mask[::2, ::2, ::2]
        rows = number[np.nonzero(chosen.ravel())[0]]
        found[name] = rows[rows >= 0]
    return found


def least_dose(dose: Any, percent: float) -> float:
    """D95 and the like: the dose in Gy that so many percent of the volume get at least."""
    return float(np.percentile(dose, 100 - percent))


def volume_above(dose: Any, level: float) -> float:
    """V50 and the like: the percentage of the volume that gets at least so many Gy."""
    return float((dose >= level).mean() * 100)
