"""How should an optimiser spend its calls? A simulation, without a model.

    python benchmarks/schedules.py [--runs 300]

A task has eight hidden rules; an example calls for some of them, and its score is the share of
those that the prompt states (graded), or whether it states all (binary). A task model forgets a
rule now and then, always on the same example under the same prompt. A critic that is shown examples
finds rules that are missing in them; a weak one often changes nothing, or does harm. Everything is
counted in calls, and a reply that is on record is not asked for again. What is told is the true
score of the text that would be handed out after so many calls. A world of our making: what it says
is which way of spending is ahead of which.
"""

from __future__ import annotations

import argparse
import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import fmean

from gate import beyond, table
from textgrad_mcp.engine.optimizer.batches import mixed
from textgrad_mcp.engine.optimizer.pool import CandidatePool, How, PoolEntry

RULES, INVOLVED, SLIPS = 8, 0.45, 0.05
TRAIN, VALIDATION = 24, 10
BUDGETS = (40, 80, 120, 240)


@dataclass(frozen=True)
class Critic:
    """`finds` a missing rule that it is shown, `loses` one that is there, by chance; `idle` is how
    often its rewrite is the text as it was."""

    finds: float
    loses: float
    idle: float = 0.0


STRONG, WEAK = Critic(0.7, 0.03), Critic(0.25, 0.12, 0.5)
Example = frozenset[int]


@dataclass(frozen=True)
class Text:
    """A prompt: the rules that it states."""

    name: int
    rules: frozenset[int] = frozenset()


class Spent(Exception):
    """The budget is used up."""


