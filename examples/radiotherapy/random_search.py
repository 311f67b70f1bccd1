"""The baseline: weights and doses drawn at random, as many plans as the optimiser had."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from examples.radiotherapy.evaluate import GOALS, PRESCRIBED


def plans(patient: str, seed: int) -> Iterator[str]:
    """Endlessly many plans: weights from 1 to 1000 by their logarithm, doses around what is
    prescribed for the target and from 0 to half of it elsewhere."""
    draw = random.Random(seed)
    prescribed = PRESCRIBED[patient]
    names = list(dict.fromkeys(goal.structure for goal in GOALS[patient]))
    while True:
        plan = {
            name: {
                "weight": round(10 ** draw.uniform(0, 3), 1),
                "dose": round(
                    prescribed
                    * (draw.uniform(1, 1.05) if name == "target" else draw.uniform(0, 0.5)),
                    1,
                ),
            }
            for name in names
        }
        yield json.dumps(plan)
