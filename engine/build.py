"""Building a program: variables, operations, losses and examples."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from ..schemas.errors import BadInput, QuotaExceeded
from ..schemas.graph import (
    Kind,
    Op,
    Operation,
    Session,
    Split,
    Variable,
)
from ..schemas.results import ExamplesResult, ForwardResult, Result, VariableResult
from . import constraints as rules
from .core import Core
from .data.reading import listed
from .data.tables import Given
from .define import (
    MOST_INPUTS,
    NAME_A_SPLIT,
    TOGETHER,
    check_count,
    check_loss,
    check_operation,
    check_text,
    demonstrations_leaf,
    forward_spec,
    loss_kind,
    operation_kind,
    output_of,
    was_given,
)
from .forward import IMAGE_URL
from .hints import after_leaf, example_notes, needs_examples
from .runs import Caller, digest_of
from .store import Chain

MAX_ROLE = 2000
MAX_NAME = 200
MAX_CONSTRAINTS = 100


class Building(Core):
    """The tools that add to a graph."""

    async def create_variable(
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
            value = await asyncio.to_thread(self.workspace.picture, file)
        if file is not None and value is None:
            value, binding = await asyncio.to_thread(self.workspace.bind, file, write=write)
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
            await self.store.session(session_id, caller.owner)
            if session_id
            else await self.store.create_session(
                caller.owner, role[:80], self.settings.quota_sessions, chain
            )
        )
        try:
            made = await self.store.add_leaf(session.pk, leaf, chain)
        except QuotaExceeded:
            if session_id is None:  # nothing stays of a session that could not begin
                await self.store.delete_sessions([session.pk])
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
            check_text("value", value, self.settings.max_value_chars, empty=True)
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

    async def forward(
        self,
        caller: Caller,
        *,
        session_id: str,
        operation: str | None = None,
        inputs: Mapping[str, str] | None = None,
        template: str | None = None,
        system: str | None = None,
        function: str | None = None,
        output: str | None = None,
        role: str = "",
        name: str = "",
        examples: Sequence[str] | str | None = None,
    ) -> Result:
        """Add an operation and compute it, or, without one, recompute what is stale.

        Raises BadInput, NotFound, Conflict.
        """
        check_count("inputs", inputs or {}, TOGETHER, MOST_INPUTS)
        check_count("examples", examples or (), NAME_A_SPLIT)
        session = await self.store.session(session_id, caller.owner)
        args = {
            "operation": operation,
            "inputs": dict(inputs or {}),
            "template": template,
            "system": system,
            "function": function,
            "output": output,
            "role": role,
            "name": name,
            "examples": examples,
        }
        digest = digest_of("forward", args)
        waiting = await self.runs.admit(session, digest)
        if waiting is not None:
            return await self.runs.go_on(caller, session, waiting)
        session = await self._on_examples(session, examples)
        if operation is None:
            self._refuse_extra(inputs, template, system, function, output)
            if examples is not None:
                await self.store.use_batch(session.pk, session.batch)
            stale = await self.store.dirty(session.pk)
            return await self.runs.start(caller, session, "forward", {"targets": stale}, digest)
        op = Operation(
            id="",
            kind=operation_kind(operation),
            output="",
            inputs=dict(inputs or {}),
            system=system,
            spec=forward_spec(operation, template, function, output),
        )
        notes = check_operation(op, self.settings.max_value_chars)
        return await self._add(caller, session, op, role, name, digest, notes)

    async def compute_loss(
        self,
        caller: Caller,
        *,
        session_id: str,
        kind: str,
        inputs: Mapping[str, str],
        instruction: str | None = None,
        metric: str | None = None,
        options: Mapping[str, Any] | None = None,
        evaluator: str | None = None,
        feedback: str | None = None,
        score: float | None = None,
        graded: bool = True,
        weights: Mapping[str, float] | None = None,
        name: str = "",
        examples: Sequence[str] | str | None = None,
    ) -> Result:
        """Add a loss and compute it. Raises BadInput, NotFound, Conflict."""
        check_count("inputs", inputs, TOGETHER, MOST_INPUTS)
        check_count("examples", examples or (), NAME_A_SPLIT)
        check_count("options", options or {}, "No metric has so many.", MOST_INPUTS)
        session = await self.store.session(session_id, caller.owner)
        spec = {
            "instruction": instruction,
            "metric": metric,
            "options": dict(options) if options else None,
            "evaluator": evaluator,
            "function": feedback if kind == "feedback" else None,
            "score": score,
            "graded": graded if kind == "judge" else None,
            "weights": dict(weights) if weights else None,
        }
        args = spec | {"kind": kind, "inputs": dict(inputs), "name": name, "examples": examples}
        digest = digest_of("compute_loss", args)
        waiting = await self.runs.admit(session, digest)
        if waiting is not None:
            return await self.runs.go_on(caller, session, waiting)
        session = await self._on_examples(session, examples)
        op = Operation(
            id="",
            kind=loss_kind(kind),
            output="",
            inputs=dict(inputs),
            spec={k: v for k, v in spec.items() if v is not None},
        )
        await check_loss(op, self.evaluators, self.workers, caller.owner)
        return await self._add(caller, session, op, "loss", name, digest, [])

    async def add_examples(
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
        session = await self.store.session(session_id, caller.owner)
        await self.runs.admit(session, "")
        if split not in get_args(Split):
            raise BadInput(f"There is no split {split!r}.", "Use train, validation or test.")
        async with self.tables.read(examples, path) as loaded:
            added = [
                await self.store.add_examples(session.pk, split, piece)
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
            next=f"{split} now has {total} examples with the fields {listed(loaded.fields)}. "
            "Variables made with example_field are fed from them; call forward to compute.",
        )

    async def _add(
        self,
        caller: Caller,
        session: Session,
        op: Operation,
        role: str,
        name: str,
        digest: str,
        notes: list[str],
    ) -> Result:
        check_text("role", role, MAX_ROLE, empty=True)
        check_text("name", name, MAX_NAME, empty=True)
        sources = await self._sources(session, op)
        output = output_of(op, sources, role, name)
        places = await self.places(session, [output])
        given = was_given(op, places)
        chain = Chain()
        op, output = await self.store.add_operation(
            session.pk, op, output, session.batch or None, chain
        )
        made = {"variable": output.id, "operation": op.id}
        if op.is_loss:
            made["loss"] = output.id
        if output.per_example and not places:
            await chain.settled()
            return ForwardResult(
                session_id=session.id,
                variable=output.id,
                operation=op.id,
                loss=made.get("loss"),
                notes=notes,
                next=needs_examples(session),
            )
        args = {"targets": [output.id], "made": made, "notes": notes, "given": given}
        tool = "compute_loss" if op.is_loss else "forward"
        try:
            return await self.runs.start(caller, session, tool, args, digest, chain)
        finally:
            await chain.settled()

    async def _sources(self, session: Session, op: Operation) -> dict[str, Variable]:
        """The variables that `op` reads. Raises NotFound, or BadInput for a misuse of one."""
        found = await self.store.variables(session.pk, op.sources)
        for source in op.sources:
            if source not in found:
                raise await self.missing(session, "variable", source)
        leaked = [v.label for v in found.values() if v.reference]
        if leaked and not op.is_loss and op.kind is not Op.FORMAT:
            raise BadInput(
                f"{', '.join(leaked)} is a reference (the right answer), which a forward "
                "operation must never see.",
                "Use it in compute_loss only.",
            )
        if op.kind is Op.SUM:
            await self.losses(session, op.sources)
        images = [v.label for v in found.values() if v.kind is Kind.IMAGE]
        if images and op.kind is Op.FORMAT:
            raise BadInput(
                f"{', '.join(images)} is an image, which a template cannot hold.",
                "Give it to the llm operation or the judge itself, as one more input.",
            )
        if op.is_loss and op.kind is not Op.SUM and all(v.reference for v in found.values()):
            raise BadInput(
                "All inputs of this loss are references.", "Give the output to be judged, too."
            )
        return found

    def _refuse_extra(self, *given: object) -> None:
        if any(given):
            raise BadInput(
                "inputs, template, system, function and output go with an operation.",
                "Add operation='llm', 'format' or 'external'; without it forward only recomputes.",
            )

    async def _on_examples(self, session: Session, examples: Sequence[str] | str | None) -> Session:
        """The session with the named examples (ids, or a split) in use; nothing is stored yet."""
        if examples is None:
            return session
        numbers = await self.named_examples(session, examples)
        return session.model_copy(update={"batch": numbers})
