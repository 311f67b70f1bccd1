"""Which training examples to learn from: failed, wavering and solved ones, and new ones."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

Scores = Mapping[str, Mapping[str, float]]
"""Scores by text (its name in the pool), then by example (its number, as JSON has it)."""
Pieces = Mapping[int, frozenset[str]]
"""What right answers have, by example: see `pieces_of`."""
LONGEST = 200
"""Of so many pieces at most an answer is taken to consist."""
_PIECE = re.compile(r"\w+|[^\w\s]")


def mixed(
    train: Sequence[int],
    scores: Scores,
    text: str,
    size: int,
    draw: str,
    pieces: Pieces | None = None,
) -> list[int]:
    """`size` of the examples in `train` to show with a text, by what is known of them.

    Some are examples it fails on (such as another text solves and such as none does, in turn), one
    is solved, so that what works is kept; half have not been seen with it, as long as there are
    such, first those that no text was seen with; of these, such whose right answers have most that
    no other example shows (`pieces`). The same for the same scores and `draw`.
    """
    known = {int(p): score for p, score in scores.get(text, {}).items()}
    solved_by_some = {int(p) for by in scores.values() for p, score in by.items() if score >= 1}
    order = shuffled(train, draw)
    failed = [p for p in order if known.get(p, 1.0) < 1]
    wavering = [p for p in failed if p in solved_by_some]
    stubborn = [p for p in failed if p not in solved_by_some]
    solved = [p for p in order if known.get(p, 0.0) >= 1]
    seen = {int(p) for by in scores.values() for p in by}
    new = [p for p in order if p not in known]
    kept = [*_in_turn(stubborn, wavering)[: max(1, size // 2 - 1)], *solved[:1]][:size]
    unseen = [p for p in new if p not in seen]
    fresh = varied(unseen, pieces or {}, size, [*kept, *sorted(seen)])
    rest = [*fresh, *(p for p in new if p in seen), *failed, *solved]
    return sorted([*kept, *(p for p in rest if p not in kept)][:size])


def shuffled(numbers: Sequence[int], draw: str) -> list[int]:
    """The numbers in an order by chance: the same one for the same `draw`."""
    order = list(numbers)
    random.Random(draw).shuffle(order)  # noqa: S311 - a draw that can be repeated
    return order


def spread(order: Sequence[int], answers: Mapping[int, str]) -> list[int]:
    """`order`, with the examples of each right answer spread evenly over it, so that no part of it
    lacks a label that there are enough of. Where answers do not repeat, it stays as it is."""
    often, rounds = Counter(answers.get(p) for p in order), _rounds(order, answers)
    return sorted(order, key=lambda p: (rounds[p] + 0.5) / often[answers.get(p)])


def _rounds(order: Sequence[int], answers: Mapping[int, str]) -> dict[int, int]:
    """How many with the same right answer come before each; 0 where that is not known."""
    before: Counter[str] = Counter()
    rounds = {}
    for p in order:
        answer = answers.get(p)
        rounds[p] = before[answer] if answer is not None else 0
        before.update([answer] if answer is not None else [])
    return rounds


def pieces_of(answer: str, given: str) -> frozenset[str]:
    """The words and signs of a right answer that its input has not; the answer itself without any.

    Codes, labels, keys and signs of a form are such: what a rule must say, and nobody finds a rule
    for what was never shown.
    """
    said = frozenset(_PIECE.findall(answer)[:LONGEST])
    return said - frozenset(_PIECE.findall(given)) or frozenset([answer])


def varied(
    order: Sequence[int], pieces: Pieces, size: int, before: Iterable[int] = ()
) -> list[int]:
    """`size` examples, each the first in `order` that adds most to those chosen and those `before`.

    What adds is a piece that several examples have and none of these; then what is least repeated.
    """
    times = Counter(piece for said in pieces.values() for piece in said)
    shown = Counter(piece for p in before for piece in pieces.get(p, ()))
    left = dict.fromkeys(order)
    chosen: list[int] = []

    def adds(p: int) -> tuple[int, float]:
        said = pieces.get(p, frozenset())
        new = sum(times[piece] for piece in said if times[piece] > 1 and not shown[piece])
        return new, -sum(shown[piece] for piece in said) / max(1, len(said))

    while left and len(chosen) < size:
        best = max(left, key=adds)  # the first of several
        del left[best]
        chosen.append(best)
        shown.update(pieces.get(best, ()))
    return chosen


def _in_turn(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """One of each in turn, then what is left."""
    pairs = [p for pair in zip(first, second, strict=False) for p in pair]
    least = min(len(first), len(second))
    return [*pairs, *first[least:], *second[least:]]


def to_check(shown: Mapping[int, float], quoted: Sequence[int], size: int) -> list[int]:
    """`size` of the examples that were `shown`, with their scores, to check new texts on.

    Those that failed worst, and one that was solved: a text that breaks it is found out. Of those
    that failed, quoted ones come last, for they would flatter.
    """
    order = sorted(shown, key=lambda p: (shown[p] >= 1, p in quoted, shown[p], p))
    solved = [p for p in order if shown[p] >= 1 and p not in quoted]
    chosen = order[:size]
    if solved and solved[0] not in chosen and size > 2:
        chosen[-1] = solved[0]
    return sorted(chosen)
