"""How should an optimiser spend its calls? A simulation, without a model.

    python benchmarks/schedules.py [--runs 300] [--start 0 1]

A task has eight hidden rules, some of them rare; an example calls for some, and its score is the
share of those that the prompt states (graded), or whether it states all (binary). A task model
forgets a rule now and then, always on the same example under the same prompt. A critic that is
shown examples finds rules that are missing in them, less often in such as were not run; a weak one
often changes nothing, or does harm; a harmful one begins with a text of five rules, finds none and
loses some. Everything is counted in calls, and a reply that is on record is not asked for
again. What is told is the true score of the text that would be handed out after so many calls, and
for the harmful critic how often the last is truly worse than the first. A world of our making: what
it says is which way of spending is ahead of which.
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
from textgrad_mcp.engine.optimizer.batches import mixed, varied
from textgrad_mcp.engine.optimizer.gate import Z_REFEREED
from textgrad_mcp.engine.optimizer.minibatch_check import Reading
from textgrad_mcp.engine.optimizer.pool import CandidatePool, PoolEntry
from textgrad_mcp.engine.optimizer.sizes import LOW
from textgrad_mcp.engine.optimizer.training import FEW, MOST
from textgrad_mcp.schemas.arguments.optimize import Parents

INVOLVED = (0.9, 0.6, 0.45, 0.3, 0.2, 0.15, 0.12, 0.1)
"""How often each rule is called for."""
RULES, SLIPS, UNRUN = len(INVOLVED), 0.05, 0.7
"""`UNRUN`: what an example teaches that was not run, beside one that was."""
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
CRITICS = ("strong", "weak", "harmful")
HARMFUL, KNOWN = Critic(0.0, 0.12, 0.3), frozenset((0, 1, 3, 5, 6))
Example = frozenset[int]


def called_for(chance: random.Random) -> Example:
    """The rules that an example calls for."""
    drawn = {r for r in range(RULES) if chance.random() < INVOLVED[r]}
    return frozenset(drawn or {0})


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
    start: Text = field(default_factory=lambda: Text(0))
    slips: float = SLIPS
    calls: int = 0
    names: count[int] = field(default_factory=lambda: count(1))
    known: dict[tuple[int, int], float] = field(default_factory=dict)
    handed: list[tuple[int, Text]] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.examples = [self._example() for _ in range(TRAIN + VALIDATION)]
        self.train, self.validation = range(TRAIN), range(TRAIN, TRAIN + VALIDATION)

    def _example(self) -> Example:
        return called_for(self.chance)

    def spend(self) -> None:
        """One call."""
        if self.calls == max(BUDGETS):
            raise Spent
        self.calls += 1

    def score(self, text: Text, place: int) -> float:
        """A text's score on an example; asked once."""
        if (text.name, place) not in self.known:
            self.spend()
            self.known[text.name, place] = self.answered(text, place, f"{text.name}:{place}")
        return self.known[text.name, place]

    def answered(self, text: Text, place: int, draw: str) -> float:
        """What one answer scores: the `draw` decides which rules are forgotten."""
        slip = random.Random(draw)
        heeded = [r for r in text.rules if slip.random() >= self.slips]
        wanted = self.examples[place]
        share = len(wanted.intersection(heeded)) / len(wanted)
        return share if self.graded else float(share == 1)

    def scores(self, text: Text, places: Sequence[int]) -> list[float]:
        """A text's scores on some examples."""
        return [self.score(text, p) for p in places]

    def rewrite(self, parent: Text, shown: Sequence[int], unrun: Sequence[int] = ()) -> Text:
        """What the critic makes of a text, examples of what it does and some that were not run; the
        call is not counted."""
        failed = [self.examples[p] for p in shown if self.score(parent, p) < 1]
        missing = frozenset[int]().union(*failed) - parent.rules
        more = frozenset[int]().union(*(self.examples[p] for p in unrun)) - parent.rules - missing
        draw = self.chance.random
        if draw() < self.critic.idle:
            return parent
        kept = {r for r in parent.rules if draw() >= self.critic.loses}
        found = {r for r in sorted(missing) if draw() < self.critic.finds}
        found |= {r for r in sorted(more) if draw() < self.critic.finds * UNRUN}
        return Text(next(self.names), frozenset(kept | found))

    def hand_out(self, text: Text) -> None:
        """From now on this text would be handed out."""
        self.handed.append((self.calls, text))

    def true(self, text: Text) -> float:
        """What a text is worth on new examples."""
        fresh = random.Random(0)
        scores = []
        for _ in range(200):
            wanted = sorted(called_for(fresh))
            right = [r for r in wanted if fresh.random() >= self.slips and r in text.rules]
            scores.append(len(right) / len(wanted) if self.graded else float(right == wanted))
        return fmean(scores)


