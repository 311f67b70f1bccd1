"""Runs: a tool call goes as far as it can, and running it again continues it.

A run is re-executed from the top; whatever the ledger holds is not asked again. That one property
gives resume after a kill, retry, and answers that arrive in several calls.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..schemas.completions import Pending
from ..schemas.errors import Conflict, NotFound, ReplyError, TextGradError, fault
from ..schemas.graph import Op, Run, Session, number
from ..schemas.results import Result
from ..schemas.settings import Settings
from .ledger import Ledger, Work
from .schedule import NotYet
from .store import Chain, Store, busy
from .store.runs import LEASE_SECONDS
from .workers import Workers

log = logging.getLogger(__name__)

Body = Callable[[Work], Awaitable[Result]]
Progress = Callable[[int, int, str], None]
PENDING_CHARS = 24_000
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Caller:
    """Who calls, how long they wait (seconds), and whom to tell of progress."""

    owner: str = "local"
    deadline: float = 45.0
    on_progress: Progress | None = None


@dataclass
class Active:
    """A run under way in this process. `waiting` counts the callers who wait for it."""

    work: Work
    task: asyncio.Task[Result]
    waiting: int = 0


def digest_of(tool: str, args: Mapping[str, Any]) -> str:
    """What makes two calls the same call."""
    text = json.dumps([tool, args], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Runs:
    """Starts, continues, waits for and cancels runs. One is active in a session at a time."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        settings: Settings,
        rules: Mapping[Op, Any],
        workers: Workers,
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.settings = settings
        self.rules = rules
        self.workers = workers
        self.bodies: dict[str, tuple[type[Result], Body]] = {}
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._active: dict[int, Active] = {}
        self._heartbeat: asyncio.Task[None] | None = None

    async def admit(self, session: Session, digest: str) -> Run | None:
        """The active run that this same call began, if there is one.

        Raises Conflict when the session is busy with another.
        """
        here = self._active.get(session.pk)
        if here is not None and here.work.run is None and here.work.digest != digest:
            await _settled(here)
        found = await self.store.active_run(session.pk, session.id)
        if found is None:
            return None
        run, began = found
        if began != digest:
            raise busy(run)
        return run

    async def start(
        self,
        caller: Caller,
        session: Session,
        tool: str,
        args: dict[str, Any],
        digest: str,
        chain: Chain | None = None,
    ) -> Result:
        """Run `tool` as far as it goes within the caller's deadline.

        `chain` is what the caller wrote for it and did not wait for.
        """
        here = self._active.get(session.pk)
        if here is not None:
            if here.work.digest == digest:
                return await self._wait(caller, here)
            run = await here.work.ensure_run()
            await here.work.chain.settled()
            raise busy(run)
        return await self._wait(
            caller, self._launch(caller, session, tool, args, digest, chain=chain)
        )

    async def go_on(self, caller: Caller, session: Session, run: Run) -> Result:
        """Continue `run`, or wait for it where it is being run."""
        here = self._active.get(session.pk)
        if here is not None:
            return await self._wait(caller, here)
        dead = {run.owner} if self._is_dead(run.owner) else set()
        claimed = await self.store.claim_run(session.pk, session.id, run.id, self.owner, dead)
        if claimed is None:
            return await self._watch(caller, session, run)
        if run.status == "failed":
            await self.store.retire_unusable(session.pk)
        active = self._launch(caller, session, claimed.tool, claimed.args, "", claimed)
        return await self._wait(caller, active)

    async def cancel(self, session: Session, run: Run) -> bool:
        """Make no more calls for `run`; keep what was answered. False if it had ended."""
        here = self._active.get(session.pk)
        ended = await self.store.cancel_run(session.pk, run.id)
        if here is not None:
            await self._stop(here)
        return ended

    async def close(self) -> None:
        """Stop everything; runs stay as they are and can be resumed by another process."""
        for active in list(self._active.values()):
            await self._stop(active)
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.gather(self._heartbeat, return_exceptions=True)

    async def _stop(self, active: Active) -> None:
        active.work.stop()
        active.task.cancel()
        await asyncio.gather(active.task, return_exceptions=True)

    def _launch(
        self,
        caller: Caller,
        session: Session,
        tool: str,
        args: dict[str, Any],
        digest: str,
        run: Run | None = None,
        chain: Chain | None = None,
    ) -> Active:
        work = Work(
            session=session,
            tool=tool,
            args=args,
            digest=digest,
            owner=self.owner,
            store=self.store,
            ledger=self.ledger,
            rules=self.rules,
            settings=self.settings,
            workers=self.workers,
            run=run,
            on_progress=caller.on_progress,
            chain=chain or Chain(),
        )
        active = Active(work, asyncio.create_task(self._execute(work)))
        self._active[session.pk] = active
        active.task.add_done_callback(lambda _: self._forget(session.pk, active))
        if self._heartbeat is None or self._heartbeat.done():
            self._heartbeat = asyncio.create_task(self._beat())
        return active

    def _forget(self, session: int, active: Active) -> None:
        if self._active.get(session) is active:
            del self._active[session]

    async def _beat(self) -> None:
        while self._active:
            await asyncio.sleep(LEASE_SECONDS / 3)
            if any(a.work.run for a in self._active.values()):
                await self.store.keep_alive(self.owner)

    async def _wait(self, caller: Caller, active: Active) -> Result:
        active.work.on_progress = caller.on_progress or active.work.on_progress
        active.waiting += 1
        try:
            done, _ = await asyncio.wait({active.task}, timeout=caller.deadline)
        except asyncio.CancelledError:
            if active.waiting == 1:  # nobody else wants the result
                await self._cancelled(active)
            raise
        finally:
            active.waiting -= 1
        if active.task.cancelled():
            raise Conflict(
                f"The run of {active.work.tool} was cancelled.",
                "Make the same call again; what was answered is kept.",
            )
        if done:
            return active.task.result()
        run = await active.work.ensure_run()
        await active.work.chain.settled()
        return self._running(active.work.session, run, active.work)

    async def _cancelled(self, active: Active) -> None:
        """The caller went away: stop asking, leave the run resumable."""
        await self._stop(active)
        run = active.work.run
        if run is not None:
            why = "The call was cancelled; what was answered is kept."
            await self.store.end_run(
                active.work.session.pk, run.id, self.owner, "failed", error=why
            )

    async def _watch(self, caller: Caller, session: Session, run: Run) -> Result:
        """Wait for a run that another process is executing, or that has ended."""
        waited = 0.0
        while True:
            now = await self.store.run(session.pk, session.id, run.id)
            if now is None or now.status != "running" or waited >= caller.deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        if now is None:
            raise NotFound(
                f"There is no run {run.id} in this session.",
                "inspect(session_id, what='runs') lists them.",
            )
        if now.status == "done":
            return self.bodies[now.tool][0].model_validate(now.result)
        if now.status == "needs_completions":
            return await self._pending(session, now)
        if now.status == "running":
            return self._running(session, now)
        return self._failed(session, now, now.error or f"Run {now.id} was {now.status}.")

    async def _execute(self, work: Work) -> Result:
        try:
            result = await self.bodies[work.tool][1](work)
        except NotYet:
            run = await work.ensure_run()
            await self._end(work, run, "needs_completions")
            result = await self._pending(work.session, run)
            result.notes += work.notes
            return result
        except TextGradError as error:
            # Refused before anything was kept: an error. Else there is something to resume.
            if work.run is None and "made" not in work.args and not isinstance(error, ReplyError):
                raise
            run = await work.ensure_run()
            await self._end(work, run, "failed", error=str(error))
            result = self._failed(work.session, run, error.message, error.next)
            result.notes += work.notes
            return result
        except Exception as error:
            told = fault(f"The run of {work.tool}")
            log.exception("%s", told.message)
            if work.run is not None:
                await self._end(work, work.run, "failed", error=str(told))
            raise told from error
        result.session_id = work.session.id
        result.notes += work.notes
        if work.run is not None:
            result.run = work.run.id
            dumped = result.model_dump(mode="json")
            await self._end(work, work.run, "done", result=dumped)
        await work.chain.settled()
        return result

    async def _end(
        self,
        work: Work,
        run: Run,
        status: str,
        *,
        result: dict[str, Any] | None = None,
        error: str = "",
    ) -> None:
        await self.store.end_run(
            work.session.pk,
            run.id,
            self.owner,
            status,
            result=result,
            error=error,
            chain=work.chain,
        )

    def _result(self, session: Session, run: Run, **facts: Any) -> Result:
        """A result of the run's own kind, with the ids that its call made and what it noticed."""
        kind = self.bodies[run.tool][0]
        facts["notes"] = run.args.get("notes", [])
        return kind(session_id=session.id, run=run.id, **facts, **run.args.get("made", {}))

    async def _pending(self, session: Session, run: Run) -> Result:
        """The prompts nobody has answered, as many as a reader can take at once."""
        calls = await self.store.pending(session.pk, number(run.id, "r") or 0)
        shown: list[Pending] = []
        used = 0
        for n, request in calls:
            used += len(request.prompt) + len(request.system or "")
            if shown and used > PENDING_CHARS:
                break
            purpose = f"{request.purpose.value}: {request.about}"
            shown.append(
                Pending(id=f"c{n}", purpose=purpose, system=request.system, prompt=request.prompt)
            )
        return self._result(
            session,
            run,
            status="needs_completions",
            pending=shown,
            pending_total=len(calls),
            next=_how_to_answer(session, shown, len(calls)),
        )

    def _running(self, session: Session, run: Run, work: Work | None = None) -> Result:
        so_far = f" {work.answered} of {work.asked} calls answered so far." if work else ""
        return self._result(
            session,
            run,
            status="running",
            answered=work.answered if work else None,
            next=f"The work goes on in the background.{so_far} Call "
            f"resume(session_id='{session.id}') to wait for it, or with cancel=true to stop it.",
        )

    def _failed(self, session: Session, run: Run, error: str, advice: str = "") -> Result:
        return self._result(
            session,
            run,
            status="failed",
            error=error,
            next=f"{advice or 'Mend the cause.'} Everything answered so far is kept: "
            f"resume(session_id='{session.id}') goes on.",
        )

    def _is_dead(self, owner: str) -> bool:
        """Whether the process that owns a run is surely gone (same machine, no such process)."""
        host, _, rest = owner.partition(":")
        pid = rest.partition(":")[0]
        if owner == self.owner or host != socket.gethostname() or not pid.isdigit():
            return False
        if int(pid) == os.getpid():
            return True  # the number was given to us since
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


async def _settled(active: Active) -> None:
    """Wait until a call has ended or turned out to be a durable run."""
    begun = asyncio.create_task(active.work.begun.wait())
    await asyncio.wait({active.task, begun}, return_when=asyncio.FIRST_COMPLETED)
    begun.cancel()


def _how_to_answer(session: Session, shown: list[Pending], total: int) -> str:
    if not shown:
        return f"Call resume(session_id='{session.id}') to go on."
    rest = total - len(shown)
    more = f" {rest} more follow once these are answered." if rest else ""
    return (
        "Answer the pending prompts yourself (each on its own, as the model it is addressed to "
        "would; where a function is described, run it), some or all at once, and call "
        f"resume(session_id='{session.id}', completions={{'{shown[0].id}': '...'}}).{more}"
    )
