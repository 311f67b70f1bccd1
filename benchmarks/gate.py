"""Which rule should the gate have? A simulation, without a model.

    python benchmarks/gate.py [--loops 500] [--parents pareto]

A text has a true score; the gate sees scores on a few validation examples. On each example a text
has a latent quality that is correlated with its parent's (a rewrite gets mostly the same examples
right); a score is 1 where the latent quality reaches the level that gives the true score, or, for
graded scores, the share of four such levels. Everything that one candidate is decided by is
`RULES`; the rest is the loop as `optimize` runs it: three candidates a proposal, each first on a
fresh minibatch of four, then on the validation split, against the installed text.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import get_args

from textgrad_mcp.engine.optimizer.pool import CandidatePool, PoolEntry
from textgrad_mcp.schemas.arguments.optimize import Parents

SIZES = (8, 16, 32, 64)
GAINS = (0.0, 0.05, 0.1, 0.2, 0.4)
START, TOP = 0.4, 0.97
PROPOSALS, CANDIDATES, BATCH = 10, 3, 4
CHECKED = 3
"""So many examples are checked on before validation in the table with referees."""
ALIKE = 0.7
"""Correlation of a rewrite's latent qualities with its parent's. Binary scores then differ on a
quarter of the examples and correlate by about 0.5; a real pair of accepted prompts, 0.94 and 0.75
on 16 examples, differed on 0.19 of them and correlated by 0.45."""
WITHIN = 0.7
"""Correlation of the four levels of a graded score."""
WORLDS = {
    "nothing helps": (0.0, 0.0, -0.05, -0.1, -0.2),
    "few help": (0.0, 0.0, -0.05, -0.05, -0.1, -0.1, -0.2, -0.2, 0.05, 0.1),
    "as many help as harm": (-0.2, -0.1, -0.05, 0.0, 0.0, 0.05, 0.1, 0.2),
    "most help": (-0.1, 0.0, 0.05, 0.1, 0.2, 0.4),
}
Rule = Callable[[Sequence[float]], bool]
"""Whether a candidate with these differences to the present text is kept."""


def any_gain(differences: Sequence[float]) -> bool:
    """A mean difference above 0."""
    return math.fsum(differences) > 1e-9


def beyond(z: float) -> Rule:
    """A mean difference of more than `z` standard errors, as in engine/stats.py."""

    def rule(differences: Sequence[float]) -> bool:
        n, total = len(differences), math.fsum(differences)
        if total <= 1e-9:
            return False
        squares = max(math.fsum(d * d for d in differences) - total * total / n, 0.0)
        return total / n > z * math.sqrt(squares / (n - 1) / n) + 1e-9

    return rule


def signs(level: float) -> Rule:
    """A one-sided sign test with p below `level`."""

    def rule(differences: Sequence[float]) -> bool:
        up = sum(d > 0 for d in differences)
        down = sum(d < 0 for d in differences)
        return math.fsum(differences) > 1e-9 and _tail(up, up + down) < level

    return rule


@cache
def _tail(up: int, n: int) -> float:
    """The chance of so many heads at least in `n` throws."""
    return sum(math.comb(n, k) for k in range(up, n + 1)) / 2**n


RULES: dict[str, Rule] = {
    "any gain": any_gain,
    "z = 0.5": beyond(0.5),
    "z = 1": beyond(1.0),
    "z = 1.64": beyond(1.64),
    "sign test, p < 0.1": signs(0.1),
}


class Examples:
    """Latent qualities on `n` examples, `levels` for each; 1 level makes scores binary."""

    def __init__(self, chance: random.Random, n: int, levels: int) -> None:
        self.chance, self.n, self.levels = chance, n, levels

    def draw(self) -> list[float]:
        """A fresh text's, standard normal."""
        gauss = self.chance.gauss
        if self.levels == 1:
            return [gauss(0, 1) for _ in range(self.n)]
        shared, own = math.sqrt(WITHIN), math.sqrt(1 - WITHIN)
        found = []
        for _ in range(self.n):
            common = shared * gauss(0, 1)
            found += [common + own * gauss(0, 1) for _ in range(self.levels)]
        return found

    def rewrite(self, parent: Sequence[float]) -> list[float]:
        """A rewrite's, correlated with its parent's."""
        new = math.sqrt(1 - ALIKE**2)
        return [ALIKE * p + new * e for p, e in zip(parent, self.draw(), strict=True)]

    def scores(self, latent: Sequence[float], true: float) -> list[float]:
        """The scores of a text whose true score is `true`."""
        bar = _bar(true)
        if self.levels == 1:
            return [1.0 if x < bar else 0.0 for x in latent]
        k = self.levels
        return [sum(x < bar for x in latent[i : i + k]) / k for i in range(0, len(latent), k)]


