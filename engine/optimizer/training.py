"""Training examples beside the minibatch: some are shown without being run, some decide.

What a right answer is costs no call to show. Referees are those that no writer was shown so far:
they say as much as validation does, and decide where it is too small to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from ..program.forward import IMAGE_URL
from ..program.missing_fields import complete
from ..prompts.length import CHARS_PER_TOKEN
from ..runs.context import RunContext
from .batches import Pieces, pieces_of, shuffled, varied
from .quote_guard import QuoteGuard

MOST_ANSWERS = 1000
"""Of so many training examples at most the right answers are looked at."""
CHOSEN_FROM = 200
"""Of so many at most, drawn at random, those are chosen that show most."""
ROOM = 6
"""Examples that were not run take one part in so many of a request at most."""
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
    rows = await _answered(work, guard, train)

    def read() -> Pieces:
        return {
            n: pieces_of(_joined(row, guard.answers), _joined(row, guard.inputs))
            for n, row in rows.items()
        }

    return await asyncio.to_thread(read)


async def answers(work: RunContext, guard: QuoteGuard, train: Sequence[int]) -> dict[int, str]:
    """The right answers of examples by number; empty where there are too many examples, or no
    answers."""
    rows = await _answered(work, guard, train)
    return {n: _joined(row, guard.answers) for n, row in rows.items()}


async def _answered(
    work: RunContext, guard: QuoteGuard, train: Sequence[int]
) -> dict[int, dict[str, str]]:
    """The fields of training examples that have right answers; empty where they are too many."""
    if len(train) > MOST_ANSWERS or not guard.answers:
        return {}
    found = await work.store.examples.get(work.session.pk, train)
    return {n: row.fields for n, row in found.items()}


def _joined(row: Mapping[str, str], names: Sequence[str]) -> str:
    return "\n".join(row.get(name, "") for name in names)


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
    free = shuffled([n for n in train if n not in shown], f"referees:{work.args['seed']}")
    found, _ = await complete(work.store, work.session.pk, work.args["losses"], free[:CHOSEN_FROM])
    return sorted(found[:count]) if len(found) >= FEW else []


def room_for_others(work: RunContext) -> int:
    """How many characters of a request examples may take that were not run."""
    return work.settings.prompt_budget * CHARS_PER_TOKEN // ROOM


async def not_run(
    work: RunContext, guard: QuoteGuard, run: Collection[int], room: int, count: int = LISTED
) -> dict[int, Row]:
    """Up to `count` other training examples with their right answers, in `room` characters: those
    that show most that the ones that were `run` do not. None without right answers to show."""
    train = await work.store.examples.split(work.session.pk, "train")
    free = [n for n in train if n not in run]
    order = shuffled(free, f"not run:{sorted(run)}")[:CHOSEN_FROM]
    found = await pieces(work, guard, [*order, *(n for n in train if n in run)])
    chosen = varied(order, found, count, run) if found else []
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
