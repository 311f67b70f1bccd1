"""What all tools stand on: settings, store, ledger, runs, and which examples are meant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import get_args

from ..schemas.completions import Role
from ..schemas.errors import BadInput, Conflict, NotFound
from ..schemas.graph import HERE, Op, Session, Split, Variable, number
from ..schemas.results import Result
from ..schemas.settings import Settings
from .answerers import Answerer
from .data.tables import Tables
from .define import NAME_A_SPLIT, check_count
from .evaluators import Evaluators
from .files import Workspace
from .ledger import Ledger
from .operations import RULES, evaluator_rule
from .runs import Caller, Runs, digest_of
from .store import Chain, Store
from .workers import Workers

WHERE = {
    "variable": "Refer to variables by id ('v3'); inspect(session_id) lists them.",
    "operation": "what='graph' without id lists them.",
    "example": "Example ids look like 'e7'; inspect(session_id, what='examples') lists them. "
    "A split's name (train, validation, test) means all of it.",
}
"""How to find the right id of each kind."""


class Core:
    """The engine's parts, and helpers that several tools share."""

    def __init__(self, settings: Settings, store: Store, answerers: dict[Role, Answerer]) -> None:
        self.settings = settings
        self.store = store
        store.db.quota_bytes = settings.quota_bytes
        self.ledger = Ledger(store, answerers, settings.backward.update_params)
        self.evaluators = Evaluators(settings.evaluators)
        self.workspace = Workspace(settings.workspace, settings.max_value_chars)
        self.tables = Tables(settings.data_dir, settings.max_value_chars)
        rules = {**RULES, Op.EVALUATOR: evaluator_rule(self.evaluators)}
        self.workers = Workers()
        self.runs = Runs(store, self.ledger, settings, rules, self.workers)

    async def close(self) -> None:
        """Stop runs (they can be resumed), keep what is being answered, close the file."""
        await self.runs.close()
        await self.workers.close()
        await self.ledger.close()
        await self.store.close()

    async def places(self, session: Session, targets: Sequence[Variable]) -> list[int]:
        """The examples in use, or HERE alone when none of `targets` depends on examples.

        Without a batch of its own, a session uses the first of its training examples.
        """
        if not any(v.per_example for v in targets):
            return [HERE]
        if session.batch:
            return session.batch
        return await self.store.split(session.pk, "train", self.settings.minibatch)

    async def named_examples(self, session: Session, examples: Sequence[str] | str) -> list[int]:
        """Examples by id, or all of a split. Raises BadInput, NotFound."""
        if isinstance(examples, str) and examples in get_args(Split):
            found = await self.store.split(session.pk, examples)
            if not found:
                raise BadInput(
                    f"The split {examples} is empty.",
                    f"Call add_examples(session_id='{session.id}', split='{examples}', ...).",
                )
            return found
        ids = [examples] if isinstance(examples, str) else list(dict.fromkeys(examples))
        check_count("examples", ids, NAME_A_SPLIT)
        numbers = [number(i, "e") or HERE for i in ids]
        found_all = await self.store.examples(session.pk, numbers)
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
        found = await self.store.variables(session.pk, [variable])
        if variable not in found:
            raise await self.missing(session, "variable", variable)
        return found[variable]

    async def missing(self, session: Session, what: str, id_: str) -> NotFound:
        """The error for an id that is not there: it never was, or was taken out."""
        if await self.store.removed(session.pk, id_) is not None:
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
            operations = await self.store.operations(
                session.pk, [v.operation for v in named if v.operation]
            )
            kinds = {o.output: o.is_loss for o in operations}
            wrong = [v.label for v in named if not kinds.get(v.id)]
            if wrong or not named:
                raise BadInput(
                    f"{', '.join(wrong) or 'Nothing'} is no loss.",
                    "Name what compute_loss returned as loss.",
                )
            return named
        found = await self.store.loss_outputs(session.pk)
        if len(found) != 1:
            what = "has no loss yet" if not found else f"has several losses ({', '.join(found)})"
            raise Conflict(
                f"The session {what}.",
                "Call compute_loss first." if not found else "Name the ones you mean.",
            )
        return [await self.one_variable(session, found[0])]

    async def reconcile_files(self, session: Session, chain: Chain | None = None) -> bool:
        """See that bound files are as they should be; whether there are any.

        Raises BadInput, Conflict.
        """
        bound = await self.store.bound_to_files(session.pk, chain)
        for v in bound:
            digest = await self._reconciled(session, v)
            if digest is not None:
                await self.store.note_file(session.pk, v.id, digest)
        return bool(bound)

    async def _reconciled(self, session: Session, v: Variable) -> str | None:
        try:
            return await asyncio.to_thread(self.workspace.reconcile, v)
        except BadInput as error:  # the file cannot be had any more
            raise BadInput(
                f"{v.label} is bound to a file: {error.message}",
                f"Put the file back (inspect(session_id, id='{v.id}') shows the text), or take it "
                f"out: revert(session_id='{session.id}', remove=['{v.id}']) says what goes too.",
            ) from error

    async def run(
        self, caller: Caller, session: Session, tool: str, args: dict[str, object]
    ) -> Result:
        """Start a run of `tool`, or go on with the one that this same call began."""
        digest = digest_of(tool, args)
        waiting = await self.runs.admit(session, digest)
        if waiting is not None:
            return await self.runs.go_on(caller, session, waiting)
        return await self.runs.start(caller, session, tool, args, digest)
