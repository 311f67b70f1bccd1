"""Curves of the score over what was spent, and the looks that all pictures share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

OURS, BASELINE, START = "#1f5fbf", "#b0762a", "#808890"
DPI = 110


def style(ax: Any, title: str) -> None:
    """Light axes with a title to the left."""
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=8)
    ax.grid(axis="y", color="#e3e6ea", linewidth=0.8)
    ax.set_axisbelow(True)


def curves(
    ax: Any,
    ours: Sequence[tuple[float, float]],
    baseline: Sequence[tuple[float, float]],
    *,
    spent: str,
    score: str = "best score so far",
    baseline_name: str = "baseline",
) -> None:
    """The score of both over what was spent, as steps, each marked by its name at the end."""
    for points, color, name in (
        (ours, OURS, "textual gradients"),
        (baseline, BASELINE, baseline_name),
    ):
        if points:
            xs, ys = zip(*points, strict=True)
            ax.step(xs, ys, where="post", color=color, linewidth=2, label=name)
            ax.plot(xs[-1], ys[-1], "o", color=color, markersize=5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(spent, fontsize=9)
    ax.set_ylabel(score, fontsize=9)
    ax.legend(frameon=False, fontsize=8, loc="lower right")


def scatter(ax: Any, points: Sequence[tuple[float, float]], color: str) -> None:
    """Every single try, faintly."""
    if points:
        xs, ys = zip(*points, strict=True)
        ax.plot(xs, ys, ".", color=color, alpha=0.35, markersize=5)


def bars(ax: Any, names: Sequence[str], values: Sequence[float], errors: Sequence[float]) -> None:
    """Shares from 0 to 1 with their standard errors and figures."""
    colors = [START, OURS, BASELINE][: len(names)]
    colors += [OURS] * (len(names) - len(colors))
    ax.bar(names, values, yerr=errors, color=colors, width=0.6, capsize=3)
    for at, value in enumerate(values):
        ax.annotate(
            f"{value:.2f}", (at, value), ha="right", va="bottom", fontsize=9, xytext=(-3, 2),
            textcoords="offset points",
        )  # fmt: skip
    ax.set_ylim(0, 1.12)


def prompt_run(
    path: Path,
    validation: Sequence[Sequence[tuple[float, float]]],
    held_out: Sequence[tuple[float, float]],
    baseline_name: str,
) -> None:
    """Write the picture of an optimised prompt: validation over the calls (the baseline's second,
    if any), and what was held out before, after and with the baseline: shares and errors."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 3.6), width_ratios=[1.5, 1], layout="constrained"
    )
    style(left, "Validation over model calls")
    ours, theirs = [*validation, []][:2]
    asked = {"spent": "model calls", "score": "share right", "baseline_name": baseline_name}
    curves(left, ours, theirs, **asked)
    left.set_ylim(0, 1.05)
    style(right, "Held out")
    names = ["before", "after", baseline_name.replace(" ", "\n", 1)]
    means, errors = zip(*held_out, strict=True)
    bars(right, names[: len(means)], means, errors)
    save(figure, path)


def save(figure: Any, path: Any) -> None:
    """Write it, tight, and let it go."""
    figure.savefig(path, dpi=DPI, bbox_inches="tight", facecolor="white")
    plt.close(figure)
