"""Examples before and after: what the program made of each under two sets of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...schemas.errors import BadInput, NotFound
from ...schemas.graph import HERE, Kind, Session, number
from ..forward import IMAGE_URL
from ..show import cut
from .replay import MOST, Reader, Replayed, replay

Filter = Literal["all", "better", "worse", "same"]
CELL = 240
"""Characters of a text in a row; a row's fields share four times as many."""
FIELDS = 12
WHOLE = 20_000
"""Characters of a text that is read by itself."""
SCANNED = 2_000
"""Of so many examples at most, scores that were not kept are replayed for a filter."""
Versions = Mapping[str, int]


@dataclass(frozen=True)
class Sides:
    """Two sets of texts and the scores of all examples under each, as far as they are known."""

    texts: tuple[dict[str, str], dict[str, str]]
    scores: tuple[dict[int, float], dict[int, float]]


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

        Raises BadInput, NotFound.
        """
        if await self._is_unsorted(loss, split, a, b):
            return await self._in_order(loss, split, (a, b), offset, limit)
        places = await self._places(loss, split)
        sides = await self._sides(loss, split, places, a, b)
        sorted_ = _sorted(places, sides.scores)
        chosen = sorted_[kind]
        page = chosen[offset : offset + min(limit, MOST)]
        return {
            "total": len(chosen),
            "counts": {name: len(found) for name, found in sorted_.items()},
            "counted": bool(sides.scores[0] and sides.scores[1]),
            "offset": offset,
            "rows": await self._page(loss, page, sides.texts),
        }

    async def _is_unsorted(self, loss: str, split: str, a: Versions, b: Versions) -> bool:
        """Whether there are many examples, of which nobody knows what became."""
        sizes = await self.store.split_sizes(self.session.pk)
        if sizes.get(split, 0) <= SCANNED:
            return False
        readings = await self.store.readings(self.session.pk)
        return not all(_kept(readings, loss, split, versions) for versions in (a, b))

    async def _in_order(
        self, loss: str, split: str, sides: tuple[Versions, Versions], offset: int, limit: int
    ) -> dict[str, Any]:
        """A page of a large split, in the order it came."""
        page = await self.store.split_page(self.session.pk, split, offset, min(limit, MOST))
        total = (await self.store.split_sizes(self.session.pk)).get(split, 0)
        texts = (await self._texts(sides[0]), await self._texts(sides[1]))
        return {
            "total": total,
            "counts": {"all": total, "better": 0, "worse": 0, "same": 0},
            "counted": False,
            "offset": offset,
            "rows": await self._page(loss, page, texts),
        }

    async def _page(
        self, loss: str, page: Sequence[int], texts: tuple[dict[str, str], dict[str, str]]
    ) -> list[dict[str, Any]]:
        before, after = [await self._replayed(loss, page, one) for one in texts]
        known = await self.store.examples(self.session.pk, [p for p in page if p != HERE])
        return [
            {
                "id": _name(p),
                "fields": _cells(known[p].fields) if p in known else {},
                "a": _cell(before[p]),
                "b": _cell(after[p]),
            }
            for p in page
        ]

    async def example(self, loss: str, id_: str, a: Versions, b: Versions) -> dict[str, Any]:
        """One example whole: fields, outputs, the loss's words, and the calls behind them."""
        place = number(id_, "e") if id_ != "here" else HERE
        known = await self.store.examples(self.session.pk, [place] if place else [])
        if place is None or (place != HERE and place not in known):
            raise NotFound(f"There is no example {id_!r}.", "Rows are named e1, e2, ...")
        sides = []
        for versions in (a, b):
            texts = await self._texts(versions)
            found, keys = await replay(self.reader, self.session, loss, [place], texts, trace=True)
            calls = await self.store.call_numbers(self.session.pk, keys)
            sides.append(_whole(found[place]) | {"calls": [f"c{n}" for n in calls.values()]})
        fields = known[place].fields if place in known else {}
        return {
            "id": id_,
            "split": known[place].split if place in known else "",
            "fields": {name: cut(text, WHOLE)[0] for name, text in fields.items()},
            "a": sides[0],
            "b": sides[1],
        }

    async def _places(self, loss: str, split: str) -> list[int]:
        found = await self.store.variables(self.session.pk, [loss])
        if loss not in found:
            raise NotFound(f"There is no variable {loss!r}.", "Name a loss of the session.")
        if not found[loss].per_example:
            return [HERE]
        return await self.store.split(self.session.pk, split)

    async def _sides(
        self, loss: str, split: str, places: Sequence[int], a: Versions, b: Versions
    ) -> Sides:
        readings = await self.store.readings(self.session.pk)
        texts, scores = [], []
        for versions in (a, b):
            texts.append(await self._texts(versions))
            kept = _kept(readings, loss, split, versions)
            found = await self.store.scores_of(self.session.pk, kept[-1]) if kept else {}
            if not found and len(places) <= SCANNED:
                found = await self._scanned(loss, places, texts[-1])
            scores.append(found)
        return Sides((texts[0], texts[1]), (scores[0], scores[1]))

    async def _scanned(
        self, loss: str, places: Sequence[int], texts: Mapping[str, str]
    ) -> dict[int, float]:
        found = await self._replayed(loss, places, texts)
        return {p: one.score for p, one in found.items() if one.score is not None}

    async def _replayed(
        self, loss: str, places: Sequence[int], texts: Mapping[str, str]
    ) -> dict[int, Replayed]:
        found: dict[int, Replayed] = {}
        for start in range(0, len(places), MOST):
            some = places[start : start + MOST]
            one = await replay(self.reader, self.session, loss, some, texts)
            found |= one[0]
        return found

    async def _texts(self, versions: Versions) -> dict[str, str]:
        """The texts to put in place: those of versions that are not installed."""
        variables = await self.store.variables(self.session.pk, versions)
        texts: dict[str, str] = {}
        for v, n in versions.items():
            if v not in variables or not isinstance(n, int):
                raise BadInput(f"There is no {v}@{n}.", "Name parameters with their versions.")
            if variables[v].version == n or variables[v].kind is Kind.OUTPUT:
                continue
            found = await self.store.version(self.session.pk, v, n)
            if found is None:
                raise NotFound(f"{v} has no version {n}.", "texts lists its versions.")
            texts[v] = found.text
        return texts


def _kept(
    readings: Sequence[Mapping[str, Any]], loss: str, split: str, versions: Versions
) -> list[int]:
    """The evaluations of these versions whose scores were kept."""
    return [
        one["n"]
        for one in readings
        if one["kept"]
        and (one["loss"], one["split"]) == (loss, split)
        and all(one["versions"].get(v, n) == n for v, n in versions.items())
    ]


def _sorted(
    places: Sequence[int], scores: tuple[Mapping[int, float], Mapping[int, float]]
) -> dict[str, list[int]]:
    """The places by what became of them; those without both scores are in `all` alone."""
    found: dict[str, list[int]] = {"all": list(places), "better": [], "worse": [], "same": []}
    before, after = scores
    for p in places:
        if p in before and p in after:
            change = after[p] - before[p]
            found["better" if change > 0 else "worse" if change < 0 else "same"].append(p)
    return found


def _name(place: int) -> str:
    return f"e{place}" if place != HERE else "here"


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