@dataclass(frozen=True)
class Ours:
    """Our loop: `candidates` from one call if `together`, else from one each after a call for
    feedback; `learn` examples are run and shown, `unrun` others shown, and the candidates checked
    on `check`; those that gained go to validation, or the `best` alone, unless the first half shows
    it to be behind. There a gain of more than `z` standard errors passes; a smaller one is read on
    up to `referees` training examples that no writer was shown, while there are FEW at least, and
    passes if it is more than `refereed` on both. `parents` as in `optimize`;
    examples are drawn, or `mixed` by what is known of them, or also by what they show, `news`.
    Where a text scores less than `low` on validation, or 0, only `few` are run and checked on;
    `frugal`: the check is read no further than it takes to know the best."""

    candidates: int = 3
    learn: int = 6
    unrun: int = 12
    check: int = 3
    best: bool = True
    halves: bool = True
    together: bool = True
    parents: Parents = "best"
    mixed: bool = True
    news: bool = True
    z: float = 1.0
    referees: int = MOST
    refereed: float = Z_REFEREED
    few: tuple[int, int] | None = None
    low: float = LOW
    frugal: bool = False

    def run(self, world: World) -> None:
        """Spend the budget."""
        scores = world.scores(world.start, world.validation)
        pool, texts = _pool(scores), {"0": world.start}
        world.hand_out(world.start)
        for turn in count():
            chosen = pool.choose(self.parents, 0, turn)
            low = chosen.mean < self.low or not any(chosen.scores)
            sizes = (self.few if low else None) or (self.learn, self.check)
            found = self._proposed(world, texts[chosen.name], *sizes)
            present = pool.members[pool.current]
            installed = texts[present.name]
            read = {t: s for t in found if (s := self._read(world, t, present.scores))}
            passed = [t for t, s in read.items() if better(present.scores, s, self.z)]
            if not passed:
                passed = [t for t in read if self._refereed(world, installed, t)]
            winner = max(passed, key=lambda t: (sum(read[t]), -t.name)) if passed else None
            for text, scores in read.items():
                texts[str(text.name)] = text
                pool.add(_member(text, scores), installed=text == winner)
            if winner:
                world.hand_out(winner)

    def _pieces(self, world: World) -> dict[int, frozenset[str]]:
        every = {p: frozenset(map(str, world.examples[p])) for p in world.train}
        return every if self.news else {}

    def _proposed(self, world: World, parent: Text, learn: int, check: int) -> list[Text]:
        """What goes to validation of this turn's rewrites."""
        shown = self._batch(world, parent, learn)
        rest = [p for p in world.train if p not in shown]
        unrun = varied(rest, self._pieces(world), self.unrun + self.learn - learn, shown)
        world.shown.update(shown, unrun)
        world.scores(parent, shown)
        for _ in range(1 if self.together else 1 + self.candidates):
            world.spend()
        hardest = sorted(shown, key=lambda p: world.score(parent, p))
        checked = [*hardest[: check - 1], hardest[-1]]
        found = {world.rewrite(parent, shown, unrun) for _ in range(self.candidates)} - {parent}
        before = world.scores(parent, checked)
        order = sorted(found, key=lambda t: t.name)
        readings = [Reading(n, 0, checked, before) for n in range(len(order))]
        if not self.frugal:
            for one in readings:
                one.after = world.scores(order[one.index], checked)
        while left := [one for one in readings if one.may_pass]:
            first = max(left, key=lambda one: one.rank)
            if first.whole:
                break
            first.after = world.scores(order[first.index], first.next_part())
        gained = [one for one in readings if one.may_pass]
        best = max(gained, key=lambda one: one.rank, default=None)
        return [order[o.index] for o in ([best] if self.best and best else gained)]

    def _batch(self, world: World, parent: Text, learn: int) -> list[int]:
        if not self.mixed:
            return world.chance.sample(world.train, learn)
        places = {p for _, p in world.known}
        by: dict[str, dict[str, float]] = {"parent": {}, "any": {str(p): 0.0 for p in places}}
        for (name, place), score in world.known.items():
            if name == parent.name and place in world.train:
                by["parent"][str(place)] = score
        draw = str(world.chance.random())
        return mixed(world.train, by, "parent", learn, draw, self._pieces(world))

    def _read(self, world: World, text: Text, present: Sequence[float]) -> list[float] | None:
        half = VALIDATION // 2
        scores = world.scores(text, world.validation[:half])
        if self.halves and sum(scores) + VALIDATION - half < sum(present):
            return None
        return world.scores(text, world.validation)

    def _refereed(self, world: World, present: Text, text: Text) -> bool:
        """Whether the referees let a text pass that validation could not decide on."""
        before, after = (world.scores(t, world.validation) for t in (present, text))
        full = sum(before) > VALIDATION - 1 - 1e-9
        if sum(after) < sum(before) + (-1e-9 if full else 1e-9):
            return False
        fresh = [p for p in world.train if p not in world.shown][: self.referees]
        if len(fresh) < FEW:
            return False
        more = [world.scores(t, fresh) for t in (present, text)]
        return better(before + more[0], after + more[1], self.refereed)


def _pool(scores: list[float]) -> CandidatePool:
    return CandidatePool(members=[_member(Text(0), scores)])


def _member(text: Text, scores: list[float]) -> PoolEntry:
    return PoolEntry.model_construct(name=str(text.name), texts={}, scores=scores)


def better(before: Sequence[float], after: Sequence[float], z: float) -> bool:
    """Whether the gate lets a text pass."""
    return beyond(z)([b - a for a, b in zip(before, after, strict=True)])


