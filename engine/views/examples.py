"""Examples before and after: what the program made of each under two sets of texts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ...schemas.errors import BadInput, NotFound
from ...schemas.graph import NO_EXAMPLE, Kind, Session, number
from ..program.forward import IMAGE_URL
from .comparisons import Sorted, sort
from .replay import MOST, Reader, Replayed, replay
from .results import cut

Filter = Literal["all", "better", "worse", "same"]
CELL = 240
"""Characters of a text in a row; a row's fields share four times as many."""
FIELDS = 12
WHOLE = 20_000
"""Characters of a text that is read by itself."""
SCANNED = 2_000
"""Of so many examples at most, scores that were not kept are replayed for a filter."""
Versions = Mapping[str, int]
Texts = tuple[dict[str, str], dict[str, str]]
Mark = tuple[int, int]
"""How many examples a split has, and the number of the last."""
Reading = tuple[int, str]
"""An evaluation: its number, and when it was made."""


class Examples:
    """The rows of one loss and split, and one example whole."""

    def __init__(self, reader: Reader, session: Session) -> None:
        self.reader = reader
        self.store = reader.store
        self.session = session

    async def rows(
        self,
        loss: str,
        split: str,
        a: Versions,
        b: Versions,
        kind: Filter = "all",
        offset: int = 0,
        limit: int = 100,
    ) -> dict[str, Any]:
        """A page of examples with outputs and scores on both sides, and how many changed how.

        Where nobody knows what became of them (`counted` is false), all come in their order.
        Raises BadInput, NotFound.
        """
        texts = (await self._texts(a), await self._texts(b))
        here = not await self._is_per_example(loss)
        mark = (
            (1, NO_EXAMPLE)
            if here
            else await self.store.overview.split_mark(self.session.pk, split)
        )
        changes = await self._changes(loss, split, (a, b), texts, mark)
        if changes is None or kind == "all":
            found, total = [NO_EXAMPLE], mark[0]
            if not here:
                page = (split, offset, min(limit, MOST))
                found = await self.store.overview.split_page(self.session.pk, *page)
        else:
            chosen: Sequence[int] = getattr(changes, kind)
            found, total = list(chosen[offset : offset + min(limit, MOST)]), len(chosen)
        counts = {name: len(getattr(changes, name, ())) for name in ("better", "worse", "same")}
        return {
            "total": total,
            "counts": {"all": mark[0], **counts},
            "counted": changes is not None,
            "offset": offset,
            "rows": await self._page(loss, found, texts),
        }

    async def _is_per_example(self, loss: str) -> bool:
        found = await self.store.graph.variables(self.session.pk, [loss])
        if loss not in found:
            raise NotFound(f"There is no variable {loss!r}.", "Name a loss of the session.")
        return found[loss].per_example

    async def _changes(
        self, loss: str, split: str, sides: tuple[Versions, Versions], texts: Texts, mark: Mark
    ) -> Sorted | None:
        """The examples by what became of them, or None where nobody knows.

        By the scores that evaluations kept; else, if there are few examples, by replaying them.
        """
        pk, once = self.session.pk, self.reader.comparisons.once
        a, b = [await self.store.overview.evaluation_of(pk, loss, split, one) for one in sides]
        if a and b:
            return await once((pk, a, b, split, mark), lambda: self._kept(split, a, b))
        if mark[0] > SCANNED:
            return None
        asked = repr((loss, split, *sides, await self.store.overview.revision(pk)))
        return await once((pk, asked), lambda: self._scanned(loss, split, texts, mark))

    async def _kept(self, split: str, a: Reading, b: Reading) -> Sorted:
        before, after = [await self.store.overview.scores_of(self.session.pk, n) for n, _ in (a, b)]
        there = set(await self.store.examples.split(self.session.pk, split))
        return await asyncio.to_thread(sort, before, after, there)

    async def _scanned(self, loss: str, split: str, texts: Texts, mark: Mark) -> Sorted | None:
        examples = (
            [NO_EXAMPLE]
            if mark[1] == NO_EXAMPLE
            else await self.store.examples.split(self.session.pk, split)
        )
        sides = []
        for one in texts:
            found = await self._replayed(loss, examples, one)
            sides.append({n: x.score for n, x in found.items() if x.score is not None})
        return sort(sides[0], sides[1], set(examples)) if all(sides) else None

    async def _page(self, loss: str, page: Sequence[int], texts: Texts) -> list[dict[str, Any]]:
        before, after = [await self._replayed(loss, page, one) for one in texts]
        known = await self.store.examples.get(self.session.pk, [n for n in page if n != NO_EXAMPLE])
        return [
            {
                "id": _name(n),
                "fields": _cells(known[n].fields) if n in known else {},
                "a": _cell(before[n]),
                "b": _cell(after[n]),
            }
            for n in page
        ]

    async def example(self, loss: str, id_: str, a: Versions, b: Versions) -> dict[str, Any]:
        """One example whole: fields, outputs, the loss's words, and the calls behind them."""
        example = number(id_, "e") if id_ != "here" else NO_EXAMPLE
        known = await self.store.examples.get(self.session.pk, [example] if example else [])
        if example is None or (example != NO_EXAMPLE and example not in known):
            raise NotFound(f"There is no example {id_!r}.", "Rows are named e1, e2, ...")
        sides = []
        for versions in (a, b):
            texts = await self._texts(versions)
            found, keys = await replay(
                self.reader, self.session, loss, [example], texts, trace=True
            )
            calls = await self.store.overview.call_numbers(self.session.pk, keys)
            sides.append(_whole(found[example]) | {"calls": [f"c{n}" for n in calls.values()]})
        fields = known[example].fields if example in known else {}
        return {
            "id": id_,
            "split": known[example].split if example in known else "",
            "fields": {name: cut(text, WHOLE)[0] for name, text in fields.items()},
            "a": sides[0],
            "b": sides[1],
        }

    async def _replayed(
        self, loss: str, examples: Sequence[int], texts: Mapping[str, str]
    ) -> dict[int, Replayed]:
        found: dict[int, Replayed] = {}
        for start in range(0, len(examples), MOST):
            some = examples[start : start + MOST]
            one = await replay(self.reader, self.session, loss, some, texts)
            found |= one[0]
        return found

    async def _texts(self, versions: Versions) -> dict[str, str]:
        """The texts to put in place: those of versions that are not installed."""
        variables = await self.store.graph.variables(self.session.pk, versions)
        texts: dict[str, str] = {}
        for v, n in versions.items():
            if v not in variables or not isinstance(n, int):
                raise BadInput(f"There is no {v}@{n}.", "Name parameters with their versions.")
            if variables[v].version == n or variables[v].kind is Kind.OUTPUT:
                continue
            found = await self.store.history.version(self.session.pk, v, n)
            if found is None:
                raise NotFound(f"{v} has no version {n}.", "texts lists its versions.")
            texts[v] = found.text
        return texts


def _name(example: int) -> str:
    return f"e{example}" if example != NO_EXAMPLE else "here"


def _cells(fields: Mapping[str, str]) -> dict[str, str]:
    """Fields in a row: an image is named, not sent along."""
    most = min(CELL, 4 * CELL // max(1, min(len(fields), FIELDS)))
    return {
        cut(name, CELL)[0]: "[image]" if text.startswith(IMAGE_URL) else cut(text, most)[0]
        for name, text in list(fields.items())[:FIELDS]
    }


def _cell(one: Replayed) -> dict[str, Any]:
    output = next(iter(one.outputs.values()), "")
    return {"output": cut(output, CELL)[0], "score": one.score, "missing": one.missing}


def _whole(one: Replayed) -> dict[str, Any]:
    return {
        "outputs": {name: cut(text, WHOLE)[0] for name, text in one.outputs.items()},
        "feedback": cut(one.feedback, WHOLE)[0],
        "score": one.score,
        "missing": one.missing,
    }
