"""The tool `resume`: completions are handed in, a run goes on, or is cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...schemas.arguments.resume import ResumeArguments
from ...schemas.checks import check_text
from ...schemas.completions import Completion
from ...schemas.errors import BadInput, Conflict, NotFound
from ...schemas.graph import Run, Session, number
from ...schemas.results import Result
from ...schemas.text import storable
from ..runs import messages as told
from ..runs.runner import Caller
from .base import Tool
from .listings import Listings


class Resume(Tool[ResumeArguments, Result]):
    """Goes on with a session's run."""

    arguments = ResumeArguments

    async def run(self, caller: Caller, args: ResumeArguments) -> Result:
        """Take completions that were asked for, and go on; or wait; or cancel.

        Raises BadInput, NotFound, Conflict. Good completions are kept even if others are refused.
        """
        session = await self.parts.store.sessions.get(args.session_id, caller.owner)
        run = await self.parts.store.runs.last(session.pk, session.id)
        if run is None:
            raise Conflict(
                "There is nothing to resume in this session: no call has needed completions.",
                "inspect(session_id) shows what is there.",
            )
        if args.cancel:
            return await self._cancel(session, run)
        notes = await self._take(session, args.completions or {})
        if run.status in ("done", "cancelled"):
            return self._ended(session, run, notes)
        result = await self.parts.runs.resume(caller, session, run)
        return result.model_copy(update={"notes": [*notes, *result.notes]})

    async def _cancel(self, session: Session, run: Run) -> Result:
        ended = await self.parts.runs.cancel(session, run)
        said = f"Run {run.id} ({run.tool}) was cancelled" if ended else f"Run {run.id} had ended"
        return Result(
            session_id=session.id,
            run=run.id,
            notes=await self._texts_kept(session) if ended else [],
            next=f"{said}; what was answered is kept, and the same call made again asks only for "
            "the rest.",
        )

    async def _texts_kept(self, session: Session) -> list[str]:
        """A note on new texts that nobody has judged, where there are some."""
        found = await Listings(self.parts).unfinished(session)
        if not found:
            return []
        ids = ", ".join(one["call"] for one in found[::-1])
        where = f"inspect(session_id='{session.id}', what='steps')"
        return [f"New texts that were written, and judged by no step: {ids}. {where} lists them."]

    def _ended(self, session: Session, run: Run, notes: list[str]) -> Result:
        result = told.result_of(self.parts.runs.execution.kinds, run)
        result.notes = [*notes, f"Run {run.id} ({run.tool}) had ended already.", *result.notes]
        return result

    async def _take(self, session: Session, completions: Mapping[str, Any]) -> list[str]:
        """Record completions; notes on those that were answered before."""
        if not completions:
            return []
        texts: dict[int, Completion] = {}
        for call, given in completions.items():
            n = number(call, "c")
            if n is None:
                raise BadInput(f"{call!r} is no pending id.", "Use the ids of pending ('c12').")
            text = storable(given if isinstance(given, str) else _as_json(given))
            check_text(
                f"the completion {call}", text, self.parts.settings.max_value_chars, empty=True
            )
            texts[n] = Completion(text=text, model="assistant")
        fates = await self.parts.store.calls.hand_in(session.pk, texts)
        unknown = [f"c{n}" for n in texts if n not in fates]
        if unknown:
            taken = sum(fate == "taken" for fate in fates.values())
            raise NotFound(
                f"Nothing is pending under {', '.join(unknown)}"
                + (f"; {taken} other completions were taken." if taken else "."),
                f"resume(session_id='{session.id}') shows what is pending.",
            )
        return [
            f"{', '.join(f'c{n}' for n in fates if fates[n] == fate)} {said}"
            for fate, said in _NOT_TAKEN.items()
            if fate in fates.values()
        ]


_NOT_TAKEN = {
    "before": "had been answered before; the first answer stands.",
    "asked": "will be answered by the call that is under way; what was handed in is not used.",
}


def _as_json(given: Any) -> str:
    import json

    return json.dumps(given, ensure_ascii=False)
