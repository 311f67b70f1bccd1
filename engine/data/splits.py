"""Splitting rows into train, validation and test: by seed, evenly by answer, copies together."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...schemas.errors import BadInput
from ...schemas.graph import Split
from ...schemas.words import runs, words

Row = Mapping[str, str]
SHARES: Mapping[Split, float] = {"train": 0.4, "validation": 0.4, "test": 0.2}
MOST: Mapping[Split, int] = {"validation": 50, "test": 100}
"""Rows of a split at most: each is paid for in every step, or twice. The rest is for training."""
TESTED = 10
"""Fewer rows than this are too few to hold some of them out."""
LABELS = 50
"""So many different answers at most are labels, of which each split gets its share."""
_NEAR = 0.8
"""The share of words that two nearly equal inputs have in common."""
_LEAST = 8
"""Different words that an input has at least, for its likeness to another to mean something."""
_PIECE, _OFTEN = 3, 50
"""Words in a row that two copies share, and how many inputs may have them."""
_TEMPLATE = 4
"""Inputs of which more than one in so many are alike were written by one form: no copies."""


@dataclass(frozen=True)
class Parted:
    """Rows by split, and what is to be said about how they came there."""

    rows: dict[Split, list[dict[str, str]]]
    notes: list[str]


def split(rows: Sequence[Row], answer: str | None, seed: int) -> Parted:
    """`rows` in three splits, or in two where there are few. The same seed gives the same splits.

    Rows whose inputs are equal, or nearly, stay together; answers that are labels are spread
    evenly. Raises BadInput for rows that cannot be split.
    """
    groups = _groups(rows, answer)
    if len(groups) < 2:
        raise BadInput(
            f"{len(rows)} example{'s' if len(rows) > 1 else ''} cannot be split into those to "
            "learn from and those to compare on: the inputs are too few, or all alike.",
            "Give at least 2 different ones, better 20 or more; or leave examples out, and let a "
            "judge look at the text itself.",
        )
    labels = _labels(rows, answer)
    order = _in_order(rows, groups, answer if labels else None, seed)
    dealt = _dealt(order, len(rows))
    found = {
        name: [dict(rows[n]) for n in _in_turn(rows, numbers, answer if labels else None)]
        for name, numbers in dealt.items()
    }
    return Parted(found, _notes(found, groups, answer if labels else None, seed))


def _groups(rows: Sequence[Row], answer: str | None) -> list[list[int]]:
    """The numbers of rows that must not be parted, in order."""
    said = [_said(row, answer) for row in rows]
    leader = list(range(len(rows)))

    def root(n: int) -> int:
        while leader[n] != n:
            leader[n] = leader[leader[n]]
            n = leader[n]
        return n

    first: dict[tuple[str, ...], int] = {}
    for n, one in enumerate(said):
        leader[n] = first.setdefault(tuple(one), n)
    near = _near_pairs(said, sorted(first.values()))
    if len({n for pair in near for n in pair}) * _TEMPLATE <= len(rows):
        for a, b in near:
            leader[root(b)] = root(a)
    groups: dict[int, list[int]] = defaultdict(list)
    for n in range(len(rows)):
        groups[root(n)].append(n)
    return list(groups.values())


def _said(row: Row, answer: str | None) -> list[str]:
    """The words of a row's inputs; those of the answer, where there are no others."""
    said = [w for name in sorted(row) if name != answer for w in words(row[name])]
    return said or [w for name in sorted(row) for w in words(row[name])]


def _near_pairs(said: Sequence[list[str]], numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of inputs that share most of their words, and all of their numbers.

    Only those that share three words in a row which few others have need a look.
    """
    long = [n for n in numbers if len(set(said[n])) >= _LEAST]
    pieces = {n: set(runs(said[n], _PIECE)) for n in long}
    often = Counter(piece for one in pieces.values() for piece in one)
    having: dict[tuple[str, ...], list[int]] = defaultdict(list)
    pairs = []
    for n in long:
        rare = [piece for piece in pieces[n] if 1 < often[piece] <= _OFTEN]
        like = {other for piece in rare for other in having[piece]}
        pairs += [(m, n) for m in sorted(like) if _is_near(frozenset(said[m]), frozenset(said[n]))]
        for piece in rare:
            having[piece].append(n)
    return pairs


def _is_near(a: frozenset[str], b: frozenset[str]) -> bool:
    shared = len(a & b)
    if shared < _NEAR * (len(a) + len(b) - shared):
        return False
    return not any(w.isdecimal() for w in a ^ b)  # another number is another question


def _labels(rows: Sequence[Row], answer: str | None) -> bool:
    """Whether the answers are labels: few, and most of them there more than once."""
    if answer is None:
        return False
    found = Counter(row.get(answer, "") for row in rows)
    return 1 < len(found) <= min(LABELS, len(rows) // 2)


def _in_order(
    rows: Sequence[Row], groups: list[list[int]], label: str | None, seed: int
) -> list[list[int]]:
    """The groups, shuffled, those with the same label after each other."""
    shuffled = list(groups)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - repeatable
    if label is None:
        return shuffled
    often = Counter(row.get(label, "") for row in rows)
    return sorted(shuffled, key=lambda g: (-often[_label(rows, g, label)], _label(rows, g, label)))


def _in_turn(rows: Sequence[Row], numbers: Sequence[int], label: str | None) -> list[int]:
    """The rows of a split as they came, one of each label in turn: the first are used first."""
    if label is None:
        return sorted(numbers)
    before: Counter[str] = Counter()
    rounds = {}
    for n in sorted(numbers):
        rounds[n] = before[rows[n].get(label, "")]
        before[rows[n].get(label, "")] += 1
    return sorted(numbers, key=lambda n: (rounds[n], n))


def _label(rows: Sequence[Row], group: list[int], label: str) -> str:
    return rows[group[0]].get(label, "")


def _dealt(order: Sequence[list[int]], total: int) -> dict[Split, list[int]]:
    """Each group to the split that lacks most of its share by then, and has room."""
    few: dict[Split, float] = {"train": 0.5, "validation": 0.5}
    shares = few if total < TESTED else dict(SHARES)
    dealt: dict[Split, list[int]] = {name: [] for name in shares}
    done = 0
    for group in order:
        done += len(group)
        room = [s for s in shares if len(dealt[s]) + len(group) <= MOST.get(s, total)]
        lacking = {s: shares[s] * done - len(dealt[s]) for s in room}
        chosen = max(lacking, key=lambda s: lacking[s])
        dealt[chosen] += group
    return dealt


def _notes(
    found: Mapping[Split, Sequence[Row]],
    groups: Sequence[Sequence[int]],
    label: str | None,
    seed: int,
) -> list[str]:
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in found.items())
    even = f", evenly by {label!r}" if label else ""
    notes = [f"Split by seed {seed}{even}: {sizes}."]
    if together := [g for g in groups if len(g) > 1]:
        notes.append(
            f"{sum(map(len, together))} examples with equal or nearly equal inputs were kept "
            f"together, in {len(together)} group{'s' if len(together) > 1 else ''}."
        )
    if "test" not in found:
        notes.append(f"No test split: that takes {TESTED} examples.")
    return notes
