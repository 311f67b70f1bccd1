"""The picture of a run: validation over the calls, and what was held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from examples.common.pictures import bars, curves, save, style
from examples.common.tools import Facts

Points = Sequence[tuple[float, float]]


def draw(path: Path, validation: Sequence[Points], tested: Sequence[Sequence[Facts]]) -> None:
    """Write the picture."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 3.6), width_ratios=[1.5, 1], layout="constrained"
    )
    style(left, "Validation over model calls")
    curves(
        left,
        validation[0],
        validation[1] if len(validation) > 1 else [],
        spent="model calls",
        score="share right",
        baseline_name="plain rewrites",
    )
    left.set_ylim(0, 1.05)
    style(right, "Held out")
    ends = [tested[0][0], tested[0][-1], *(one[-1] for one in tested[1:])]
    errors = [one["error"] or 0.0 for one in ends]
    names = ["before", "after", "plain\nrewrites"]
    bars(right, names[: len(ends)], [one["mean"] for one in ends], errors)
    save(figure, path)
