"""The tool `revert`: an earlier version, or a proposal, becomes the newest."""

from __future__ import annotations

import asyncio

from ...schemas.arguments.revert import RevertArguments
from ...schemas.checks import check_text
from ...schemas.errors import BadInput, NotFound
from ...schemas.graph import Session, Variable, number
from ...schemas.results import VariableResult
from ..runs.runner import Caller
from ..views.hints import in_file
from .base import Tool
from .remove import Remove


class Revert(Tool[RevertArguments, VariableResult]):
    """Brings back texts, and takes out what was added by mistake."""

    arguments = RevertArguments

    async def run(self, caller: Caller, args: RevertArguments) -> VariableResult:
        """Make an earlier version current again, as a new version, or a proposal (`p4`); with
        `remove`, take things out.

        Without a version, take the text of the file that the variable is bound to.
        Raises BadInput, NotFound, Conflict.
        """
        session_id, variable = args.session_id, args.variable
        if variable is None:
            ids, confirm = args.remove or [], args.confirm
            return await Remove(self.parts)(caller, session_id=session_id, ids=ids, confirm=confirm)
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        async with self.parts.runs.alone(caller, session):
            return await self._revert(session, variable, args.version)

    async def _revert(
        self, session: Session, variable: str, version: int | str | None
    ) -> VariableResult:
        v = await self.parts.one_variable(session, variable)
        if not v.is_leaf or v.value is None:
            raise BadInput(f"{v.label} has no versions: it is computed.", "Revert a parameter.")
        if version is None:
            return await self._reread(session, v)
        await self.parts.reconcile_files(session)
        name, text = await self._text_of(session, v, version)
        made, changed = await self.parts.store.history.set_value(session.pk, v.id, text, "revert")
        if not changed:
            return VariableResult(
                session_id=session.id,
                variable=v.id,
                version=made,
                notes=[f"{name} has the text that is current already."],
                next="Nothing changed.",
            )
        await self.parts.reconcile_files(session)
        return VariableResult(
            session_id=session.id,
            variable=v.id,
            version=made,
            notes=[in_file(v)] if v.file else [],
            next=f"{v.id} has the text of {name.lower()} now, as version {made}. Call "
            f"forward(session_id='{session.id}') to recompute what depends on it.",
        )

    async def _text_of(self, session: Session, v: Variable, asked: int | str) -> tuple[str, str]:
        """The name and the text of a version, or of a proposal that was not installed."""
        if isinstance(asked, str) and not asked.isdecimal():
            proposal = await self.parts.store.history.proposal(session.pk, asked)
            if proposal is None or proposal.variable != v.id:
                raise NotFound(
                    f"{v.label} has no proposal {asked!r}.",
                    "inspect(session_id, what='steps') lists them; a version is a number.",
                )
            return f"Proposal {asked}", proposal.text
        n = number(f"v{asked}", "v")
        old = await self.parts.store.history.version(session.pk, v.id, n) if n else None
        if old is None:
            raise NotFound(
                f"{v.label} has no version {asked}; it is at {v.version}.",
                f"inspect(session_id, what='variable', id='{v.id}') lists its versions.",
            )
        return f"Version {asked}", old.text

    async def _reread(self, session: Session, v: Variable) -> VariableResult:
        """Take the text of a bound file as a new version."""
        if v.file is None:
            raise BadInput(
                f"{v.label} is bound to no file, so a version is needed.",
                f"inspect(session_id, what='variable', id='{v.id}') lists its versions.",
            )
        path = v.file.path
        text, binding = await asyncio.to_thread(self.parts.workspace.bind, path, write=v.file.write)
        check_text(f"the file {path!r}", text, self.parts.settings.max_value_chars, empty=True)
        made, _ = await self.parts.store.history.set_value(session.pk, v.id, text, "edit")
        await self.parts.store.graph.note_file(session.pk, v.id, binding.digest)
        return VariableResult(
            session_id=session.id,
            variable=v.id,
            version=made,
            next=f"{v.id} has the text of {path!r}, as version {made}. Call "
            f"forward(session_id='{session.id}') to recompute what depends on it.",
        )
