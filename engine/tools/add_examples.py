"""The tool `add_examples`: rows into a split."""

from __future__ import annotations

from typing import cast

from ...schemas.arguments.add_examples import AddExamplesArguments
from ...schemas.results import ExamplesResult
from ..data.reading import listed
from ..data.tables import Given
from ..runs.runner import Caller
from ..views.hints import after_examples, example_notes
from .base import Tool
from .mend import Mend


class AddExamples(Tool[AddExamplesArguments, ExamplesResult]):
    """Loads examples, and mends those that are there."""

    arguments = AddExamplesArguments

    async def run(self, caller: Caller, args: AddExamplesArguments) -> ExamplesResult:
        """Load rows into a split: given as such, as a text, or by the path of a file; or give
        examples other texts, by their ids.

        All are read and checked before the first is stored. Raises BadInput, NotFound, Conflict.
        """
        session_id, split, examples = args.session_id, args.split, args.examples
        changes = Mend.changes_in(examples) if args.path is None else None
        if changes is not None:
            mend = Mend(self.parts)
            return await mend(caller, session_id=session_id, split=split, changes=changes)
        rows = cast("Given | None", examples)
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        async with (
            self.parts.tables.read(rows, args.path) as loaded,
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
