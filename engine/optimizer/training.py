"""Training examples beside the minibatch: some are shown without being run, some decide.

What a right answer is costs no call to show. Referees are those that no writer was shown so far:
they say as much as validation does, and decide where it is too small to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Sequence

from ..program.forward import IMAGE_URL
from ..program.missing_fields import complete
from ..runs.context import RunContext
from .batches import Pieces, pieces_of, varied
from .quote_guard import QuoteGuard

MOST_ANSWERS = 1000
"""Of so many training examples at most the right answers are looked at."""
CHOSEN_FROM = 200
"""Of so many at most, drawn at random, those are chosen that show most."""
LISTED = 12
"""So many examples that were not run are shown beside those that were."""
ENOUGH = 24
"""With so many validation examples no referees are called."""
MOST, FEW = 8, 4
"""So many referees at most, and so many at least: fewer would decide nothing."""
Row = list[tuple[str, str, str]]
"""An example as kinds (input, expected), names and texts."""


async def pieces(work: RunContext, guard: QuoteGuard, train: Sequence[int]) -> Pieces:
    """For each training example, the words of its right answer that its input has not; empty where
    there are too many examples, or no right answers."""
    if len(train) > MOST_ANSWERS or not guard.answers:
        return {}
    found = await work.store.examples.get(work.session.pk, train)

    def read() -> Pieces:
        rows = {n: row.fields for n, row in found.items()}
        return {
            n: pieces_of(*("\n".join(row.get(f, "") for f in of) for of in both))
            for n, row in rows.items()
        }

    both = guard.answers, guard.inputs
    return await asyncio.to_thread(read)


async def answers(work: RunContext, guard: QuoteGuard, train: Sequence[int]) -> dict[int, str]:
    """The right answers of examples by number; empty where there are too many examples, or no
    answers."""
    if len(train) > MOST_ANSWERS or not guard.answers:
        return {}
    found = await work.store.examples.get(work.session.pk, train)
    return {n: "\n".join(row.fields.get(f, "") for f in guard.answers) for n, row in found.items()}


def wanted(validation: int) -> int:
    """How many referees (training examples that help to decide) a run calls at most, beside so many
    `validation` examples; 0 for none."""
    count = min(ENOUGH - validation, MOST)
    return count if count >= FEW else 0


async def referees(work: RunContext, shown: Collection[int]) -> list[int]:
    """The numbers of the training examples that help to decide: some that no writer was `shown`."""
    count = int(work.args.get("referees") or 0)
    if not count:
        return []
    train = await work.store.examples.split(work.session.pk, "train")
    free = _shuffled([n for n in train if n not in shown], f"referees:{work.args['seed']}")
    found, _ = await complete(work.store, work.session.pk, work.args["losses"], free[:CHOSEN_FROM])
    return sorted(found[:count]) if len(found) >= FEW else []


async def not_run(
    work: RunContext, guard: QuoteGuard, run: Collection[int], room: int
) -> dict[int, Row]:
    """Other training examples with their right answers, in `room` characters: those that show most
    that the ones that were `run` do not. None where there are no right answers to show."""
    train = await work.store.examples.split(work.session.pk, "train")
    free = [n for n in train if n not in run]
    order = _shuffled(free, f"not run:{sorted(run)}")[:CHOSEN_FROM]
    found = await pieces(work, guard, [*order, *(n for n in train if n in run)])
    chosen = varied(order, found, LISTED, run) if found else []
    examples = await work.store.examples.get(work.session.pk, chosen)
    kinds = [("input", name) for name in guard.inputs]
    kinds += [("expected", name) for name in guard.answers]
    rows: dict[int, Row] = {}
    for n in chosen:
        fields = examples[n].fields
        row = [(kind, name, fields[name]) for kind, name in kinds if name in fields]
        size = sum(len(said) for _, _, said in row)
        pictures = any(said.startswith(IMAGE_URL) for _, _, said in row)
        if size <= room and len(row) == len(kinds) and not pictures:
            rows[n] = row
            room -= size
    return rows


def _shuffled(numbers: Sequence[int], draw: str) -> list[int]:
    order = list(numbers)
    random.Random(draw).shuffle(order)  # noqa: S311 - a draw that can be repeated
    return order
