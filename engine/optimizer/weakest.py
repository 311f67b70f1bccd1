"""What a critic is shown where several models run a program: each example as it went worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ...schemas.graph import NO_EXAMPLE
from ..program.cut_off import keep_cut_off
from ..program.forward import Evaluation, evaluate, load
from ..program.lineups import lineups
from ..runs.context import RunContext
from ..runs.schedule import gather
from .seen import seen_in


async def computed(
    work: RunContext, first: Evaluation, losses: Sequence[str], examples: Sequence[int]
) -> Evaluation:
    """`first` with what is missing of it at `examples`; where a program has several line-ups of
    models, the values of the one that did worst at each example, in turn where several did.

    An answer that was cut off is kept as far as it goes, and counts as 0. Values that hold for all
    examples are those of the first line-up. Raises as `evaluate`, which is tolerant here.
    """
    others = [
        await load(work, losses, examples, overrides=first.overrides, lineup=n)
        for n in range(1, len(lineups(first.program)))
    ]
    every = [first, *others]
    await gather([evaluate(work, one, examples, tolerant=True) for one in every])
    for one in every:
        keep_cut_off(one, examples)
    return _joined(every, losses, examples) if others else first


def _joined(
    every: Sequence[Evaluation], losses: Sequence[str], examples: Sequence[int]
) -> Evaluation:
    names = lineups(every[0].program)
    seen = [seen_in(one, losses, examples) for one in every]
    joined = replace(every[0], known={}, computed={}, unusable={}, lineups={}, by_model={})
    times: Counter[float] = Counter()  # so that failures and solved examples take turns apart
    for example in examples:
        scores = {n: s.scores[example] for n, s in enumerate(seen) if s and example in s.scores}
        least = min(scores.values(), default=0.0)
        worst = [n for n, score in scores.items() if score == least] or [0]
        joined.lineups[example] = worst[times[least] % len(worst)]
        times[least] += 1
        joined.by_model[example] = {names[n]: score for n, score in scores.items()}
    for n, one in enumerate(every):
        mine = {example for example, lineup in joined.lineups.items() if lineup == n}
        mine |= {NO_EXAMPLE} - joined.lineups.keys() if n == 0 else set()
        joined.known |= {node: v for node, v in one.known.items() if node[1] in mine}
        joined.computed |= {node: v for node, v in one.computed.items() if node[1] in mine}
        joined.unusable |= {node: e for node, e in one.unusable.items() if node[1] in mine}
        joined.left_out |= one.left_out
    return joined


def told(evaluation: Evaluation, examples: Sequence[int]) -> list[str]:
    """A note on whose outputs stand at `examples`; none where one line-up of models alone ran."""
    names = lineups(evaluation.program)
    if len(names) == 1:
        return []
    whose = Counter(names[evaluation.lineups.get(n, 0)] for n in examples)
    if list(examples) == [NO_EXAMPLE]:
        return [f"The program is taken as it went worst: by {next(iter(whose))}."]
    by = ", ".join(f"by {name} {count}" for name, count in whose.items())
    return [f"Each example is taken as it went worst: {by}."]
