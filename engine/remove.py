"""Taking back: what was added by mistake goes, with what is made from it; examples are mended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, get_args

from ..schemas.errors import BadInput
from ..schemas.graph import HERE, Kind, Session, Split, Variable, number
from ..schemas.results import ExamplesResult, VariableResult
from .core import Core
from .data.reading import Reading
from .data.values import row_of
from .runs import Caller
from .show import cut

NAMED = 20
"""So many of the things that would go are named."""
ROLE = 60
CHANGES = re.compile(r'\s*\{\s*"e[0-9]+"\s*:\s*\{')
MEASURED = ("validation", "test")


@dataclass
class Going:
    """What a removal takes out: `asked` was named, `variables` are all that go, by id."""

    asked: list[str]
    variables: dict[str, Variable] = field(default_factory=dict)
    examples: list[int] = field(default_factory=list)


class Removing(Core):
    """The tools' other halves: `revert(remove=...)`, and `add_examples` for examples there are."""

    async def remove(
        self, caller: Caller, *, session_id: str, ids: Sequence[str], confirm: bool = False
    ) -> VariableResult:
        """Take variables, operations and examples (by id, or a split) out of a session.

        Without `confirm` it says what would go and changes nothing. What was paid for stays, and
        so does the history. Raises BadInput, NotFound, and Conflict while a run is active.
        """
        session = await self.store.session(session_id, caller.owner)
        await self.runs.admit(session, "")
        going = await self._going(session, ids)
        notes = await self._effects(session, going)
        if confirm:
            await self.store.remove(session.pk, session.id, going.variables, going.examples)
            await self.store.retire_unusable(session.pk)
            following = (
                "What was asked and answered is kept: the same thing made again asks for none of "
                f"it. inspect(session_id='{session.id}', what='graph') shows what is there."
            )
        else:
            following = (
                "Nothing was changed. To take this out: "
                f"revert(session_id='{session.id}', remove={list(ids)}, confirm=true)."
            )
        words = "Removed" if confirm else "Would be removed"
        return VariableResult(
            session_id=session.id, notes=[f"{words}: {_listed(going)}.", *notes], next=following
        )

    async def _going(self, session: Session, ids: Sequence[str]) -> Going:
        going = Going(list(dict.fromkeys(ids)))
        roots: list[str] = []
        for one in going.asked:
            if number(one, "e") is not None or one in get_args(Split):
                going.examples += await self.named_examples(session, one)
            elif number(one, "op") is not None:
                found = await self.store.operations(session.pk, [one])
                if not found:
                    raise await self.missing(session, "operation", one)
                roots.append(found[0].output)
            else:
                roots.append((await self.one_variable(session, one)).id)
        if not going.asked:
            raise BadInput("There is nothing in remove.", "Name ids: remove=['v7', 'op3', 'e12'].")
        down = await self.store.downstream(session.pk, roots)
        going.variables = await self.store.variables(session.pk, sorted(down, key=_order))
        going.examples = sorted(set(going.examples))
        return going

    async def _effects(self, session: Session, going: Going) -> list[str]:
        """What else is worth knowing about a removal."""
        notes = [
            f"The file {v.file.path!r} stays as it is." for v in going.variables.values() if v.file
        ]
        if any(v.kind is Kind.PARAMETER for v in going.variables.values()):
            notes.append("Versions, steps and proposals of a removed text can still be read.")
        unspent = await self.store.unspent_from(session.pk, going.variables, going.examples)
        if unspent:
            notes.append(f"Gradients that go with it, which no step has used: {unspent}.")
        if going.examples:
            notes += await self._without(session, going.examples)
        return notes

    async def _without(self, session: Session, numbers: Sequence[int]) -> list[str]:
        """What it means for the splits to lose these examples."""
        sizes = await self.store.split_sizes(session.pk)
        lost: dict[str, int] = {}
        for example in (await self.store.examples(session.pk, numbers)).values():
            lost[example.split] = lost.get(example.split, 0) + 1
        notes = [
            f"{split}: {sizes[split] - n} examples are left"
            + (", and what needs them is refused." if sizes[split] == n else ".")
            for split, n in lost.items()
        ]
        return notes + _remeasure(lost)

    @staticmethod
    def changes_in(examples: object) -> Mapping[str, Any] | None:
        """The changes `{"e7": {field: text}}` that `examples` are, as a text too; else None."""
        if isinstance(examples, str) and CHANGES.match(examples):
            with suppress(ValueError, RecursionError):  # then it is a text of rows, or broken
                examples = json.loads(examples)
        return examples if isinstance(examples, Mapping) else None

    async def mend(
        self, caller: Caller, *, session_id: str, split: str, changes: Mapping[str, Any]
    ) -> ExamplesResult:
        """Give fields of examples other texts, `{"e7": {field: text}}`; other fields stay.

        What was computed from them is stale then. Raises BadInput, NotFound, and Conflict while a
        run is active.
        """
        session = await self.store.session(session_id, caller.owner)
        await self.runs.admit(session, "")
        texts: dict[int, dict[str, str]] = {}
        reading = Reading("examples", self.settings.max_value_chars, "example")
        for one, fields in changes.items():
            n = number(one, "e") or HERE
            if n == HERE:
                raise BadInput(
                    f"{one!r} is no example's id.",
                    "To mend: examples={'e7': {field: text}}. To add: a list of rows.",
                )
            texts[n] = row_of(reading, one, _object(one, fields))
        if not texts:
            raise BadInput("There are no examples in the call.", "Give {'e7': {field: text}}.")
        before = await self.store.examples(session.pk, list(texts))
        await self.store.mend(session.pk, session.id, split, texts)
        await self.store.retire_unusable(session.pk)
        sizes = await self.store.split_sizes(session.pk)
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


def _order(variable: str) -> int:
    return number(variable, "v") or 0


def _listed(going: Going) -> str:
    """What goes, the things named before those that are made from them."""
    shown = [_words(v) for v in going.variables.values()] + [f"e{n}" for n in going.examples]
    more = len(shown) - NAMED
    return ", ".join(shown[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _words(v: Variable) -> str:
    made_by = f"{v.operation} -> " if v.operation else ""
    return f"{made_by}{v.id} ({cut(v.name or v.role, ROLE)[0]})"


def _new_fields(added: Mapping[int, Set[str]]) -> list[str]:
    return [
        f"e{n} did not have {', '.join(sorted(names))} before."
        for n, names in added.items()
        if names
    ]


def _remeasure(splits: Mapping[str, int]) -> list[str]:
    measured = [split for split in MEASURED if split in splits]
    if not measured:
        return []
    return [f"Scores on {' and '.join(measured)} so far are those of the split as it was."]
