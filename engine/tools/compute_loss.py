"""The tool `compute_loss`: adds a loss and computes it."""

from __future__ import annotations

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
from ..program.operations import loss_kind
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from .add_operation import addition, batch_of
from .lookup import Tool


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
            op = Operation(
                id="",
                kind=kind,
                is_loss=True,
                output="",
                inputs=dict(inputs),
                spec={k: v for k, v in spec.items() if v is not None},
            )
            return await addition(self.parts, session, op, "loss", name, batch)

        digest = digest_of("compute_loss", args)
        return await self.parts.runs.call(caller, session, "compute_loss", digest, prepare)
