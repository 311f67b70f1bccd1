"""What all tools stand on: settings, store, ledger, runs, and which examples are meant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import get_args

from ...schemas.checks import NAME_A_SPLIT, check_count
from ...schemas.errors import BadInput, Conflict, NotFound
from ...schemas.graph import NO_EXAMPLE, Session, Split, Variable, number
from ...schemas.report import OWN_LOSS
from ...schemas.settings import Settings
from ..answerers import Answerer
from ..data.tables import Tables
from ..data.workspace import Workspace
from ..evaluators.evaluators import Evaluators
from ..evaluators.scripts import Scripts
from ..program.missing_fields import complete
from ..program.operations import find
from ..runs.ledger import Ledger
from ..runs.runner import Runner
from ..runs.sweep import Sweep
from ..store import Chain, Store
from ..workers.pool import Workers

WHERE = {
    "variable": "Refer to variables by id ('v3'); inspect(session_id) lists them.",
    "operation": "what='graph' without id lists them.",
    "example": "Example ids look like 'e7'; inspect(session_id, what='examples') lists them. "
    "A split's name (train, validation, test) means all of it.",
}
"""How to find the right id of each kind."""


class Parts:
    """The engine's parts, and which things are meant: examples, variables, losses."""

    def __init__(self, settings: Settings, store: Store, answerers: dict[str, Answerer]) -> None:
        self.settings = settings
        self.store = store
        store.db.quota_bytes = settings.quota_bytes
        self.ledger = Ledger(store, answerers, settings.backward.update_params)
        self.evaluators = Evaluators(settings.evaluators)
        self.workspace = Workspace(settings.workspace, settings.max_value_chars)
        self.scripts = Scripts(self.workspace, self.evaluators)
        self.tables = Tables(settings.data_dir, settings.max_value_chars)
        self.workers = Workers()
        self.runs = Runner(store, self.ledger, settings, self.evaluators, self.workers)
        self.sweep = Sweep(self.runs)

    async def close(self) -> None:
        """Stop runs (anybody can go on with them), keep what is being answered, close the file."""
        await self.sweep.stop()
        await self.runs.close()
        await self.workers.close()
        await self.ledger.close()
        self.store.leave()
        await self.runs.give_back()
        await self.store.close()

    async def examples_in_use(self, session: Session, targets: Sequence[Variable]) -> list[int]:
        """The examples in use, or NO_EXAMPLE alone when none of `targets` depends on examples.

        Without a batch of its own, a session uses the first of its training examples.
        """
        if not any(v.per_example for v in targets):
            return [NO_EXAMPLE]
        if session.batch:
            return session.batch
        return await self.store.examples.split(session.pk, "train", self.settings.minibatch)

    async def part_in_use(self, session: Session, examples: Sequence[int]) -> str | None:
        """How many of the training examples these are, and how all are used; None for all."""
        if not examples or NO_EXAMPLE in examples:
            return None
        total = (await self.store.examples.split_sizes(session.pk)).get("train", 0)
        if len(examples) >= total or not set(examples).issubset(
            await self.store.examples.split(session.pk, "train")
        ):
            return None
        return f"{len(examples)} of {total} training examples; examples='train' uses all"

    async def named_examples(self, session: Session, examples: Sequence[str] | str) -> list[int]:
        """Examples by id, or all of a split. Raises BadInput, NotFound."""
        if isinstance(examples, str) and examples in get_args(Split):
            found = await self.store.examples.split(session.pk, examples)
            if not found:
                raise BadInput(
                    f"The split {examples} is empty.",
                    f"Call add_examples(session_id='{session.id}', split='{examples}', ...).",
                )
            return found
        ids = [examples] if isinstance(examples, str) else list(dict.fromkeys(examples))
        check_count("examples", ids, NAME_A_SPLIT)
        numbers = [number(i, "e") or NO_EXAMPLE for i in ids]
        found_all = await self.store.examples.get(session.pk, numbers)
        missing = [i for i, n in zip(ids, numbers, strict=True) if n not in found_all]
        if len(ids) == 1 and missing:
            raise await self.missing(session, "example", ids[0])
        if missing or not numbers:
            raise NotFound(
                f"There are no examples {', '.join(map(repr, missing[:5]))} in this session.",
                WHERE["example"],
            )
        return numbers

    async def one_variable(self, session: Session, variable: str) -> Variable:
        """A variable by id. Raises NotFound."""
        found = await self.store.graph.variables(session.pk, [variable])
        if variable not in found:
            raise await self.missing(session, "variable", variable)
        return found[variable]

    async def missing(self, session: Session, what: str, id_: str) -> NotFound:
        """The error for an id that is not there: it never was, or was taken out."""
        if await self.store.removal.removed(session.pk, id_) is not None:
            return NotFound(
                f"{id_} was taken out of this session.",
                f"inspect(session_id, id='{id_}') shows what it was.",
            )
        return NotFound(f"There is no {what} {id_!r} in this session.", WHERE[what])

    async def losses(self, session: Session, ids: Sequence[str] | None) -> list[Variable]:
        """The losses meant: those named, or the session's only one. Raises BadInput, NotFound."""
        if ids is not None:
            check_count("losses", ids, "Name each once.")
            named = [await self.one_variable(session, i) for i in dict.fromkeys(ids)]
            operations = await self.store.graph.operations(
                session.pk, [v.operation for v in named if v.operation]
            )
            for operation in operations:
                find(operation.kind)  # raises where its package is gone
            kinds = {o.output: o.is_loss for o in operations}
            wrong = [v.label for v in named if not kinds.get(v.id)]
            if wrong or not named:
                raise BadInput(
                    f"{', '.join(wrong) or 'Nothing'} is no loss.",
                    "Name what compute_loss returned as loss.",
                )
            return named
        found = await self.store.graph.loss_outputs(session.pk)
        if len(found) != 1:
            what = "has no loss yet" if not found else f"has several losses ({', '.join(found)})"
            raise Conflict(
                f"The session {what}.",
                "Call compute_loss first." if not found else "Name the ones you mean.",
            )
        return [await self.one_variable(session, found[0])]

    async def reconcile_files(self, session: Session, chain: Chain | None = None) -> list[Variable]:
        """See that bound files are as they should be; gives what is bound. Raises BadInput,
        Conflict."""
        bound = await self.store.graph.bound_to_files(session.pk, chain)
        for v in bound:
            digest = await self._reconciled(session, v)
            if digest is not None:
                await self.store.graph.note_file(session.pk, v.id, digest)
        return bound

    async def _reconciled(self, session: Session, v: Variable) -> str | None:
        try:
            return await asyncio.to_thread(self.workspace.reconcile, v)
        except BadInput as error:  # the file cannot be had any more
            raise BadInput(
                f"{v.label} is bound to a file: {error.message}",
                f"Put the file back (inspect(session_id, id='{v.id}') shows the text), or take it "
                f"out: revert(session_id='{session.id}', remove=['{v.id}']) says what goes too.",
            ) from error


async def gate_examples(
    parts: Parts, session: Session, losses: Sequence[str]
) -> tuple[list[int], str]:
    """Where candidates are compared: the validation split, or the program itself without examples.

    Raises Conflict when there should be validation examples and are none.
    """
    named = [await parts.one_variable(session, i) for i in losses]
    if not any(v.per_example for v in named):
        return [NO_EXAMPLE], OWN_LOSS
    examples = await parts.store.examples.split(session.pk, "validation")
    if not examples:
        raise Conflict(
            "Candidates are compared on the validation split, which is empty.",
            f"Call add_examples(session_id='{session.id}', split='validation', ...), or step with "
            "accept='always'.",
        )
    full, _ = await complete(parts.store, session.pk, losses, examples)
    return full or examples, "validation"
