"""Is it worth the calls to read again what validation and referees leave open? A simulation.

    python benchmarks/rereading.py [--runs 100]

The world of `schedules.py`, but the task model forgets rules anew each time it is asked. A text
that gained within noise is read again on validation, and so is the installed one, until the mean of
the runs decides, or so many were made: any that gained, or such alone as gained half a standard
error.
"""

from __future__ import annotations

import argparse
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from gate import table
from schedules import BUDGETS, NOW, STRONG, WEAK, Critic, Ours, Spent, Text, World, better

KINDS = [(c, graded) for graded in (True, False) for c in (STRONG, WEAK)]


class Wavering(World):
    """A world whose task model answers otherwise each time."""

    def again(self, text: Text, run: int) -> list[float]:
        """A text's scores on validation in a further run; asked once."""
        found = []
        for place in self.validation:
            key = (text.name, place + run * len(self.examples))
            if key not in self.known:
                self.spend()
                self.known[key] = self.answered(text, place, f"{text.name}:{place}:{run}")
            found.append(self.known[key])
        return found


@dataclass(frozen=True)
class Again(Ours):
    """Ours, where what is left open is read up to `runs` times, if it gained more than `at_least`
    standard errors."""

    runs: int = 1
    at_least: float = 0.0

    def _refereed(self, world: World, present: Text, text: Text) -> bool:
        if super()._refereed(world, present, text):
            return True
        assert isinstance(world, Wavering)
        both = [world.scores(t, world.validation) for t in (present, text)]
        for run in range(1, self.runs):
            if sum(both[1]) <= sum(both[0]) or not better(*both, self.at_least):
                return False
            more = [world.again(t, run) for t in (present, text)]
            both = [_added(*pair) for pair in zip(both, more, strict=True)]
            if better(*both, self.z):
                return True
        return False


def _added(before: Sequence[float], more: Sequence[float]) -> list[float]:
    return [a + b for a, b in zip(before, more, strict=True)]


def told(way: Again, slips: float, critic: Critic, runs: int, *, graded: bool) -> str:
    """The mean true scores of what is handed out at each budget."""
    found = []
    for seed in range(runs):
        world = Wavering(random.Random(seed), critic, graded, slips=slips)
        with contextlib.suppress(Spent):
            way.run(world)
        texts = [[t for at, t in world.handed if at <= b][-1] for b in BUDGETS]
        found.append([world.true(text) for text in texts])
    return "/".join(f"{fmean(column):.3f}".lstrip("0") for column in zip(*found, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    asked = parser.parse_args()
    once = Again(**vars(NOW))
    ways = {"once": once}
    for runs in (2, 3):
        ways[f"up to {runs} times what gained"] = replace(once, runs=runs)
        ways[f"up to {runs} times what gained half an error"] = replace(
            once, runs=runs, at_least=0.5
        )
    rows = [
        [f"{slips:.0%}", name, *(told(way, slips, c, asked.runs, graded=g) for c, g in KINDS)]
        for slips in (0.05, 0.2)
        for name, way in ways.items()
    ]
    head = ["graded, strong", "graded, weak", "binary, strong", "binary, weak"]
    print(table(["forgotten", "read", *head], rows))


if __name__ == "__main__":
    main()
