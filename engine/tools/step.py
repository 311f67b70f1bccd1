"""The tool `step`: better texts from the gradients, through the gate where that is asked."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.errors import BadInput, Conflict, Outdated
from ...schemas.graph import NO_EXAMPLE, Fate, Kind, Session, Variable, number
from ...schemas.results import (
    Result,
)
from ..optimizer import gate
from ..optimizer.candidate import Candidate, Reason
from ..optimizer.gradients import choose
from ..optimizer.proposer import propose, usable_gradients
from ..optimizer.quote_guard import QuoteGuard
from ..optimizer.record import record_of
from ..runs import saved_state as saved
from ..runs.context import RunContext
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from ..store import StepRecord, binding
from ..views import results as show
from .lookup import Tool, gate_places

STEPPED = (Kind.PARAMETER, Kind.DEMONSTRATIONS)
ACCEPT = ("always", "if_better", "never")
MEMORY = 64
"""Most spent gradients that a step can show again."""


class Step(Tool):
    """Rewrites parameters."""

    async def __call__(
        self,
        caller: Caller,
        *,
        session_id: str,
        variables: Sequence[str] | None = None,
        accept: str = "always",
        candidates: int = 1,
        memory: int = 0,
    ) -> Result:
        """Propose and install better parameters. Raises BadInput, NotFound, Conflict.

        `memory` is the number of spent gradients on each parameter that are shown again.
        """
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        if accept not in ACCEPT:
            raise BadInput(f"accept cannot be {accept!r}.", f"Use one of {', '.join(ACCEPT)}.")
        if not 1 <= candidates <= 16:
            raise BadInput(f"candidates must be between 1 and 16, not {candidates}.", "3 is usual.")
        if not 0 <= memory <= MEMORY:
            raise BadInput(f"memory must be between 0 and {MEMORY}, not {memory}.", "0 is usual.")
        args = _step_args(variables, accept, candidates, memory)

        async def prepare(session: Session) -> Start:
            parameters = await self._parameters(session, variables)
            return Start(args, binding(session.pk, [p.id for p in parameters]))

        return await self.parts.runs.call(caller, session, "step", digest_of("step", args), prepare)

    async def _parameters(self, session: Session, ids: Sequence[str] | None) -> list[Variable]:
        """The parameters named, or all that have an unspent gradient."""
        if ids is None:
            ids = await self.parts.store.history.with_gradients(session.pk)
            if not ids:
                raise Conflict(
                    "There is no gradient to step from.",
                    "Call backward first: a step spends the gradients it uses.",
                )
        parameters = [await self.parts.one_variable(session, i) for i in dict.fromkeys(ids)]
        wrong = [p.label for p in parameters if p.kind not in STEPPED]
        if wrong or not parameters:
            raise BadInput(
                f"{', '.join(wrong) or 'Nothing'} cannot be stepped: not a parameter.",
                "Name variables made with a value and requires_grad=true.",
            )
        return parameters

    async def body(self, work: RunContext) -> Result:
        """What a run of it does; executed again from the top when the run is resumed."""
        recorded = saved.state_of(work.run, StepRecord, "recorded")
        if recorded is not None:  # killed between the step and the end of its run
            return show.step_result(work.session, recorded, [])
        bound: dict[str, int] = work.args["bound"]
        parameters = await self._parameters(work.session, list(bound))
        for p in parameters:
            if p.version != bound[p.id]:
                raise Outdated(
                    f"{p.label} was changed while this step was under way.",
                    "Run backward and step again: this step would rewrite a text that is gone.",
                )
        written = [p for p in parameters if p.kind is Kind.PARAMETER]
        chosen = [p for p in parameters if p.kind is Kind.DEMONSTRATIONS]
        gradients, notes = await usable_gradients(work, written)
        used = [g for found in gradients.values() for g in found]
        losses = list(dict.fromkeys(x for g in used for x in g.losses)) or [
            v.id for v in await self.parts.losses(work.session, None)
        ]
        batch = sorted(
            {number(e, "e") or NO_EXAMPLE for g in used for e in g.batch} or {NO_EXAMPLE}
        )
        where = None
        if work.args["accept"] == "if_better":  # refuses before anything is asked
            where = await gate_places(self.parts, work.session, losses)
        count = work.args["candidates"]
        candidates = []
        if written:
            guard = await QuoteGuard.of(work, losses)
            memory = work.args.get("memory", 0)
            candidates = await propose(
                work, written, gradients, count=count, check=guard.objections, memory=memory
            )
            await guard.note(candidates)
        candidates += await choose(work, chosen, losses, batch if used else [], count)
        if not candidates:
            raise Conflict(
                "There are no other training examples to show than those shown now.",
                f"Call add_examples(session_id='{work.session.id}', split='train', ...), or step "
                "on other parameters.",
            )
        judged = await self._judged(work, candidates, losses, batch if used else [], where)
        record = record_of(parameters, gradients, candidates, judged)
        stored = await self.parts.store.history.record_step(
            work.session.pk, record, work.fence, chain=work.chain
        )
        return show.step_result(work.session, stored, [*notes, *judged.notes])

    async def _judged(
        self,
        work: RunContext,
        candidates: list[Candidate],
        losses: Sequence[str],
        batch: Sequence[int],
        where: tuple[list[int], str] | None,
    ) -> gate.GateResult:
        accept = work.args["accept"]
        if where is not None:
            return await gate.judge(work, candidates, losses, batch, *where)
        only = Reason(Fate.NOT_COMPARED, "proposed only")
        reasons = {i: c.refused or only for i, c in enumerate(candidates)}
        standing = [i for i, c in enumerate(candidates) if not c.refused]
        if accept == "never" or not standing:
            why = "proposed only (accept='never')" if standing else reasons[0].words
            return gate.GateResult(None, why, "", 0, 0.0, reasons=reasons)
        reasons |= dict.fromkeys(standing, Reason(Fate.BEATEN, "another candidate was taken"))
        why = "accepted without a check (accept='always')"
        reasons[standing[0]] = Reason(Fate.ACCEPTED, why)
        return gate.GateResult(standing[0], why, "", 0, 0.0, reasons=reasons)


def _step_args(
    variables: Sequence[str] | None, accept: str, candidates: int, memory: int
) -> dict[str, object]:
    return {
        "variables": list(variables) if variables else None,
        "accept": accept,
        "candidates": candidates,
        "memory": memory,
    }
