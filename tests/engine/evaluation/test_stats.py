"""Gains are judged with their noise."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.evaluation.statistics import (
    EXACT_UP_TO,
    Gain,
    mean_and_error,
    paired_gain,
    verdict,
)

SCORES = st.floats(0, 1)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=8)


def split(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8))
def test_p_is_the_share_of_sign_flips_that_do_as_well(pairs: list[tuple[int, int]]) -> None:
    before, after = [a / 4 for a, _ in pairs], [b / 4 for _, b in pairs]
    differences = [b - a for a, b in pairs]
    flipped = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in product([1, -1], repeat=len(pairs))
    ]
    expected = sum(total >= sum(differences) for total in flipped) / len(flipped)
    assert paired_gain(before, after).p == pytest.approx(expected)


@given(PAIRS)
def test_gain_is_the_difference_of_the_means(pairs: list[tuple[float, float]]) -> None:
    before, after = split(pairs)
    gain = paired_gain(before, after)
    assert gain.gain == pytest.approx(gain.after - gain.before, abs=1e-9)
    assert 0 < gain.p <= 1
    assert gain.n == len(pairs)


@given(PAIRS, st.floats(0, 3))
def test_what_is_kept_is_a_gain_and_the_way_back_is_not(
    pairs: list[tuple[float, float]], z: float
) -> None:
    before, after = split(pairs)
    kept, _ = verdict(paired_gain(before, after), z)
    back, _ = verdict(paired_gain(after, before), z)
    assert not (kept and back)
    if kept:
        assert sum(after) > sum(before)


@given(st.lists(SCORES, min_size=1))
def test_ties_are_never_kept(scores: list[float]) -> None:
    kept, why = verdict(paired_gain(scores, scores), 0.0)
    assert not kept
    assert why.endswith(": a tie")


@pytest.mark.parametrize(("up", "down"), [(1, 0), (3, 1), (6, 3)])
@pytest.mark.parametrize("n", range(9, 40))
def test_a_gain_of_exactly_one_error_is_not_beyond_it_whatever_the_rounding(
    up: int, down: int, n: int
) -> None:
    before = [0.0] * up + [1.0] * down + [0.0] * (n - up - down)
    after = [1.0] * up + [0.0] * down + [0.0] * (n - up - down)
    assert not verdict(paired_gain(before, after), 1.0)[0]
    assert verdict(paired_gain([0.0, *before], [1.0, *after]), 1.0)[0]


def test_known_p_values() -> None:
    assert paired_gain([0] * 4, [1] * 4).p == 1 / 16
    assert paired_gain([0.6] * 4, [0.7] * 4).p == 1 / 16
    assert paired_gain([0, 0], [0, 1]).p == 1 / 2
    assert paired_gain([1, 1], [1, 1]).p == 1.0
    assert paired_gain([1] * 4, [0] * 4).p == 1.0


def test_sampling_agrees_with_the_exact_test_next_to_the_border() -> None:
    before = [0.0] * EXACT_UP_TO
    after = [1.0] * 11 + [-1.0] * 5
    exact = paired_gain(before, after).p
    sampled = paired_gain([*before, 0.0], [*after, 1e-11]).p
    assert sampled == pytest.approx(exact, abs=0.02)


def test_sampling_is_repeatable_and_never_says_zero() -> None:
    scores = [0.0] * 400, [1.0] * 400
    first = paired_gain(*scores)
    assert first == paired_gain(*scores)
    assert first.p == pytest.approx(1 / 10_001)


def test_many_different_scores_are_judged_too() -> None:
    before = [i / 5000 for i in range(5000)]
    after = [score + (i % 3 - 1) * i / 10_000 for i, score in enumerate(before)]
    assert 0.2 < paired_gain(before, after).p < 0.8


def test_the_error_is_that_of_the_paired_differences() -> None:
    gain = paired_gain([0.0, 0.5, 1.0], [0.1, 0.6, 1.1])
    assert gain.standard_error == pytest.approx(0)
    gain = paired_gain([0, 0, 0, 0], [1, 1, 0, 0])
    assert gain.standard_error == pytest.approx((1 / 3) ** 0.5 / 2)


def test_mean_and_error() -> None:
    assert mean_and_error([0.5]) == (0.5, None)
    assert mean_and_error([0, 1]) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("before", "after"),
    [([], []), ([1.0], []), ([1.0], [1.0, 2.0]), ([float("nan")], [1.0]), ([0.0], [float("inf")])],
)
def test_scores_that_cannot_be_compared_are_refused(
    before: list[float], after: list[float]
) -> None:
    with pytest.raises(ValueError, match=r"score|zip"):
        paired_gain(before, after)


@pytest.mark.parametrize(
    ("gain", "z", "kept", "says"),
    [
        (
            Gain(10, 0.4, 0.7, 0.3, 0.15, 0.03),
            1.0,
            True,
            "validation 0.40 -> 0.70 on 10 examples, "
            "gain 0.30, more than 1 standard error (0.15; p = 0.03)",
        ),
        (
            Gain(10, 0.4, 0.7, 0.3, 0.15, 0.004),
            2.0,
            False,
            "validation 0.40 -> 0.70 on 10 examples, "
            "gain 0.30, not more than 2 standard errors (0.15; p = 0.004)",
        ),
        (
            Gain(1, 0.0, 1.0, 1.0, None, 0.5),
            1.0,
            True,
            "validation 0.00 -> 1.00 on 1 example, gain 1.00 > 0; with one example the error is "
            "unknown, so any gain counts",
        ),
        (
            Gain(5, 0.5, 0.4, -0.1, 0.1, 0.9),
            0.0,
            False,
            "validation 0.50 -> 0.40 on 5 examples, gain -0.10: only a gain above 0 is kept",
        ),
        (
            Gain(900, 0.5, 0.501, 0.001, 0.0001, 0.2),
            1.0,
            True,
            "validation 0.500 -> 0.501 on 900 examples, "
            "gain 0.001, more than 1 standard error (0.0001; p = 0.20)",
        ),
    ],
)
def test_the_verdict_states_the_rule_and_the_figures(
    gain: Gain, z: float, kept: bool, says: str
) -> None:
    assert verdict(gain, z, "validation") == (kept, says)


def test_the_verdict_needs_no_split() -> None:
    _, why = verdict(Gain(2, 0.0, 1.0, 1.0, 0.0, 0.25), 1.0)
    assert (
        why == "0.00 -> 1.00 on 2 examples, gain 1.00, more than 1 standard error (0.00; p = 0.25)"
    )
