"""The picture of a run: accuracy by way, and over the iterations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt

from examples.common.pictures import BASELINE, OURS, bars, save, style
from examples.common.record import standard_error

if TYPE_CHECKING:
    from examples.science.__main__ import Marks


def draw(path: Path, found: Marks, iterations: Sequence[Sequence[bool]]) -> None:
    """Write the picture."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    style(left, f"Right answers, {len(found.first)} held-out questions")
    columns = [found.first, found.iterated, found.voted]
    means = [sum(column) / len(column) for column in columns]
    errors = [standard_error(column) for column in columns]
    bars(left, ["first\nsolution", "vote over\niterations", "vote over\nas many"], means, errors)
    style(right, "By iteration")
    ys = [sum(one) / len(one) for one in iterations]
    right.errorbar(
        range(len(ys)),
        ys,
        yerr=[standard_error(one) for one in iterations],
        color=OURS,
        marker="o",
        capsize=3,
    )
    right.axhline(means[2], color=BASELINE, linewidth=1.5, label="vote over as many")
    right.set_xticks(range(len(ys)))
    right.set_xlabel("rewrites of the solution", fontsize=9)
    right.set_ylim(0, 1.05)
    right.legend(frameon=False, fontsize=8, loc="lower right")
    save(figure, path)