def gepa(world: World) -> None:
    """One candidate, a strict gain on a minibatch of three, then validation; Pareto parents."""
    scores = world.scores(world.start, world.validation)
    pool, texts = _pool(scores), {"0": world.start}
    world.hand_out(world.start)
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
    installed = world.start
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
NOW = replace(CHOSEN, few=(3, 2), frugal=True)
AT_ZERO = replace(NOW, low=0.0)
PLAIN = Ours(unrun=0, news=False, referees=0)
OLD = replace(PLAIN, learn=4, check=4, best=False, halves=False, parents="pareto", mixed=False)
FED = replace(OLD, together=False)
WAYS: dict[str, Callable[[World], None]] = {
    "at first: feedback, 3 rewrites, all that gained to validation": FED.run,
    "the same, 1 rewrite": replace(FED, candidates=1).run,
    "the same, 3, the best alone to validation": replace(FED, best=True).run,
    "GEPA's": gepa,
    "TextGrad's": textgrad,
    "before: 3 of one call, 6 run, checked on 3, mixed, best parent": PLAIN.run,
    "and such as show most": replace(PLAIN, news=True).run,
    "and 12 shown that were not run": replace(PLAIN, news=True, unrun=12).run,
    "later: and referees": CHOSEN.run,
    "half a standard error, no referees": replace(CHOSEN, referees=0, z=0.5).run,
    "any gain on validation, no referees": replace(CHOSEN, referees=0, z=0.0).run,
    "referees: any gain": replace(CHOSEN, refereed=0.0).run,
    "referees: one standard error": replace(CHOSEN, refereed=1.0).run,
    "8 shown that were not run": replace(CHOSEN, unrun=8).run,
    "1 of one call": replace(CHOSEN, candidates=1).run,
    "2 of one call": replace(CHOSEN, candidates=2).run,
    "5 of one call": replace(CHOSEN, candidates=5).run,
    "4 run": replace(CHOSEN, learn=4).run,
    "8 run": replace(CHOSEN, learn=8).run,
    "checked on 2": replace(CHOSEN, check=2).run,
    "checked on 4": replace(CHOSEN, check=4).run,
    "all that gained to validation": replace(CHOSEN, best=False).run,
    "examples drawn, not mixed": replace(CHOSEN, mixed=False).run,
    "Pareto parents": replace(CHOSEN, parents="pareto").run,
    "the newest parent": replace(CHOSEN, parents="newest").run,
    "**now**: 3 run, 2 checked on where less than half is solved; a frugal check": NOW.run,
    "the same where nothing scores": AT_ZERO.run,
    "the same whatever scores": replace(NOW, low=2.0).run,
    "a frugal check alone": replace(NOW, few=None).run,
    "3 run, 2 checked on where nothing scores, alone": replace(AT_ZERO, frugal=False).run,
    "where nothing scores, 3 run and checked on": replace(AT_ZERO, few=(3, 3)).run,
    "where nothing scores, 2 run and checked on": replace(AT_ZERO, few=(2, 2)).run,
}


def curves(
    way: Callable[[World], None], critic: Critic, runs: int, start: Text, *, graded: bool
) -> list[list[float]]:
    """For each run, the true scores of the first text and of what is handed out at each budget."""
    found: list[list[float]] = []
    for seed in range(runs):
        world = World(random.Random(seed), critic, graded, start)
        with contextlib.suppress(Spent):
            way(world)
        texts = [[t for at, t in world.handed if at <= b][-1:] or [start] for b in BUDGETS]
        found.append([world.true(start), *(world.true(text) for [text] in texts)])
    return found


def told(
    way: Callable[[World], None], critic: Critic, runs: int, start: Text, *, graded: bool
) -> str:
    """The mean true scores at each budget; of a harmful critic the last, and what it costs."""
    if critic is not HARMFUL:
        found = curves(way, critic, runs, start, graded=graded)
        means = [fmean(column) for column in zip(*found, strict=True)][1:]
        return "/".join(f"{x:.2f}".lstrip("0") for x in means)
    found = curves(way, critic, runs, Text(0, KNOWN), graded=graded)
    worse = fmean(run[-1] < run[0] - 1e-9 for run in found)
    return f"{fmean(run[-1] for run in found) - found[0][0]:+.3f}, {worse:.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--ways", nargs="+", help="only those whose names begin like this")
    parser.add_argument("--start", nargs="+", type=int, default=[], help="rules it begins with")
    asked = parser.parse_args()
    start = Text(0, frozenset(asked.start))
    kinds = [(c, g) for g in (True, False) for c in (STRONG, WEAK, HARMFUL)]
    rows = []
    for name, way in WAYS.items():
        if asked.ways and not name.startswith(tuple(asked.ways)):
            continue
        rows.append([name, *(told(way, c, asked.runs, start, graded=g) for c, g in kinds)])
        print(rows[-1], flush=True)
    head = [f"{scores}, {c}" for scores in ("graded", "binary") for c in CRITICS]
    print(table(["way", *head], rows))


if __name__ == "__main__":
    main()
