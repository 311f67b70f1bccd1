"""The simulation that chose the gate's threshold decides as the gate does."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.evaluation.statistics import paired_gain, verdict
from textgrad_mcp.engine.optimizer.gate import Z

SIMULATED = runpy.run_path(
    str(Path(__file__).parent.parent.parent.parent / "benchmarks" / "gate.py")
)
QUARTERS = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=2, max_size=12)


@given(QUARTERS, st.sampled_from([0.5, Z, 1.64]))
def test_the_simulated_rule_is_the_gates_own(differences: list[float], z: float) -> None:
    kept, _ = verdict(paired_gain([0.0] * len(differences), differences), z)
    assert SIMULATED["beyond"](z)(differences) == kept


def test_the_threshold_in_force_is_among_the_measured_ones() -> None:
    assert f"z = {Z:g}" in SIMULATED["RULES"]


@pytest.mark.parametrize("levels", [1, 4])
def test_simulated_scores_have_the_true_mean(levels: int) -> None:
    examples = SIMULATED["Examples"](random.Random(0), 20_000, levels)
    parent = examples.draw()
    child = examples.scores(examples.rewrite(parent), 0.7)
    assert sum(child) / len(child) == pytest.approx(0.7, abs=0.02)


def test_a_large_gain_passes_more_often_than_none() -> None:
    rule = SIMULATED["beyond"](Z)
    none, much = (SIMULATED["kept"](rule, gain, 16, 1, 300, first=True) for gain in (0.0, 0.4))
    assert none < 0.15
    assert much > 0.6
