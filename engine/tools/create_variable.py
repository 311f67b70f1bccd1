"""The tool `create_variable`: a leaf of the graph, and with it perhaps a session."""

from __future__ import annotations

import asyncio

from ...schemas.arguments.create_variable import CreateVariableArguments
from ...schemas.checks import check_text
from ...schemas.errors import BadInput, QuotaExceeded
from ...schemas.graph import (
    Kind,
    Variable,
)
from ...schemas.results import VariableResult
from ..constraints import constraints as rules
from ..program.definition import demonstrations_leaf
from ..program.forward import IMAGE_URL
from ..runs.runner import Caller
from ..store import Chain
from ..views.hints import after_leaf
from .base import Tool


class CreateVariable(Tool[CreateVariableArguments, VariableResult]):
    """Adds a leaf to a graph."""

    arguments = CreateVariableArguments

    async def run(self, caller: Caller, args: CreateVariableArguments) -> VariableResult:
        """Add a leaf; start a session when none is named. Raises BadInput, NotFound."""
        leaf = await self._read(args)
        chain = Chain()
        session = (
            await self.parts.store.sessions.get(args.session_id, caller.owner)
            if args.session_id
            else await self.parts.store.sessions.create(
                caller.owner, args.role[:80], self.parts.settings.quota_sessions, chain
            )
        )
        try:
            made = await self.parts.store.graph.add_leaf(session.pk, leaf, chain)
        except QuotaExceeded:
            if args.session_id is None:  # nothing stays of a session that could not begin
                await self.parts.store.maintenance.delete_sessions([session.pk])
            raise
        return VariableResult(
            session_id=session.id,
            variable=made.id,
            version=made.version or None,
            next=after_leaf(session.id, made),
        )

    async def _read(self, args: CreateVariableArguments) -> Variable:
        """The leaf, with its text out of a file where it is bound to one. Raises BadInput."""
        value, binding = args.value, None
        if args.demonstrations is not None:
            value = ""
        if args.file is not None:
            value = await asyncio.to_thread(self.parts.workspace.picture, args.file)
        if args.file is not None and value is None:
            value, binding = await asyncio.to_thread(
                self.parts.workspace.bind, args.file, write=args.write
            )
        leaf = self._leaf(args, value)
        leaf.file = binding
        if args.write and (binding is None or leaf.kind is not Kind.PARAMETER):
            raise BadInput(
                "write=true goes with file and requires_grad=true.",
                "Leave it out: only a parameter's file is ever written.",
            )
        if args.demonstrations is not None:
            leaf = demonstrations_leaf(leaf, args.demonstrations)
        return leaf

    def _leaf(self, args: CreateVariableArguments, value: str | None) -> Variable:
        kind = self._kind(args, value)
        if args.constraints and kind is not Kind.PARAMETER:
            raise BadInput(
                "Only a parameter (requires_grad=true, with a value) can have constraints.",
                "Leave constraints out, or make it a parameter.",
            )
        if args.constraints:
            rules.check_possible(args.constraints, value or "")
        return Variable(
            id="",
            kind=kind,
            role=args.role,
            name=args.name,
            value=value,
            version=1 if value is not None else 0,
            requires_grad=kind is Kind.PARAMETER,
            reference=args.reference,
            per_example=kind is Kind.FIELD,
            field=args.example_field,
            constraints=args.constraints or [],
        )

    def _kind(self, args: CreateVariableArguments, value: str | None) -> Kind:
        if value is not None:
            check_text("value", value, self.parts.settings.max_value_chars, empty=True)
            if value.startswith(IMAGE_URL):
                return Kind.IMAGE
        if args.example_field is not None:
            return Kind.FIELD
        learns = args.requires_grad and not args.reference and args.demonstrations is None
        return Kind.PARAMETER if learns else Kind.CONSTANT
