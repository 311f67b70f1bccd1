"""Runs: a tool call goes as far as it can, and running it again continues it.

A run is re-executed from the top; whatever the ledger holds is not asked again. That one property
gives resume after a kill, retry, and answers that arrive in several calls.

From the look whether a session is free to the started run nothing slips between: here calls take
turns, and in the database one transaction looks, adds and starts. Whoever makes the same call
meanwhile follows its run, wherever that is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ...schemas.errors import BadInput, Conflict, TextGradError
from ...schemas.graph import Run, Session
from ...schemas.results import Result
from ...schemas.settings import Settings
from ..evaluators.evaluators import Evaluators
from ..store import Adds, Admitted, Chain, NewRun, Store, busy
from ..workers.pool import Workers
from . import messages as told
from .context import Progress, RunContext
from .elsewhere import Elsewhere
from .execution import ABANDONED, Active, Execution
from .leases import Heart, Sightings
from .ledger import Ledger
from .recent import Endings

T = TypeVar("T")
log = logging.getLogger(__name__)
POLL_SECONDS = 0.2
WAITS = ("needs_completions",)
"""The status of a run that whoever makes its call again goes on with."""


@dataclass(frozen=True)
class Caller:
    """Who calls, how long they wait (seconds), and whom to tell of progress."""

    owner: str = "local"
    deadline: float = 45.0
    on_progress: Progress | None = None


@dataclass(frozen=True)
class Start:
    """What a call is to be run with, and what its admission adds to the session."""

    args: dict[str, Any]
    adds: Adds | None = None


Prepare = Callable[[Session], Awaitable[Start | Result]]
"""Looks and checks, when the session is free; gives a result where there is nothing to run."""


class Runner:
    """Starts, continues, waits for and cancels runs. One is active in a session at a time."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        settings: Settings,
        evaluators: Evaluators,
        workers: Workers,
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.settings = settings
        self.evaluators = evaluators
        self.workers = workers
        self.execution = Execution(store)
        self._active: dict[int, Active] = {}
        self._endings = Endings()
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self.heart = Heart(store, lambda: [one.work for one in self._active.values()], self._lost)
        self.sightings = Sightings()
        self._closing = False
        self.answerers = ledger.identity(settings)

    async def call(
        self, caller: Caller, session: Session, tool: str, digest: str, prepare: Prepare
    ) -> Result:
        """Run a call of `tool` as far as it goes within the caller's deadline.

        The same call, made while it is under way here or elsewhere, gets the same result.
        `session` is as it was when the call came in. Raises Conflict when the session is busy with
        another call, and what `prepare` raises; then nothing was changed.
        """
        until, came = _time() + caller.deadline, session.came
        while True:
            turn = self._turn(session.pk)
            waits = turn.locked() or self._here(session.pk) is not None
            async with turn:
                found: Active | Run | Result | None = await self._own(session, digest, until)
                if found is None and waits:  # it may be another session by now
                    session = await self.store.sessions.get(session.id, session.owner)
                    session.came = came
                if found is None:
                    found = await self._begin(session, tool, digest, prepare)
            if isinstance(found, Result):
                return found
            result = await self._follow(caller, session, found, until)
            if result is not None:
                return result

    @asynccontextmanager
    async def alone(self, caller: Caller, session: Session) -> AsyncIterator[None]:
        """For a change that is no run: no run is active, and none begins here meanwhile.

        Raises Conflict. What is written must look again (`check_idle`): other processes may begin.
        """
        async with self._turn(session.pk):
            await self._settle(session.pk, _time() + caller.deadline)
            active = await self.store.runs.active(session.pk, session.id)
            if active is not None:
                raise busy(active)
            yield

    async def resume(self, caller: Caller, session: Session, run: Run) -> Result:
        """Go on with `run`, also when it failed, or wait for it where it is being run."""
        until = _time() + caller.deadline
        result = await self._follow(caller, session, run, until, (*WAITS, "failed"))
        if result is not None:
            return result
        ended = await self._standing(session, run.digest)  # it needed nothing, and is not listed
        if ended is None:
            raise Conflict(f"Run {run.id} ({run.tool}) was refused.", "Make the call again.")
        return await self.execution.ended(session, ended)

    async def cancel(self, session: Session, run: Run) -> bool:
        """Make no more calls for `run`; keep what was answered. False if it had ended."""
        ended = await self.store.runs.cancel(session.pk, run.id)
        here = self._here(session.pk)
        if here is not None and here.work.run.id == run.id:
            await here.stop()
        return ended

    async def look_after(self, most: int) -> bool:
        """Look at all that runs elsewhere, so that who lives is known also to callers who look
        seldom; whether there is anything.

        Goes on with what nobody does, if nobody need be asked for it, it began with the same
        answerers, and it was taken over less than `most` times.
        """
        found = [one for one in await self.store.runs.running() if self._here(one.session) is None]
        for one in found:
            self.sightings.gone(one.session, one.run)
            ours = self.ledger.alone and one.run.answerers == self.answerers
            if ours and one.taken < most:
                session = await self.store.sessions.get(one.run.session_id, one.whose)
                await self._go_on(session, one.run)
        return bool(found)

    async def close(self) -> None:
        """Stop everything; runs stay as they are."""
        self._closing = True
        for active in list(self._active.values()):
            await active.stop()

    async def give_back(self) -> None:
        """After `close`, when no reply is awaited any more: let others go on with the runs."""
        await self.heart.stop()
        try:
            if self._endings:  # else nothing was ever run here
                await self.store.runs.give_back(self.heart.process)
        except TextGradError as error:
            log.warning("others can go on with our runs only in a while: %s", error)

    def _turn(self, session: int) -> asyncio.Lock:
        return self._turns.setdefault(session, asyncio.Lock())

    def _here(self, session: int) -> Active | None:
        active = self._active.get(session)
        return None if active is None or active.task.done() else active

    async def _settle(self, session: int, until: float) -> None:
        """Wait for a call that asks nobody for anything. Raises Conflict when one does."""
        here = self._here(session)
        if here is None:
            return
        begun = asyncio.create_task(here.work.begun.wait())
        await asyncio.wait(
            {here.task, begun}, timeout=until - _time(), return_when=asyncio.FIRST_COMPLETED
        )
        begun.cancel()
        if not here.task.done():
            await here.work.chain.settled()
            raise busy(here.work.run)

    async def _own(self, session: Session, digest: str, until: float) -> Active | Run | None:
        """What the same call has begun here. Raises Conflict when another one is under way here."""
        here = self._here(session.pk)
        if here is not None and here.work.run.digest == digest:
            return here
        await self._settle(session.pk, until)
        if not self._endings.since(session.came, session.pk, digest):
            return None
        found = await self.store.runs.standing(session.pk, session.id, digest, came=0.0)
        return found if found is not None and found.digest == digest else None

    async def _begin(
        self, session: Session, tool: str, digest: str, prepare: Prepare
    ) -> Active | Run | Result:
        if self._closing:
            raise _ending()
        try:
            start = await prepare(session)
        except TextGradError as error:
            # The same call may have just done elsewhere what is now refused; or another is active.
            run = await self._standing(session, digest, instead=error)
            if run is not None:
                return run
            raise
        if isinstance(start, Result):
            return await self._standing(session, digest) or start
        process, came = self.heart.process, session.came
        new = NewRun(tool, start.args, digest, process, self.answerers, came)
        return await self._whole(self._started(session, new, start.adds))

    async def _standing(
        self, session: Session, digest: str, instead: TextGradError | None = None
    ) -> Run | None:
        """What the same call has begun elsewhere. Raises Conflict when another one is active,
        unless there is bad input to be told of `instead`."""
        run = await self.store.runs.standing(session.pk, session.id, digest, session.came)
        if run is not None and run.digest != digest:
            raise instead if isinstance(instead, BadInput) else busy(run)
        return run

    async def _started(self, session: Session, new: NewRun, adds: Adds | None) -> Active | Run:
        chain = Chain()
        admitted = await self.store.runs.start(session.pk, session.id, new, adds, chain)
        return self._launch(admitted, chain) if admitted.mine else admitted.run

    async def _claimed(self, session: Session, run: Run, dead: bool) -> Active | None:
        claimed = await self.store.runs.claim(session.pk, run, self.heart.process, dead=dead)
        if claimed is None:
            self.sightings.forget(session.pk, run)
            return None
        if run.status == "failed":
            await self.store.calls.retire_unusable(session.pk)
        return self._launch(claimed)

    async def _whole(self, starting: Coroutine[Any, Any, T]) -> T:
        """What a start gives; a caller who goes away meanwhile abandons what it began."""
        task = asyncio.create_task(starting)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            [found] = await asyncio.gather(task, return_exceptions=True)
            if isinstance(found, Active):
                await self._abandon(found)
            raise

    def _launch(self, admitted: Admitted, chain: Chain | None = None) -> Active:
        session = admitted.session
        work = RunContext(
            session=session,
            run=admitted.run,
            store=self.store,
            ledger=self.ledger,
            evaluators=self.evaluators,
            settings=self.settings,
            workers=self.workers,
            continued=chain is None,
            chain=chain or Chain(),
        )
        active = Active(work, asyncio.create_task(self.execution.execute(work)))
        self._active[session.pk] = active
        active.task.add_done_callback(lambda _: self._forget(session.pk, active))
        self.heart.beat()
        return active

    def _forget(self, session: int, active: Active) -> None:
        if self._active.get(session) is active:
            del self._active[session]
        # What was refused has left nothing that others could get.
        if active.task.cancelled() or active.task.exception() is None:
            self._endings.note(session, active.work.run.digest)

    async def _follow(
        self,
        caller: Caller,
        session: Session,
        found: Active | Run,
        until: float,
        waits: Sequence[str] = WAITS,
    ) -> Result | None:
        """Wait for a run, here or elsewhere, and go on with it where nobody does any more; also
        when its status is one of `waits`. None when it was refused elsewhere, and nothing is left.
        """
        active, run = (found, found.work.run) if isinstance(found, Active) else (None, found)
        digest, elsewhere = run.digest, Elsewhere(self.store.news, session.pk, caller.on_progress)
        while True:
            if active is None and run.status in ("done", "cancelled"):
                return await self.execution.ended(session, run)
            active = active or await self._go_on(session, run, until, waits)
            if active is not None:
                result = await self._wait(caller, active, until)
                if result is not None:
                    return result
            now, late = await self.store.runs.get(session.pk, session.id, run.id), _time() >= until
            if now is None or now.digest != digest:
                return None
            if now.status != "running" and (late or not _abandoned(now)):
                return await self.execution.ended(session, now)
            if late:
                return told.running(self.execution.kinds, now, await elsewhere.counted(now))
            if self._closing:
                raise _ending()
            await elsewhere.tell(now)
            active, run, waits = None, now, ()
            await asyncio.sleep(POLL_SECONDS)

    async def _go_on(
        self, session: Session, run: Run, until: float = 0.0, waits: Sequence[str] = ()
    ) -> Active | None:
        """Take over a run that nobody runs; or find it here; None if it is elsewhere.

        Raises Conflict when another call is under way instead.
        """
        dead = run.status == "running" and self.sightings.gone(session.pk, run)
        nobodys = run.status == "running" and run.process in ("", self.heart.process)
        free = nobodys or run.status in waits or _abandoned(run)
        here = self._here(session.pk)
        if here is not None and here.work.run.id == run.id:
            return here
        if self._closing or not (dead or free):
            return None
        async with self._turn(session.pk):
            here = self._here(session.pk)
            if here is not None and here.work.run.id == run.id:
                return here
            await self._settle(session.pk, until)
            return await self._whole(self._claimed(session, run, dead))

    async def _wait(self, caller: Caller, active: Active, until: float) -> Result | None:
        """The result of a run in this process, or that it goes on; None when it was lost."""
        work = active.work
        if caller.on_progress is not None:
            work.watchers.append(caller.on_progress)
        active.waiting += 1
        try:
            done, _ = await asyncio.wait({active.task}, timeout=max(0.0, until - _time()))
        except asyncio.CancelledError:
            if active.waiting == 1:  # nobody else wants the result
                await self._abandon(active)
            raise
        finally:
            active.waiting -= 1
            if caller.on_progress is not None:
                work.watchers.remove(caller.on_progress)
        if active.task.cancelled():
            if work.lost:
                return None
            raise _ending() if self._closing else told.cancelled(work.run)
        if done:
            result = active.task.result()
            self._endings.note(work.session.pk, work.run.digest)
            return result
        await work.chain.settled()
        return told.running(self.execution.kinds, work.run, (work.answered, work.asked))

    def _lost(self, work: RunContext) -> None:
        """A run turned out to be another process's by now, or cancelled there."""
        active = self._active.get(work.session.pk)
        if active is not None and active.work is work:
            work.lost = True
            work.stop()
            active.task.cancel()

    async def _abandon(self, active: Active) -> None:
        await active.stop()
        await self.execution.abandon(active.work)


def _ending() -> Conflict:
    return Conflict(
        "This server is ending.",
        "Make the same call again; what was answered is kept. Any server on the database goes on.",
    )


def _abandoned(run: Run) -> bool:
    """Whether a run was left by a caller who went away, and not because of an error."""
    return run.status == "failed" and run.error == ABANDONED


def _time() -> float:
    return asyncio.get_running_loop().time()
