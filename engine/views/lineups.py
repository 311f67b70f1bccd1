"""How several models that run one program scored."""

from __future__ import annotations

from collections.abc import Mapping

from ..evaluation.statistics import figures
from ..program.lineups import worst_counts
from ..store import Program


def by_model(program: Program, found: Mapping[str, float | tuple[float, float]]) -> list[str]:
    """A note on the mean scores by model, as they are or before and after; none for one model."""
    if not found:
        return []
    each = ", ".join(f"{name} {_figure(score)}" for name, score in found.items())
    how = "the worst of them" if worst_counts(program) else "their mean"
    return [f"By model: {each}. On each example {how} counts."]


def _figure(score: float | tuple[float, float]) -> str:
    if isinstance(score, tuple):
        return " -> ".join(figures(*score))
    return figures(score)[0]
