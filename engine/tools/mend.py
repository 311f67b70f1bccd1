"""Mending: examples that are there get other texts (`add_examples(examples={'e7': ...})`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...schemas.errors import BadInput
from ...schemas.graph import NO_EXAMPLE, Session, number
from ...schemas.results import ExamplesResult
from ..data.reading import Reading
from ..data.values import row_of
from ..runs.runner import Caller
from .lookup import Parts
from .remove import _remeasure

CHANGES = re.compile(r'\s*\{\s*"e[0-9]+"\s*:\s*\{')


@dataclass(frozen=True)
class Mend:
    """Mends examples."""

    parts: Parts

    async def __call__(
        self, caller: Caller, *, session_id: str, split: str, changes: Mapping[str, Any]
    ) -> ExamplesResult:
        """Give fields of examples other texts, `{"e7": {field: text}}`; other fields stay.

        What was computed from them is stale then. Raises BadInput, NotFound, and Conflict while a
        run is active.
        """
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        async with self.parts.runs.alone(caller, session):
            return await self._mend(session, split, changes)

    @staticmethod
    def changes_in(examples: object) -> Mapping[str, Any] | None:
        """The changes `{"e7": {field: text}}` that `examples` are, as a text too; else None."""
        if isinstance(examples, str) and CHANGES.match(examples):
            with suppress(ValueError, RecursionError):  # then it is a text of rows, or broken
                examples = json.loads(examples)
        return examples if isinstance(examples, Mapping) else None

    async def _mend(
        self, session: Session, split: str, changes: Mapping[str, Any]
    ) -> ExamplesResult:
        texts: dict[int, dict[str, str]] = {}
        reading = Reading("examples", self.parts.settings.max_value_chars, "example")
        for one, fields in changes.items():
            n = number(one, "e") or NO_EXAMPLE
            if n == NO_EXAMPLE:
                raise BadInput(
                    f"{one!r} is no example's id.",
                    "To mend: examples={'e7': {field: text}}. To add: a list of rows.",
                )
            texts[n] = row_of(reading, one, _object(one, fields))
        if not texts:
            raise BadInput("There are no examples in the call.", "Give {'e7': {field: text}}.")
        before = await self.parts.store.examples.get(session.pk, list(texts))
        await self.parts.store.removal.mend(session.pk, split, texts)
        await self.parts.store.calls.retire_unusable(session.pk)
        sizes = await self.parts.store.examples.split_sizes(session.pk)
        return ExamplesResult(
            session_id=session.id,
            split=split,
            total=sizes[split],
            notes=[
                f"Mended: {', '.join(f'e{n}' for n in texts)}.",
                *reading.said(),
                *_new_fields({n: fields.keys() - before[n].fields for n, fields in texts.items()}),
                *_remeasure({split: 1}),
            ],
            next=f"forward(session_id='{session.id}') recomputes what depends on it.",
        )


def _object(example: str, fields: Any) -> Mapping[str, Any]:
    if not isinstance(fields, Mapping) or not fields:
        raise BadInput(
            f"What {example} is to have is no object with fields.",
            "Give {'e7': {field: text}}.",
        )
    return fields


def _new_fields(added: Mapping[int, Set[str]]) -> list[str]:
    return [
        f"e{n} did not have {', '.join(sorted(names))} before."
        for n, names in added.items()
        if names
    ]