@cache
def _bar(true: float) -> float:
    return NormalDist().inv_cdf(min(max(true, 0.01), 0.99))


def differences(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """By example."""
    return [b - a for a, b in zip(before, after, strict=True)]


def kept(rule: Rule, gain: float, n: int, levels: int, times: int, *, first: bool) -> float:
    """How often one candidate with a true `gain` is kept; `first` also asks the minibatch."""
    chance = random.Random(f"{gain}:{n}:{levels}")
    small, split = Examples(chance, BATCH, levels), Examples(chance, n, levels)
    count = 0
    for _ in range(times):
        count += (not first or _pair(small, any_gain, gain)) and _pair(split, rule, gain)
    return count / times


def _pair(examples: Examples, rule: Rule, gain: float) -> bool:
    return rule(_differences(examples, gain))


def refereed(
    gain: float, levels: int, times: int, *, first: bool, more: int = 8, bar: float = 0.5
) -> float:
    """How often one candidate with a true `gain` is kept where a gain within one standard error on
    10 validation examples is read on `more` others, and kept if it is above `bar` on all; without
    others, where it is above `bar` on the 10."""
    chance = random.Random(f"{gain}:{more}:{levels}")
    small, split, others = (Examples(chance, n, levels) for n in (CHECKED, 10, max(more, 1)))
    count = 0
    for _ in range(times):
        if first and not _pair(small, any_gain, gain):
            continue
        found = _differences(split, gain)
        kept_ = beyond(1.0 if more else bar)(found)
        if not kept_ and more and any_gain(found):
            kept_ = beyond(bar)([*found, *_differences(others, gain)])
        count += kept_
    return count / times


def _differences(examples: Examples, gain: float) -> list[float]:
    parent = examples.draw()
    return differences(
        examples.scores(parent, START), examples.scores(examples.rewrite(parent), START + gain)
    )


@dataclass
class Outcome:
    """Of many optimisations: the mean true score at the end, the mean of how much more the
    validation split promised, the shares that ended truly worse and that took a step though
    nothing could help, and the mean number of candidates scored on validation."""

    true: float
    promised: float
    worse: float
    moved: float
    scored: float


def optimise(
    rule: Rule, world: Sequence[float], n: int, levels: int, loops: int, parents: Parents
) -> Outcome:
    """The outcome of `loops` optimisations of PROPOSALS proposals each."""
    ends = [Optimisation(seed, rule, world, n, levels, parents).run() for seed in range(loops)]
    return Outcome(
        true=sum(true for true, *_ in ends) / loops,
        promised=sum(seen - true for true, seen, *_ in ends) / loops,
        worse=sum(true < START - 1e-9 for true, *_ in ends) / loops,
        moved=sum(steps > 0 for _, _, steps, _ in ends) / loops,
        scored=sum(scored for *_, scored in ends) / loops,
    )


class Optimisation:
    """One optimisation. The pool of parents is the engine's own; `hidden` holds what it cannot
    see, the true score and the latent qualities of each member, by name."""

    def __init__(
        self, seed: int, rule: Rule, world: Sequence[float], n: int, levels: int, parents: Parents
    ) -> None:
        self.chance = random.Random(f"{world}:{n}:{levels}:{seed}")
        self.rule, self.world, self.parents, self.seed = rule, world, parents, seed
        self.small = Examples(self.chance, BATCH, levels)
        self.split = Examples(self.chance, n, levels)
        self.hidden: dict[str, tuple[float, list[float]]] = {}
        self.pool = CandidatePool(members=[self.scored(START, self.split.draw())])
        self.steps = 0

    def scored(self, true: float, latent: list[float]) -> PoolEntry:
        """A text, measured on the validation split."""
        name = str(len(self.hidden))
        self.hidden[name] = true, latent
        return PoolEntry.model_construct(
            name=name, texts={}, scores=self.split.scores(latent, true)
        )

    def run(self) -> tuple[float, float, int, int]:
        """True score and validation score at the end, steps taken, candidates scored."""
        for iteration in range(PROPOSALS):
            self.propose(iteration)
        end = self.pool.members[self.pool.current]
        return self.hidden[end.name][0], end.mean, self.steps, len(self.hidden) - 1

    def propose(self, iteration: int) -> None:
        """A parent, its rewrites on a fresh minibatch, and those that are better there on the
        validation split against the installed text."""
        true, latent = self.hidden[self.pool.choose(self.parents, self.seed, iteration).name]
        present = self.pool.members[self.pool.current].scores
        seen = self.small.draw()
        before = self.small.scores(seen, true)
        found = []
        for _ in range(CANDIDATES):
            new = min(true + self.chance.choice(self.world), TOP)
            batch = self.small.scores(self.small.rewrite(seen), new)
            if any_gain(differences(before, batch)):
                found.append(self.scored(new, self.split.rewrite(latent)))
        passed = [m for m in found if self.rule(differences(present, m.scores))]
        winner = max(passed, key=lambda m: m.mean) if passed else None
        self.steps += winner is not None
        for member in found:
            self.pool.add(member, installed=member is winner)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def one_candidate(times: int, *, first: bool) -> str:
    """How often one candidate is kept, by rule, kind of scores, size and true gain; `first` also
    asks the minibatch, as the gate does."""
    rows = []
    for kind, levels in (("binary", 1), ("graded", 4)):
        for n in SIZES:
            for name, rule in RULES.items():
                rates = [kept(rule, g, n, levels, times, first=first) for g in GAINS]
                rows.append([kind, str(n), name, *(f"{rate:.2f}" for rate in rates)])
    return table(["scores", "examples", "rule", *(f"gain {g:g}" for g in GAINS)], rows)


def with_referees(times: int) -> str:
    """How often one candidate is kept, with and without referees, by its true gain."""
    rows = []
    ways = {"z = 1, no referees": (0, 1.0), "z = 0.5, no referees": (0, 0.5)}
    ways |= {f"8 referees, z = {bar:g} on all": (8, bar) for bar in (0.0, 0.5, 1.0)}
    gains = (-0.1, -0.05, *GAINS[:4])
    for kind, levels in (("binary", 1), ("graded", 4)):
        for name, (more, bar) in ways.items():
            given = {"first": True, "more": more, "bar": bar}
            rates = [refereed(g, levels, times, **given) for g in gains]
            rows.append([kind, name, *(f"{rate:.2f}" for rate in rates)])
    return table(["scores", "rule", *(f"gain {g:g}" for g in gains)], rows)


def loop(loops: int, parents: Parents) -> str:
    """How a whole optimisation ends, by rule, world and size."""
    rows = []
    for kind, levels in (("binary", 1), ("graded", 4)):
        for name, rule in RULES.items():
            for world, gains in WORLDS.items():
                found = [optimise(rule, gains, n, levels, loops, parents) for n in SIZES]
                cells = [f"{o.true:.3f} / {o.worse:.2f} / {o.promised:+.2f}" for o in found]
                rows.append([kind, world, name, *cells])
    order = list(WORLDS)
    rows.sort(key=lambda r: (r[0], order.index(r[1])))
    return table(["scores", "world", "rule", *(f"{n} examples" for n in SIZES)], rows)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loops", type=int, default=500, help="optimisations in each cell")
    parser.add_argument("--parents", choices=get_args(Parents), default="pareto")
    parser.add_argument("--referees", action="store_true", help="the table with referees alone")
    arguments = parser.parse_args()
    loops = arguments.loops
    print("\nHow often one candidate passes a check on 3, 10 validation examples, and referees\n")
    print(with_referees(10 * loops))
    if arguments.referees:
        return
    for first in (False, True):
        where = "the minibatch and validation" if first else "validation alone"
        print(f"\nHow often one candidate passes {where}, by its true gain\n")
        print(one_candidate(5 * loops, first=first))
    print(
        f"\nAfter {PROPOSALS} proposals from a true score of {START}: mean true score / share that "
        "ended truly worse / what validation promised beyond the truth "
        f"({arguments.parents} parents)\n"
    )
    print(loop(loops, arguments.parents))


if __name__ == "__main__":
    main()
