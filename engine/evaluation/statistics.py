"""What scores say about a change: means with their errors, paired gains, and the gate's verdict."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

from ...schemas.report import OWN_LOSS
from ..prompts import sentence

EXACT_UP_TO = 16
"""With so many non-zero differences at most, all sign flips are tried."""
FLIPS = 10_000
MANY = 2_000
"""With more different sizes than that, flips are not tried any more."""
_DIGITS = 12  # differences equal to so many decimals are equal: 0.7 - 0.6 is 0.1
_FEW, _QUICK = 200, 20_000  # examples; additions
_ROUNDING = 1e-9  # one example more of n right is a gain of exactly one standard error, for every n


@dataclass(frozen=True)
class Gain:
    """A change of score on the same `n` examples.

    `before` and `after` are means, `gain` the mean difference, `standard_error` that of the paired
    differences (None for one example), and `p` the chance of a gain this large if the change did
    nothing (one-sided sign-flip permutation test). `better` and `worse` count examples.
    """

    n: int
    before: float
    after: float
    gain: float
    standard_error: float | None
    p: float
    better: int = 0
    worse: int = 0

    @property
    def tie(self) -> bool:
        """Whether every example has the score it had."""
        return self.gain == 0 and not self.better and not self.worse


def mean_and_error(scores: Sequence[float]) -> tuple[float, float | None]:
    """The mean and its standard error, which is None for a single score.

    Raises ValueError for no scores and for scores that are not finite.
    """
    _check(scores)
    return fmean(scores), _standard_error(scores)


def paired_gain(before: Sequence[float], after: Sequence[float]) -> Gain:
    """The gain from `before` to `after`, scores of the same examples in the same order.

    Deterministic: exact up to EXACT_UP_TO non-zero differences, seeded sampling above, the normal
    distribution above MANY different ones.
    Raises ValueError for no pairs, unequal lengths, and scores that are not finite.
    """
    _check(before)
    _check(after)
    differences = _differences(before, after)
    return Gain(
        n=len(differences),
        before=fmean(before),
        after=fmean(after),
        gain=round(fmean(differences), _DIGITS),
        standard_error=_standard_error(differences),
        p=_chance(differences),
        better=sum(d > 0 for d in differences),
        worse=sum(d < 0 for d in differences),
    )


def is_quick(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether `paired_gain` takes no more than some milliseconds."""
    if len(before) > _FEW:
        return False
    sizes = Counter(abs(d) for d in _differences(before, after) if d)
    exact = sizes.total() <= EXACT_UP_TO
    return (2 ** sizes.total() if exact else _flips(len(sizes)) * len(sizes)) <= _QUICK


def gain_of(before: Sequence[float], after: Sequence[float]) -> tuple[Any, ...]:
    """`paired_gain` as plain values, those of a Gain in their order, for a worker."""
    return astuple(paired_gain(before, after))


def verdict(
    gain: Gain, z: float, split: str = "", *, exact: bool = False, reported: bool = False
) -> tuple[bool, str]:
    """Whether the change is kept, and the rule with its figures in words.

    It is kept only if the gain is above 0 and above `z` standard errors of the paired differences;
    a tie never is. With one example the error is unknown and any gain counts. Of `exact` scores,
    which would come out the same again, a gain that costs no example anything counts, too;
    `reported` says that they are what somebody measured and told.
    """
    head = _measured(gain, split)
    if gain.tie:
        return False, head + sentence("reasons", "tie")
    if gain.gain <= 0:
        return False, head + sentence("reasons", "not_above")
    if exact and gain.better and not gain.worse:
        return True, head + sentence("reasons", "reported" if reported else "exact")
    if gain.standard_error is None:
        return True, head + sentence(
            "reasons", "no_example" if split == OWN_LOSS else "one_example"
        )
    kept = gain.gain > z * gain.standard_error + _ROUNDING
    errors = sentence("reasons", "one_error" if z == 1 else "errors", z=f"{z:g}")
    beside = {"error": figure(gain.standard_error), "p": _chances(gain.p)}
    return kept, head + sentence("reasons", "beyond" if kept else "within", errors=errors, **beside)


def _measured(gain: Gain, split: str) -> str:
    """Both means and the gain, on how many examples."""
    many = "measured_on_one" if gain.n == 1 else "measured"
    before, after = figures(gain.before, gain.after)
    return sentence(
        "reasons",
        "measured_alone" if split == OWN_LOSS else many,
        split=split,
        count=str(gain.n),
        gain=figure(gain.gain),
        before=before,
        after=after,
    ).strip()


def _differences(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [round(b - a, _DIGITS) for a, b in zip(before, after, strict=True)]


def _flips(sizes: int) -> int:
    """How many sign flips are tried with so many different sizes: a second or two of work."""
    return max(FLIPS // 10, min(FLIPS, 2_000_000 // sizes))


def _check(scores: Sequence[float]) -> None:
    if not scores:
        raise ValueError("no scores")
    if not all(map(math.isfinite, scores)):
        raise ValueError("a score is not a finite number")


def _standard_error(values: Sequence[float]) -> float | None:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _chance(differences: Sequence[float]) -> float:
    """The share of sign flips whose sum is at least the observed one."""
    sizes = [abs(d) for d in differences if d]
    observed = math.fsum(differences) - 1e-9 * max(sizes, default=0.0)  # rounding is no difference
    if len(sizes) <= EXACT_UP_TO:
        return _exact(sizes, observed)
    groups = Counter(sizes)
    return _limit(sizes, observed) if len(groups) > MANY else _sampled(groups, observed)


def _exact(sizes: Sequence[float], observed: float) -> float:
    sums = [0.0]
    for size in sizes:
        sums = [total + size for total in sums] + [total - size for total in sums]
    return sum(total >= observed for total in sums) / len(sums)


def _limit(sizes: Sequence[float], observed: float) -> float:
    """The normal distribution, which the sum of so many different sizes has as good as exactly."""
    return 1 - NormalDist(0, math.sqrt(math.fsum(s * s for s in sizes))).cdf(observed)


def _sampled(counts: Mapping[float, int], observed: float) -> float:
    """Seeded sampling. Equal sizes are flipped together: of n, the positive ones are n random bits
    counted."""
    groups = list(counts.items())
    flips = _flips(len(groups))
    chance = random.Random(0)  # noqa: S311 - repeatable on purpose
    reached = 0
    for _ in range(flips):
        total = sum(size * (2 * chance.getrandbits(n).bit_count() - n) for size, n in groups)
        reached += total >= observed
    return (reached + 1) / (flips + 1)  # the observed signs are one of the flips


def figures(*scores: float) -> list[str]:
    """Scores with as many decimals as tell them apart, and from 1; two at least, four at most."""
    different = {round(score, _DIGITS) for score in (*scores, 1.0)}
    enough = (n for n in (2, 3) if len({f"{s:.{n}f}" for s in different}) == len(different))
    places = next(enough, 4)
    return [f"{score:.{places}f}" for score in scores]


def figure(value: float) -> str:
    """Two decimals, or enough to show that a small figure is not 0."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.1g}"


def _chances(p: float) -> str:
    return f"{p:.2f}" if p >= 0.01 else f"{p:.1g}"
