"""Which examples a text quotes: whole rows, an input with its answer.

Rows are compared as rows and literally, but for case, spacing and punctuation. So what all right
answers share never counts: labels, keywords, keys of a schema, what a domain calls things. Plain
functions on plain values, for a worker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ...schemas.words import runs, says_much, weight, words

ALONE = 8
"""Words that a row must have which has no answer."""
RUN = 8
"""So many words in a row, of an input, count as quoted where nothing may be."""
_KEY = 3  # words by which a piece is looked for
Page = Sequence[tuple[int, str]]
"""Some rows: their numbers, and their fields as JSON."""
Hits = list[tuple[int, str]]
"""Numbers of rows, each with the piece of it that stands in a text."""


class _Text:
    """A text in which pieces are looked for by their words."""

    def __init__(self, text: str) -> None:
        self.words = words(text)
        self._spaced = _spaced(self.words)
        self._keys = {run for length in range(1, _KEY + 1) for run in runs(self.words, length)}

    def has(self, piece: Sequence[str]) -> bool:
        """Whether these words stand in it, in a row."""
        return tuple(piece[:_KEY]) in self._keys and _spaced(piece) in self._spaced


def quoted(page: Page, inputs: Sequence[str], answers: Sequence[str], texts: Sequence[str]) -> Hits:
    """The rows of `page` that stand whole in one of `texts`, each with the input of it that does.

    `inputs` and `answers` name the fields that a program reads as such. Where a row has no answer,
    an input of some length counts as the whole row.
    """
    searched = [_Text(text) for text in texts]
    found: Hits = []
    for n, row in _rows(page):
        wanted = [said for name in answers if name in row and (said := words(row[name]))]
        for piece in _pieces(row, inputs):
            if any(_whole(piece, wanted, text) for text in searched):
                found.append((n, " ".join(piece)))
    return found


def touched(page: Page, inputs: Sequence[str], new: str, old: str) -> Hits:
    """The rows of `page` of which `new` has an input, or a run of words of one, that `old` has
    not."""
    after, before = _Text(new), _Text(old)
    added = set(runs(after.words, RUN)) - set(runs(before.words, RUN))
    found: Hits = []
    for n, row in _rows(page):
        for piece in _pieces(row, inputs):
            if after.has(piece) and not before.has(piece):
                found.append((n, " ".join(piece)))
            found += [(n, " ".join(run)) for run in added.intersection(runs(piece, RUN))]
    return found


def known(page: Page, inputs: Sequence[str], pieces: Sequence[str]) -> Hits:
    """The rows of `page` that have one of these pieces as an input."""
    wanted = set(pieces)
    return [
        (n, said)
        for n, row in _rows(page)
        for piece in _pieces(row, inputs)
        if (said := " ".join(piece)) in wanted
    ]


def _rows(page: Page) -> list[tuple[int, dict[str, str]]]:
    return [(n, json.loads(fields)) for n, fields in page]


def _pieces(row: Mapping[str, str], names: Sequence[str]) -> list[list[str]]:
    """The words of each field that is more than a label or a number."""
    found = (words(row[name]) for name in names if name in row)
    return [piece for piece in found if says_much(piece)]


def _whole(piece: Sequence[str], answers: Sequence[Sequence[str]], text: _Text) -> bool:
    enough = any(map(text.has, answers)) if answers else weight(piece) >= ALONE
    return enough and text.has(piece)


def _spaced(found: Sequence[str]) -> str:
    return f" {' '.join(found)} "
