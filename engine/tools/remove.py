"""Taking out: what was added by mistake goes, with what is made from it (`revert(remove=...)`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from ...schemas.errors import BadInput
from ...schemas.graph import Kind, Session, Split, Variable, number
from ...schemas.results import VariableResult
from ..runs.runner import Caller
from ..views.results import cut
from .lookup import Parts

NAMED = 20
"""So many of the things that would go are named."""
ROLE = 60
MEASURED = ("validation", "test")


@dataclass
class Going:
    """What a removal takes out: `asked` was named, `variables` are all that go, by id."""

    asked: list[str]
    variables: dict[str, Variable] = field(default_factory=dict)
    examples: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Remove:
    """Takes out what was added by mistake."""

    parts: Parts

    async def __call__(
        self, caller: Caller, *, session_id: str, ids: Sequence[str], confirm: bool = False
    ) -> VariableResult:
        """Take variables, operations and examples (by id, or a split) out of a session.

        Without `confirm` it says what would go and changes nothing. What was paid for stays, and
        so does the history. Raises BadInput, NotFound, and Conflict while a run is active.
        """
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        async with self.parts.runs.alone(caller, session):
            return await self._remove(session, ids, confirm=confirm)

    async def _remove(
        self, session: Session, ids: Sequence[str], *, confirm: bool
    ) -> VariableResult:
        going = await self._going(session, ids)
        notes = await self._effects(session, going)
        if confirm:
            await self.parts.store.removal.remove(session.pk, going.variables, going.examples)
            await self.parts.store.calls.retire_unusable(session.pk)
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
                going.examples += await self.parts.named_examples(session, one)
            elif number(one, "op") is not None:
                found = await self.parts.store.graph.operations(session.pk, [one])
                if not found:
                    raise await self.parts.missing(session, "operation", one)
                roots.append(found[0].output)
            else:
                roots.append((await self.parts.one_variable(session, one)).id)
        if not going.asked:
            raise BadInput("There is nothing in remove.", "Name ids: remove=['v7', 'op3', 'e12'].")
        down = await self.parts.store.graph.downstream(session.pk, roots)
        going.variables = await self.parts.store.graph.variables(
            session.pk, sorted(down, key=_order)
        )
        going.examples = sorted(set(going.examples))
        return going

    async def _effects(self, session: Session, going: Going) -> list[str]:
        """What else is worth knowing about a removal."""
        notes = [
            f"The file {v.file.path!r} stays as it is." for v in going.variables.values() if v.file
        ]
        if any(v.kind is Kind.PARAMETER for v in going.variables.values()):
            notes.append("Versions, steps and proposals of a removed text can still be read.")
        unspent = await self.parts.store.removal.unspent_from(
            session.pk, going.variables, going.examples
        )
        if unspent:
            notes.append(f"Gradients that go with it, which no step has used: {unspent}.")
        if going.examples:
            notes += await self._without(session, going.examples)
        return notes

    async def _without(self, session: Session, numbers: Sequence[int]) -> list[str]:
        """What it means for the splits to lose these examples."""
        sizes = await self.parts.store.examples.split_sizes(session.pk)
        lost: dict[str, int] = {}
        for example in (await self.parts.store.examples.get(session.pk, numbers)).values():
            lost[example.split] = lost.get(example.split, 0) + 1
        notes = [
            f"{split}: {sizes[split] - n} examples are left"
            + (", and what needs them is refused." if sizes[split] == n else ".")
            for split, n in lost.items()
        ]
        return notes + _remeasure(lost)


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


def _remeasure(splits: Mapping[str, int]) -> list[str]:
    measured = [split for split in MEASURED if split in splits]
    if not measured:
        return []
    return [f"Scores on {' and '.join(measured)} so far are those of the split as it was."]
