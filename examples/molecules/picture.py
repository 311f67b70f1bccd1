"""The picture of a run: score over molecules tried, both molecules, the pose in its pocket."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.image as mpimg
import matplotlib.pyplot as plt
import numpy as np
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from examples.common.pictures import BASELINE, OURS, curves, save, style
from examples.common.report import Report
from examples.molecules.docking import Contact, dock, pocket, pose_mol

Points = Sequence[tuple[float, float]]
ELEMENTS = {6: "#2b2f36", 7: "#2f5fd0", 8: "#d0342c", 16: "#b99a1d", 9: "#3f9e4d", 17: "#3f9e4d"}
NAMED = 8  # residues that the pose picture names
BONDED = 1.9  # Å between bonded atoms, at most


def draw(path: Path, ours: Points, baseline: Points, report: Report, receptor: str) -> None:
    """Write the picture."""
    figure = plt.figure(figsize=(11, 6.2))
    grid = figure.add_gridspec(2, 3, width_ratios=[1.15, 1, 1.35], hspace=0.35, wspace=0.12)
    ax = figure.add_subplot(grid[:, 0])
    style(ax, "Score over molecules tried")
    curves(ax, ours, baseline, spent="molecules tried", baseline_name="random search")
    rows = {row.what: row for row in report.rows}
    for at, (name, smiles) in enumerate((("before", report.before), ("after", report.after))):
        ax = figure.add_subplot(grid[at, 1])
        ax.imshow(_drawn(smiles))
        ax.axis("off")
        energy, qed = (
            getattr(rows[what], name) for what in (f"Vina into {receptor}, kcal/mol", "QED")
        )
        title = f"{name.capitalize()}: {receptor} {energy}, QED {qed}"
        ax.set_title(title, loc="left", fontsize=10, fontweight="bold")
    _pose(figure.add_subplot(grid[:, 2]), report.after, receptor)
    save(figure, path)


def _drawn(smiles: str) -> Any:
    drawer = rdMolDraw2D.MolDraw2DCairo(700, 520)
    drawer.drawOptions().padding = 0.08
    drawer.drawOptions().fixedBondLength = 45
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, Chem.MolFromSmiles(smiles))
    drawer.FinishDrawing()
    return mpimg.imread(io.BytesIO(drawer.GetDrawingText()), format="png")


def _pose(ax: Any, smiles: str, receptor: str) -> None:
    """The pose in its plane of greatest extent, with the residues around it."""
    pose = dock(Chem.MolFromSmiles(smiles), receptor)
    mol = Chem.RemoveHs(pose_mol(pose))
    at = mol.GetConformer().GetPositions()
    center, axes = _plane(at)
    flat = (at - center) @ axes.T
    around = [(residue, (place - center) @ axes.T) for residue, _, place in pocket(receptor)]
    _receptor(ax, around, flat)
    for bond in mol.GetBonds():
        ends = flat[[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]]
        width = 2.2 + 1.6 * (bond.GetBondTypeAsDouble() > 1)
        ax.plot(ends[:, 0], ends[:, 1], color=OURS, linewidth=width, zorder=5)
    colors = [ELEMENTS.get(atom.GetAtomicNum(), "#7a4fb0") for atom in mol.GetAtoms()]
    ax.scatter(flat[:, 0], flat[:, 1], c=colors, s=34, zorder=6, edgecolors="white", linewidths=0.6)
    _named(ax, pose.contacts, around, flat)
    ax.set_aspect("equal")
    ax.axis("off")
    title = f"Pose in {receptor}: {pose.energy:.1f} kcal/mol"
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold")


def _plane(at: Any) -> tuple[Any, Any]:
    """The center and the principal axes, the longest upwards."""
    center = at.mean(axis=0)
    _, _, axes = np.linalg.svd(at - center)
    return center, axes[[1, 0, 2]]


def _receptor(ax: Any, around: list[tuple[str, Any]], flat: Any) -> None:
    """Atoms of the pocket, darker where they are near the plane of the pose."""
    reach = np.abs(flat).max(axis=0)[:2] + 5
    points = np.array([p for _, p in around if (np.abs(p[:2]) < reach).all() and abs(p[2]) < 6])
    if len(points):
        shade = np.clip(0.4 - np.abs(points[:, 2]) / 14, 0.04, 0.4)
        ax.scatter(points[:, 0], points[:, 1], s=22, color="#aab2bb", alpha=shade, linewidths=0)


def _named(ax: Any, contacts: list[Contact], around: list[tuple[str, Any]], flat: Any) -> None:
    """The nearest residues as sticks with their names; polar contacts as dashed lines."""
    taken: list[Any] = list(flat[:, :2])
    for contact in contacts[:NAMED]:
        atoms = np.array([place for residue, place in around if residue == contact.residue])
        color = BASELINE if contact.polar else "#6d7680"
        _sticks(ax, atoms, color)
        if contact.polar:
            gaps = np.linalg.norm(atoms[:, None, :] - flat[None, :, :], axis=2)
            atom, near = np.unravel_index(gaps.argmin(), gaps.shape)
            ends = np.array([atoms[atom][:2], flat[near][:2]])
            ax.plot(ends[:, 0], ends[:, 1], "--", color=color, linewidth=1.2, zorder=4)
        at = _free(atoms[:, :2], taken)
        taken.append(at)
        box = {
            "boxstyle": "round,pad=0.15",
            "facecolor": "white",
            "edgecolor": "none",
            "alpha": 0.8,
        }
        ax.annotate(
            contact.residue, at, fontsize=7.5, color=color, ha="center", va="center", zorder=8,
            bbox=box,
        )  # fmt: skip


def _sticks(ax: Any, atoms: Any, color: str) -> None:
    """Lines between a residue's atoms that are bonded, by their distance."""
    for i, one in enumerate(atoms):
        for other in atoms[i + 1 :]:
            if np.linalg.norm(one - other) < BONDED:
                ends = np.array([one[:2], other[:2]])
                ax.plot(ends[:, 0], ends[:, 1], color=color, linewidth=1.4, alpha=0.7, zorder=3)


def _free(atoms: Any, taken: list[Any]) -> Any:
    """Where a name is farthest from what is drawn: beside one of the residue's atoms."""
    places = [atom + np.array(away) for atom in atoms for away in ((0, 0), (0, 1.2), (0, -1.2))]
    return max(places, key=lambda at: min(np.linalg.norm(at - other) for other in taken))
