"""The tool `compute_loss`: adds a loss and computes it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ...schemas.graph import (
    Operation,
    Session,
)
from ...schemas.results import Result
from ..program.definition import (
    MOST_INPUTS,
    NAME_A_SPLIT,
    TOGETHER,
    check_count,
)
from ..program.operations import find, loss_kind
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from ..store import measuring_again
from .add_operation import addition, batch_of
from .lookup import Tool

TOLD = ("function", "score")
"""What a measurement found, in the spec of its loss."""


class ComputeLoss(Tool):
    """Adds losses; they are computed as `forward` computes."""

    async def __call__(
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
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        given = {
            "instruction": instruction,
            "metric": metric,
            "options": dict(options) if options else None,
            "evaluator": evaluator,
            "feedback": feedback,
            "score": score,
            "graded": graded,
            "weights": dict(weights) if weights else None,
        }
        spec = loss_kind(kind).spec(given)
        args = spec | {"kind": kind, "inputs": dict(inputs), "name": name, "examples": examples}

        async def prepare(session: Session) -> Start:
            batch = await batch_of(self.parts, session, examples)
            told = {k: v for k, v in spec.items() if v is not None}
            if evaluator and self.parts.scripts.is_script(evaluator):
                told["evaluator"] = await asyncio.to_thread(self.parts.scripts.resolved, evaluator)
            op = Operation(
                id="", kind=kind, is_loss=True, output="", inputs=dict(inputs), spec=told
            )
            if (same := await self.the_same(session, op, name)) is not None:
                return await self.once_more(session, op, same, batch)
            return await addition(self.parts, session, op, "loss", name, batch)

        digest = digest_of("compute_loss", args)
        return await self.parts.runs.call(caller, session, "compute_loss", digest, prepare)

    async def the_same(self, session: Session, op: Operation, name: str) -> Operation | None:
        """The loss that `op`, to be called `name`, is once more, since what it is about has
        changed; None where it is a new one."""
        found = await self.parts.store.again.alike(session.pk, op)
        alike = [o for o, stale in found if _is_same(op, o) and (stale or _measures(o))]
        outputs = await self.parts.store.graph.variables(session.pk, [o.output for o in alike])
        return next((o for o in alike if name in ("", outputs[o.output].name)), None)

    async def once_more(
        self, session: Session, op: Operation, found: Operation, batch: list[int] | None
    ) -> Start:
        """What computes `found` at the texts as they are, with what `op` tells of a measurement."""
        told = "function" in op.spec
        spec = {k: v for k, v in found.spec.items() if k not in TOLD} | op.spec if told else None
        made = {"variable": found.output, "operation": found.id, "loss": found.output}
        what = "what you told is recorded" if told else "it was computed"
        note = f"{found.output} is this loss already; {what} for the text as it is now."
        output = await self.parts.one_variable(session, found.output)
        in_use = session.model_copy(update={"batch": batch or session.batch})
        given = told and len(await self.parts.places(in_use, [output])) == 1
        args = {"targets": [found.output], "made": made, "notes": [note], "given": given}
        return Start(args, measuring_again(session.pk, found, spec, batch))


def _measures(found: Operation) -> bool:
    """Whether it was said how it is measured, so that what is told later is told of the same."""
    return find(found.kind).asks == "caller" and bool(found.spec.get("instruction"))


def _is_same(op: Operation, found: Operation) -> bool:
    """Of measurements, what was found does not count; how it was found does, where both say it."""
    if find(op.kind).asks != "caller":
        return op.spec == found.spec
    how, before = op.spec.get("instruction"), found.spec.get("instruction")
    return how is None or before is None or how == before
