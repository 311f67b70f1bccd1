"""The tool `add_examples`: rows into a split."""

from __future__ import annotations

from typing import get_args

from ...schemas.errors import BadInput
from ...schemas.graph import (
    Split,
)
from ...schemas.results import ExamplesResult
from ..data.reading import listed
from ..data.tables import Given
from ..runs.runner import Caller
from ..views.hints import after_examples, example_notes
from .lookup import Tool


class AddExamples(Tool):
    """Loads examples."""

    async def __call__(
        self,
        caller: Caller,
        *,
        session_id: str,
        split: str,
        examples: Given | None = None,
        path: str | None = None,
    ) -> ExamplesResult:
        """Load rows into a split: given as such, as a text, or by the path of a file.

        All are read and checked before the first is stored. Raises BadInput, NotFound, Conflict.
        """
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        if split not in get_args(Split):
            raise BadInput(f"There is no split {split!r}.", "Use train, validation or test.")
        async with (
            self.parts.tables.read(examples, path) as loaded,
            self.parts.runs.alone(caller, session),
        ):
            added = [
                await self.parts.store.examples.add(session.pk, split, piece)
                async for piece in loaded.pieces()
            ]
        new = [piece for piece in added if piece.first]
        total = added[-1].total
        count = sum(piece.added for piece in new)
        return ExamplesResult(
            session_id=session.id,
            split=split,
            added=count,
            skipped=loaded.rows - count,
            total=total,
            first=f"e{new[0].first}" if new else None,
            last=f"e{new[-1].last}" if new else None,
            notes=example_notes(loaded, added, split),
            next=f"{split} now has {total} examples with the fields {listed(loaded.fields)}, which "
            f"variables made with example_field are fed from. "
            + after_examples(split, total, self.parts.settings.minibatch),
        )
