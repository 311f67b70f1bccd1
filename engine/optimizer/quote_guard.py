"""What a proposed text must not quote, and what it may: the examples of a session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...schemas.graph import Fate, Kind, Variable
from ..constraints import constraints
from ..program.missing_fields import named
from ..prompts import sentence
from ..runs.context import RunContext
from ..store import Program
from ..workers.pool import Job
from . import quotes
from .candidate import Candidate, Problem, problems

HELD_OUT = ("validation", "test")
SHARED = 3
"""An input that so many rows of a split have, or a run of its words, belongs to the task."""
PAGE = 1_000, 1_000_000
"""Rows, and characters, that are compared at once."""
SMALL = 20_000
"""Characters of rows and texts that are gone through at once: a few milliseconds."""


@dataclass(frozen=True)
class QuoteGuard:
    """Finds quotations of examples in proposed texts. `inputs` and `answers` are the names of the
    fields that the program reads as such.

    Training rows may be quoted, rows of the other splits never. A held-out row whose input also
    stands in training is no secret: that is a fault of the split.
    """

    work: RunContext
    inputs: list[str]
    answers: list[str]

    @classmethod
    async def of(cls, work: RunContext, losses: Sequence[str]) -> QuoteGuard:
        """The guard for the program that makes `losses`."""
        program = await work.store.graph.program(work.session.pk, losses, everything=True)
        return cls.for_program(work, program)

    @classmethod
    def for_program(cls, work: RunContext, program: Program) -> QuoteGuard:
        """The guard for `program`. A field is an answer if losses alone read it, or if it is marked
        as one."""
        read = {v for o in program.operations.values() if not o.is_loss for v in o.sources}
        fields = [v for v in program.variables.values() if v.kind is Kind.FIELD and v.field]
        inputs = {v.field or "" for v in fields if v.id in read and not v.reference}
        return cls(work, sorted(inputs), sorted({v.field or "" for v in fields} - inputs))

    async def objections(self, parameter: Variable, new: str) -> list[Problem]:
        """What is wrong with `new` as a text for `parameter`, as problems whose sentences repeat no
        held-out word; empty if nothing is. Raises TooLong."""
        rule = constraints.examples_rule(parameter.constraints)
        before = f"{parameter.value or ''}\n{parameter.role}"
        said = []
        if rule == constraints.NO_COPY:
            said += _forbidden(_rows(await self._found("train", quotes.touched, new, before)))
        if rule != constraints.ANY_COPY:
            for split in HELD_OUT:
                said += _held_out(split, await self._taken(split, new, before))
        return problems(Fate.COPIED, said)

    async def quoted(self, texts: Iterable[str]) -> list[int]:
        """The numbers of the training rows that `texts` quote, in order. Raises TooLong."""
        return _rows(await self._found("train", quotes.quoted, self.answers, list(texts)))

    async def note(self, candidates: Sequence[Candidate]) -> None:
        """Note with each candidate which training rows it quotes. Raises TooLong."""
        for candidate in candidates:
            if not candidate.refused:
                candidate.quotes = await self.quoted(candidate.texts.values())

    async def _taken(self, split: str, new: str, before: str) -> int:
        """How many rows of a held-out split `new` quotes and `before` did not."""
        found = await self._found(split, quotes.quoted, self.answers, [new])
        if not found:
            return 0
        had = _rows(await self._found(split, quotes.quoted, self.answers, [before]))
        pieces = [piece for _, piece in found]
        trained = {n for _, n in await self._found("train", quotes.known, pieces, shared=True)}
        return len({n for n, piece in found if piece not in trained}.difference(had))

    async def _found(
        self,
        split: str,
        search: Callable[..., quotes.Hits],
        *args: str | list[str],
        shared: bool = False,
    ) -> quotes.Hits:
        """What `search` finds in all rows of a split, a page at a time.

        Pieces that many rows share do not count, unless they may be `shared`.
        """
        hits: quotes.Hits = []
        after, store, pk = 0, self.work.store, self.work.session.pk
        while self.inputs and (page := await store.examples.rows_after(pk, split, after, *PAGE)):
            hits += await self._searched(search, page, *args)
            after = page[-1][0]
        times = Counter(piece for _, piece in dict.fromkeys(hits))
        return [(n, piece) for n, piece in hits if shared or times[piece] < SHARED]

    async def _searched(
        self, search: Callable[..., quotes.Hits], page: quotes.Page, *args: str | list[str]
    ) -> quotes.Hits:
        size = sum(len(fields) for _, fields in page) + sum(len(str(arg)) for arg in args)
        if size <= SMALL:
            return search(page, self.inputs, *args)
        what = f"Comparing a text with {len(page):,} examples"
        job = Job(self.work.session.owner, what, "Shorten the text.")
        return await self.work.workers.run(job, search, page, self.inputs, *args)


def _rows(hits: quotes.Hits) -> list[int]:
    return sorted({n for n, _ in hits})


def _forbidden(rows: Sequence[int]) -> list[str]:
    if not rows:
        return []
    return [sentence("problems", "copied", rows=named(rows))]


def _held_out(split: str, count: int) -> list[str]:
    if not count:
        return []
    name = "held_out_one" if count == 1 else "held_out"
    return [sentence("problems", name, count=str(count), split=split)]