@dataclass
class World:
    """A task, its examples, and what has been asked so far."""

    chance: random.Random
    critic: Critic
    graded: bool
    calls: int = 0
    names: count[int] = field(default_factory=lambda: count(1))
    known: dict[tuple[int, int], float] = field(default_factory=dict)
    handed: list[tuple[int, Text]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.examples = [self._example() for _ in range(TRAIN + VALIDATION)]
        self.train, self.validation = range(TRAIN), range(TRAIN, TRAIN + VALIDATION)

    def _example(self) -> Example:
        drawn = {r for r in range(RULES) if self.chance.random() < INVOLVED}
        return frozenset(drawn or {self.chance.randrange(RULES)})

    def spend(self) -> None:
        """One call."""
        if self.calls == max(BUDGETS):
            raise Spent
        self.calls += 1

    def score(self, text: Text, place: int) -> float:
        """A text's score on an example; asked once."""
        if (text.name, place) not in self.known:
            self.spend()
            slip = random.Random(f"{text.name}:{place}")
            heeded = [r for r in text.rules if slip.random() >= SLIPS]
            wanted = self.examples[place]
            share = len(wanted.intersection(heeded)) / len(wanted)
            self.known[text.name, place] = share if self.graded else float(share == 1)
        return self.known[text.name, place]

    def scores(self, text: Text, places: Sequence[int]) -> list[float]:
        """A text's scores on some examples."""
        return [self.score(text, p) for p in places]

    def rewrite(self, parent: Text, shown: Sequence[int]) -> Text:
        """What the critic makes of a text and examples of what it does; the call is not counted."""
        failed = [self.examples[p] for p in shown if self.score(parent, p) < 1]
        missing = frozenset[int]().union(*failed) - parent.rules
        draw = self.chance.random
        if draw() < self.critic.idle:
            return parent
        kept = {r for r in parent.rules if draw() >= self.critic.loses}
        found = {r for r in sorted(missing) if draw() < self.critic.finds}
        return Text(next(self.names), frozenset(kept | found))

    def hand_out(self, text: Text) -> None:
        """From now on this text would be handed out."""
        self.handed.append((self.calls, text))

    def true(self, text: Text) -> float:
        """What a text is worth on new examples."""
        fresh = random.Random(0)
        scores = []
        for _ in range(200):
            wanted = [r for r in range(RULES) if fresh.random() < INVOLVED] or [0]
            right = [r for r in wanted if r in text.rules and fresh.random() >= SLIPS]
            scores.append(len(right) / len(wanted) if self.graded else float(right == wanted))
        return fmean(scores)


@dataclass(frozen=True)
class Ours:
    """Our loop: `candidates` from one call if `together`, else from one each after a call for
    feedback; `learn` examples are shown and the candidates checked on `check` of them; those that
    gained go to validation, or the `best` alone, unless the first half shows it to be behind;
    `parents` as in `optimize`; examples are drawn, or `mixed` by what is known of them."""

    candidates: int = 3
    learn: int = 6
    check: int = 3
    best: bool = True
    halves: bool = True
    together: bool = True
    parents: How = "best"
    mixed: bool = True

    def run(self, world: World) -> None:
        """Spend the budget."""
        start = Text(0)
        scores = world.scores(start, world.validation)
        pool, texts = _pool(scores), {"0": start}
        world.hand_out(start)
        for turn in count():
            parent = texts[pool.choose(self.parents, 0, turn).name]
            found = self._proposed(world, parent)
            present = pool.members[pool.current].scores
            read = {t: scores for t in found if (scores := self._read(world, t, present))}
            passed = [t for t, scores in read.items() if _better(present, scores)]
            winner = max(passed, key=lambda t: (sum(read[t]), -t.name)) if passed else None
            for text, scores in read.items():
                texts[str(text.name)] = text
                pool.add(_member(text, scores), installed=text == winner)
            if winner:
                world.hand_out(winner)

    def _proposed(self, world: World, parent: Text) -> list[Text]:
        """What goes to validation of this turn's rewrites."""
        shown = self._batch(world, parent)
        world.scores(parent, shown)
        for _ in range(1 if self.together else 1 + self.candidates):
            world.spend()
        hardest = sorted(shown, key=lambda p: world.score(parent, p))
        checked = [*hardest[: self.check - 1], hardest[-1]]
        found = {world.rewrite(parent, shown) for _ in range(self.candidates)} - {parent}
        before = sum(world.scores(parent, checked))
        gains = {t: sum(world.scores(t, checked)) for t in sorted(found, key=lambda t: t.name)}
        gained = [t for t, after in gains.items() if after > before + 1e-9]
        best = max(gained, key=lambda t: (gains[t], -t.name), default=None)
        return ([best] if best else []) if self.best else gained

    def _batch(self, world: World, parent: Text) -> list[int]:
        if not self.mixed:
            return world.chance.sample(world.train, self.learn)
        places = {p for _, p in world.known}
        by: dict[str, dict[str, float]] = {"parent": {}, "any": {str(p): 0.0 for p in places}}
        for (name, place), score in world.known.items():
            if name == parent.name and place in world.train:
                by["parent"][str(place)] = score
        draw = str(world.chance.random())
        return mixed(world.train, by, "parent", self.learn, draw)

    def _read(self, world: World, text: Text, present: Sequence[float]) -> list[float] | None:
        half = VALIDATION // 2
        scores = world.scores(text, world.validation[:half])
        if self.halves and sum(scores) + VALIDATION - half < sum(present):
            return None
        return world.scores(text, world.validation)


def _pool(scores: list[float]) -> CandidatePool:
    return CandidatePool(members=[_member(Text(0), scores)])


def _member(text: Text, scores: list[float]) -> PoolEntry:
    return PoolEntry.model_construct(name=str(text.name), texts={}, scores=scores)


def _better(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the gate lets a text pass."""
    return beyond(1.0)([b - a for a, b in zip(before, after, strict=True)])


def gepa(world: World) -> None:
    """One candidate, a strict gain on a minibatch of three, then validation; Pareto parents."""
    start = Text(0)
    scores = world.scores(start, world.validation)
    pool, texts = _pool(scores), {"0": start}
    world.hand_out(start)
    for turn in count():
        parent = texts[pool.choose("pareto", 0, turn).name]
        batch = world.chance.sample(world.train, 3)
        before = sum(world.scores(parent, batch))
        world.spend()
        text = world.rewrite(parent, batch)
        if text is parent:
            for _ in batch:  # it is asked again there
                world.spend()
        elif sum(world.scores(text, batch)) > before:
            scores = world.scores(text, world.validation)
            best = sum(scores) > max(sum(m.scores) for m in pool.members)
            texts[str(text.name)] = text
            pool.add(_member(text, scores), installed=best)
            if best:
                world.hand_out(text)


def textgrad(world: World) -> None:
    """Feedback on each of three outputs, one rewrite, validation after each step with revert."""
    installed = Text(0)
    present = world.scores(installed, world.validation)
    world.hand_out(installed)
    while True:
        batch = world.chance.sample(world.train, 3)
        world.scores(installed, batch)
        for _ in range(3 + 1):
            world.spend()
        text = world.rewrite(installed, batch)
        scores = world.scores(text, world.validation)
        if sum(scores) >= sum(present):
            installed, present = text, scores
            world.hand_out(text)


CHOSEN = Ours()
OLD = Ours(
    learn=4, check=4, best=False, halves=False, together=False, parents="pareto", mixed=False
)
WAYS: dict[str, Callable[[World], None]] = {
    "before: feedback, 3 rewrites, all that gained to validation": OLD.run,
    "the same, 1 rewrite": replace(OLD, candidates=1).run,
    "the same, 3, the best alone to validation": replace(OLD, best=True).run,
    "GEPA's": gepa,
    "TextGrad's": textgrad,
    "**now**: 3 of one call, 6 shown, checked on 3, mixed, best parent": CHOSEN.run,
    "1 of one call": replace(CHOSEN, candidates=1).run,
    "2 of one call": replace(CHOSEN, candidates=2).run,
    "5 of one call": replace(CHOSEN, candidates=5).run,
    "4 shown": replace(CHOSEN, learn=4).run,
    "8 shown": replace(CHOSEN, learn=8).run,
    "12 shown": replace(CHOSEN, learn=12).run,
    "checked on 2": replace(CHOSEN, check=2).run,
    "checked on 4": replace(CHOSEN, check=4).run,
    "all that gained to validation": replace(CHOSEN, best=False).run,
    "validation always whole": replace(CHOSEN, halves=False).run,
    "examples drawn, not mixed": replace(CHOSEN, mixed=False).run,
    "Pareto parents": replace(CHOSEN, parents="pareto").run,
    "the newest parent": replace(CHOSEN, parents="newest").run,
}


def curve(way: Callable[[World], None], critic: Critic, runs: int, *, graded: bool) -> list[float]:
    """The mean true score of what is handed out at each budget."""
    found: list[list[float]] = []
    for seed in range(runs):
        world = World(random.Random(seed), critic, graded)
        with contextlib.suppress(Spent):
            way(world)
        texts = [[t for at, t in world.handed if at <= b][-1:] or [Text(0)] for b in BUDGETS]
        found.append([world.true(text) for [text] in texts])
    return [fmean(column) for column in zip(*found, strict=True)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    kinds = [(c, g) for g in (True, False) for c in (STRONG, WEAK)]
    rows = []
    for name, way in WAYS.items():
        curves = [curve(way, critic, runs, graded=graded) for critic, graded in kinds]
        rows.append([name, *("/".join(f"{x:.2f}".lstrip("0") for x in c) for c in curves)])
        print(rows[-1], flush=True)
    head = ["way", "graded, strong", "graded, weak", "binary, strong", "binary, weak"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
