"""The execution of a run in this process: its tool's body, and how what comes of it is recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...schemas.errors import ReplyError, TextGradError, fault
from ...schemas.graph import Run, Session, number
from ...schemas.results import Result
from ..store import Store
from . import messages as told
from . import saved_state as saved
from .context import RunContext
from .schedule import NotYet

log = logging.getLogger(__name__)

Body = Callable[[RunContext], Awaitable[Result]]
ABANDONED = "The call was cancelled; what was answered is kept."


@dataclass
class Active:
    """A run under way in this process. `waiting` counts the callers who wait for it.

    Its task gives None when the run was taken over, or cancelled, by another process.
    """

    work: RunContext
    task: asyncio.Task[Result | None]
    waiting: int = 0

    async def stop(self) -> None:
        """End the run; what is under way at an endpoint is still recorded."""
        self.work.stop()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Execution:
    """Executes runs, by the `bodies` of their tools, each with the kind of its results."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.bodies: dict[str, tuple[type[Result], Body]] = {}

    @property
    def kinds(self) -> dict[str, type[Result]]:
        """The class of each tool's result, by the tool's name."""
        return {tool: kind for tool, (kind, _) in self.bodies.items()}

    async def execute(self, work: RunContext) -> Result | None:
        """What comes of a run; None when it was taken over, or cancelled, by another process.

        Raises what refused it before anything was kept.
        """
        work.chain.seen_here()
        try:
            if work.continued:
                saved.check(work.run)
                before, _ = await self.store.news.progress(work.session.pk, work.fence[0])
                work.asked, work.answered = before, before  # so it never falls for who waits
            result = await self._body(work)
        except TextGradError as error:
            # Refused before anything was kept: an error. Else there is something to resume.
            if _left_no_trace(work) and not isinstance(error, ReplyError):
                await self._drop(work)
                raise
            failure = told.failed(self.kinds, work.run, error)
            failure.notes += work.notes
            return failure if await self._end(work, "failed", failure, error.message) else None
        except Exception as error:
            crash = fault(f"The run of {work.tool}")
            log.exception("%s", crash.message)
            await self._end(work, "failed", told.failed(self.kinds, work.run, crash), crash.message)
            raise crash from error
        if result is None:
            return None
        result.notes += work.notes
        if result.status != "done":
            return result
        result.session_id = work.session.id
        if work.asked or work.continued:
            result.run = work.run.id
            return result if await self._end(work, "done", result) else None
        pk, dumped = work.session.pk, result.model_dump(mode="json")
        ended = await self.store.runs.end_quietly(pk, work.run, dumped, work.chain)
        return result if ended else None

    async def abandon(self, work: RunContext) -> None:
        """Leave a run whose caller went away, once it has stopped, to whoever resumes it."""
        if _left_no_trace(work):
            await self._drop(work)
        else:
            await self._end(work, "failed", error=ABANDONED)

    async def ended(self, session: Session, run: Run) -> Result:
        """What a run that is not running gave, or what it waits for. Raises Conflict."""
        if run.status == "needs_completions":
            return await self._pending(session.pk, run)
        return told.result_of(self.kinds, run)

    async def _body(self, work: RunContext) -> Result | None:
        """What the tool makes of it, or what is pending; None when the run was lost."""
        while True:
            try:
                return await self.bodies[work.tool][1](work)
            except NotYet:
                pk, run = work.session.pk, work.run
                paused = await self.store.runs.pause_run(pk, run.id, run.process, work.chain)
                if paused is None:
                    return None
                if paused:
                    return await self._pending(pk, run)

    async def _pending(self, session: int, run: Run) -> Result:
        calls = await self.store.calls.pending(session, number(run.id, "r") or 0)
        return told.pending(self.kinds, run, calls)

    async def _end(
        self, work: RunContext, status: str, result: Result | None = None, error: str = ""
    ) -> bool:
        """Record how a run ended; False when it is another process's by now, or cancelled."""
        return await self.store.runs.end(
            work.session.pk,
            work.run.id,
            work.run.process,
            status,
            result=result.model_dump(mode="json") if result is not None else None,
            error=error,
            chain=work.chain,
        )

    async def _drop(self, work: RunContext) -> None:
        await self.store.runs.drop_run(work.session.pk, work.run.id, work.run.process, work.chain)


def _left_no_trace(work: RunContext) -> bool:
    """Whether a run that ends now has asked nothing and added nothing."""
    return not (work.asked or work.continued or "made" in work.args)
