"""Demonstrations: a parameter whose text is a choice of worked training examples.

Chosen, not written: labelled (the examples' own answers) or bootstrapped (what the program itself
answered where it was right; DSPy, arXiv 2310.03714, section 4). The gate decides which stay.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ...schemas.errors import ExampleError
from ...schemas.graph import Example, Kind, Variable
from ..constraints.constraints import shots_of
from ..evaluation.scoring import Scored, score
from ..program.forward import Evaluation, load
from ..program.missing_fields import complete
from ..runs.context import RunContext

TRIES = 3
"""Bootstrapping runs the program on so many times the examples that it needs."""


async def demonstrations(
    work: RunContext,
    variable: Variable,
    losses: Sequence[str],
    avoid: Sequence[int],
    count: int,
    turn: int,
) -> list[str]:
    """`count` texts for a demonstrations variable, labelled and bootstrapped in turn.

    The examples in `avoid` (the minibatch it will be checked on) are left out. `turn` makes the
    draw another one each time, and the same one when it is repeated.
    """
    train = await work.store.examples.split(work.session.pk, "train")
    usable = [n for n in train if n not in set(avoid)]
    shots = shots_of(variable.constraints)
    if not usable:
        return []
    texts = []
    for index in range(count):
        draw = random.Random(f"{variable.id}:{turn}:{index}")  # noqa: S311 - repeatable
        if index % 2 == 0:
            chosen = await _full(work, losses, draw.sample(usable, min(shots, len(usable))))
            texts.append(await _labelled(work, losses, chosen))
        else:
            pool = draw.sample(usable, min(TRIES * shots, len(usable)))
            pool = await _full(work, losses, pool)
            texts.append(await _bootstrapped(work, losses, pool, shots))
    return [t for t in dict.fromkeys(texts) if t]


async def _full(work: RunContext, losses: Sequence[str], examples: list[int]) -> list[int]:
    return (await complete(work.store, work.session.pk, losses, examples))[0]


async def _labelled(work: RunContext, losses: Sequence[str], examples: list[int]) -> str:
    evaluation = await load(work, losses, examples)
    return "\n\n".join(_shown(evaluation, evaluation.examples[n], None) for n in examples)


async def _bootstrapped(
    work: RunContext, losses: Sequence[str], examples: list[int], shots: int
) -> str:
    try:
        scored = await score(work, losses, examples)
    except ExampleError:
        return ""  # none of these can show what is right
    right = [n for n, value in scored.scores.items() if value >= 1][:shots]
    return "\n\n".join(
        _shown(scored.evaluation, scored.evaluation.examples[n], _output(scored, losses[0], n))
        for n in right
    )


def _output(scored: Scored, loss: str, example: int) -> str:
    """What the program answered: the first thing that the loss judges and somebody computed."""
    evaluation = scored.evaluation
    operation = evaluation.program.operation_of(loss)
    for source in operation.sources if operation else []:
        if not evaluation.program.variables[source].is_leaf:
            return evaluation.value(source, example).text
    return ""


def _shown(evaluation: Evaluation, example: Example, output: str | None) -> str:
    """An example's fields as lines: what the program reads, then the answer."""
    fields = [v for v in evaluation.program.variables.values() if v.kind is Kind.FIELD]
    read = [v.field or "" for v in fields if not v.reference]
    answers = [v.field or "" for v in fields if v.reference]
    lines = [f"{name}: {example.fields.get(name, '')}" for name in dict.fromkeys(read)]
    if output is not None:
        name = answers[0] if answers else "answer"
        return "\n".join([*lines, f"{name}: {output}"])
    return "\n".join(
        [*lines, *(f"{n}: {example.fields.get(n, '')}" for n in dict.fromkeys(answers))]
    )
