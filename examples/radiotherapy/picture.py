"""The picture of a run: score over plans tried, dose before and after, dose-volume curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from examples.common.pictures import curves, save, style
from examples.radiotherapy.evaluate import GOALS, PRESCRIBED
from examples.radiotherapy.patient import Case, case
from examples.radiotherapy.plan import dose_of, parse, structure_rows

Points = Sequence[tuple[float, float]]
COLORS = {
    "target": "#c8322c",
    "core": "#2f6fb5",
    "rectum": "#8a5a2b",
    "bladder": "#d99a1c",
    "left femoral head": "#3b8f5a",
    "right femoral head": "#5a6fc0",
    "body": "#8a929a",
}
DOSE_MAP = "inferno"


def draw(path: Path, patient: str, plans: tuple[str, str], ours: Points, baseline: Points) -> None:
    """Write the picture; the dose of both plans is computed anew."""
    found = case(patient)
    names = {goal.structure for goal in GOALS[patient]}
    doses = [dose_of(found, parse(text, names)) for text in plans]
    figure = plt.figure(figsize=(11, 7.2))
    grid = figure.add_gridspec(2, 2, hspace=0.28, wspace=0.16, height_ratios=[1, 1])
    most = PRESCRIBED[patient] * 1.1
    for at, (title, dose) in enumerate(zip(("before", "after"), doses, strict=True)):
        ax = figure.add_subplot(grid[0, at])
        image = _slice(ax, found, dose, most)
        ax.set_title(f"Dose {title}", loc="left", fontsize=10, fontweight="bold")
        figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02).set_label("Gy", fontsize=8)
    _volumes(figure.add_subplot(grid[1, 0]), found, doses, patient)
    ax = figure.add_subplot(grid[1, 1])
    style(ax, "Score over plans tried")
    curves(ax, ours, baseline, spent="plans tried", baseline_name="random search")
    note = "No clinical tool: the patient is synthetic, the goals are ours."
    figure.text(0.99, 0.01, note, ha="right", fontsize=7.5, color="#808890")
    save(figure, path)


def _slice(ax: Any, found: Case, dose: Any, most: float) -> Any:
    """The dose in the shown slice over the anatomy, with the structures' outlines."""
    whole = np.zeros(found.hu.size, dtype=np.float32)
    whole[found.rows] = dose
    plane = whole.reshape(found.hu.shape)[found.shown]
    hu = found.hu[found.shown]
    ax.imshow(hu, cmap="gray", vmin=-400, vmax=900, interpolation="nearest")
    clear = np.ma.masked_less(plane, most * 0.06)
    image = ax.imshow(clear, cmap=DOSE_MAP, vmin=0, vmax=most, alpha=0.85, interpolation="bilinear")
    for name, mask in found.masks.items():
        outline = mask[found.shown].astype(float)
        if name != "body" and outline.any():
            ax.contour(outline, [0.5], colors=[COLORS.get(name, "white")], linewidths=1.6)
    ax.contour((hu > -500).astype(float), [0.5], colors=["#c9ced4"], linewidths=0.8)
    ax.axis("off")
    return image


def _volumes(ax: Any, found: Case, doses: list[Any], patient: str) -> None:
    """Dose-volume curves: dashed before, solid after."""
    style(ax, "Volume over dose (dashed: before)")
    most = max(float(dose.max()) for dose in doses)
    levels = np.linspace(0, min(most, PRESCRIBED[patient] * 1.25), 200)
    for name, rows in structure_rows(found).items():
        for dose, line in zip(doses, ("--", "-"), strict=True):
            share = [(dose[rows] >= level).mean() * 100 for level in levels]
            label = name if line == "-" else None
            ax.plot(levels, share, line, color=COLORS[name], linewidth=1.6, label=label)
    ax.axvline(PRESCRIBED[patient], color="#b9c0c8", linewidth=1, linestyle=":")
    ax.set_xlabel("dose, Gy", fontsize=9)
    ax.set_ylabel("volume, %", fontsize=9)
    ax.legend(frameon=False, fontsize=7.5)
