"""The tool `create_variable`: a leaf of the graph, and with it perhaps a session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ...schemas.errors import BadInput, QuotaExceeded
from ...schemas.graph import (
    Kind,
    Variable,
)
from ...schemas.results import VariableResult
from ..constraints import constraints as rules
from ..program.definition import (
    check_text,
    demonstrations_leaf,
)
from ..program.forward import IMAGE_URL
from ..runs.runner import Caller
from ..store import Chain
from ..views.hints import after_leaf
from .lookup import Tool

MAX_ROLE = 2000
MAX_NAME = 200
MAX_CONSTRAINTS = 100


class CreateVariable(Tool):
    """Adds a leaf to a graph."""

    async def __call__(
        self,
        caller: Caller,
        *,
        role: str,
        value: str | None = None,
        session_id: str | None = None,
        requires_grad: bool = True,
        constraints: Sequence[str] = (),
        example_field: str | None = None,
        reference: bool = False,
        demonstrations: int | None = None,
        name: str = "",
        file: str | None = None,
        write: bool = False,
    ) -> VariableResult:
        """Add a leaf; start a session when none is named. Raises BadInput, NotFound."""
        if sum(given is not None for given in (value, file, example_field, demonstrations)) != 1:
            raise BadInput(
                "Give one of value (a text), file (its path in the workspace), example_field (the "
                "field of the examples that feeds it) and demonstrations (how many training "
                "examples to show).",
                "For an example field: create_variable(role='the question', "
                "example_field='question').",
            )
        check_text("role", role, MAX_ROLE)
        check_text("name", name, MAX_NAME, empty=True)
        if demonstrations is not None:
            value, requires_grad = "", False
        binding = None
        if file is not None:
            value = await asyncio.to_thread(self.parts.workspace.picture, file)
        if file is not None and value is None:
            value, binding = await asyncio.to_thread(self.parts.workspace.bind, file, write=write)
        leaf = self._leaf(role, value, requires_grad, constraints, example_field, reference, name)
        leaf.file = binding
        if write and (binding is None or leaf.kind is not Kind.PARAMETER):
            raise BadInput(
                "write=true goes with file and requires_grad=true.",
                "Leave it out: only a parameter's file is ever written.",
            )
        if demonstrations is not None:
            leaf = demonstrations_leaf(leaf, demonstrations)
        chain = Chain()
        session = (
            await self.parts.store.sessions.get(session_id, caller.owner)
            if session_id
            else await self.parts.store.sessions.create(
                caller.owner, role[:80], self.parts.settings.quota_sessions, chain
            )
        )
        try:
            made = await self.parts.store.graph.add_leaf(session.pk, leaf, chain)
        except QuotaExceeded:
            if session_id is None:  # nothing stays of a session that could not begin
                await self.parts.store.maintenance.delete_sessions([session.pk])
            raise
        return VariableResult(
            session_id=session.id,
            variable=made.id,
            version=made.version or None,
            next=after_leaf(session.id, made),
        )

    def _leaf(
        self,
        role: str,
        value: str | None,
        requires_grad: bool,
        constraints: Sequence[str],
        example_field: str | None,
        reference: bool,
        name: str,
    ) -> Variable:
        kind = Kind.PARAMETER if requires_grad and not reference else Kind.CONSTANT
        if example_field is not None:
            kind = Kind.FIELD
            check_text("example_field", example_field, MAX_NAME)
        elif value is not None:
            check_text("value", value, self.parts.settings.max_value_chars, empty=True)
        if value is not None and value.startswith(IMAGE_URL):
            kind = Kind.IMAGE
        if constraints and kind is not Kind.PARAMETER:
            raise BadInput(
                "Only a parameter (requires_grad=true, with a value) can have constraints.",
                "Leave constraints out, or make it a parameter.",
            )
        if len(constraints) > MAX_CONSTRAINTS:
            raise BadInput(
                f"There are {len(constraints):,} constraints; at most {MAX_CONSTRAINTS} are taken.",
                "Put some of them together.",
            )
        for constraint in constraints:
            check_text("a constraint", constraint, MAX_ROLE)
        if constraints:
            rules.check_possible(constraints, value or "")
        return Variable(
            id="",
            kind=kind,
            role=role,
            name=name,
            value=value,
            version=1 if value is not None else 0,
            requires_grad=kind is Kind.PARAMETER,
            reference=reference,
            per_example=kind is Kind.FIELD,
            field=example_field,
            constraints=list(constraints),
        )
