"""The picture of a run: the share solved, and each task's shown tests before and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt

from examples.common.pictures import OURS, START, bars, save, style
from examples.common.record import standard_error

Outcome = tuple[bool, bool, bool]


def draw(
    path: Path, found: Mapping[str, Outcome], scores: Mapping[str, tuple[float, float]]
) -> None:
    """Write the picture."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 0.26 * len(found) + 1.6), width_ratios=[1, 1.6], layout="constrained"
    )
    style(left, "Tasks solved, hidden tests included")
    columns = [[one[i] for one in found.values()] for i in range(3)]
    means = [sum(column) / len(column) for column in columns]
    errors = [standard_error(column) for column in columns]
    bars(left, ["before", "after", "best of n"], means, errors)
    style(right, "Shown tests passed, before and after (filled: solved)")
    for at, task in enumerate(reversed(list(found))):
        before, after = scores[task]
        right.plot([before, after], [at, at], color="#c3cad2", linewidth=2, zorder=1)
        right.plot(before, at, "o", color=START, markersize=5, zorder=2)
        face = OURS if found[task][1] else "white"
        right.plot(after, at, "o", color=OURS, markerfacecolor=face, markersize=7, zorder=3)
    right.set_yticks(range(len(found)), list(reversed(list(found))), fontsize=7)
    right.set_xlim(-0.04, 1.04)
    right.grid(axis="x", color="#e3e6ea")
    save(figure, path)
