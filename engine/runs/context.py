"""One execution of a tool call: what it runs on, what it may still ask, how far it has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ...schemas.completions import Completion, CompletionRequest
from ...schemas.errors import Conflict, ProgramFailed, TextGradError
from ...schemas.graph import STATE_VERSION, Run, Session, number
from ...schemas.settings import Settings
from ..evaluators.evaluators import Evaluators
from ..store import Chain, RunFence, Store
from ..store.runs import LEASE_SECONDS
from ..workers.pool import Workers
from . import asking

if TYPE_CHECKING:
    from .ledger import Ledger

T = TypeVar("T")
Progress = Callable[[int, int, str], None]


@dataclass
class RunContext:
    """One execution of a tool call: a deterministic function of the graph and the ledger.

    Its durable `run` is there from the start, and keeps everybody else from changing the session.
    `begun` is set once it needs something that is not in the ledger: from then on it may take long.
    It is `lost` when another process has taken it over, or cancelled it. `failed` are failures of
    evaluators by name and request: how much was scored before, and what went wrong.
    """

    session: Session
    run: Run
    store: Store
    ledger: Ledger
    evaluators: Evaluators
    settings: Settings
    workers: Workers
    continued: bool = False
    lost: bool = False
    asked: int = 0
    answered: int = 0
    fatal: TextGradError | None = None
    failed: dict[tuple[str, str], tuple[int, ProgramFailed]] = field(default_factory=dict)
    proposed: dict[tuple[str, str], str] = field(default_factory=dict)
    watchers: list[Progress] = field(default_factory=list)
    phase: str = ""
    standing: Callable[[], str] | None = None
    notes: list[str] = field(default_factory=list)
    chain: Chain = field(default_factory=Chain)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    alive_until: float = field(default_factory=lambda: time.monotonic() + LEASE_SECONDS)

    @property
    def tool(self) -> str:
        """The tool that was called."""
        return self.run.tool

    @property
    def args(self) -> dict[str, Any]:
        """What it was called with, and what its admission added."""
        return self.run.args

    @property
    def fence(self) -> RunFence:
        """The run's number and process: with them a write is refused once another process has taken
        the run over."""
        return number(self.run.id, "r") or 0, self.run.process

    @property
    def state(self) -> dict[str, Any]:
        """How far a long run had come when it was last saved."""
        return self.run.state

    @property
    def overdue(self) -> bool:
        """Whether it is too long since others were shown that this process lives: they may have
        taken the run over."""
        return time.monotonic() > self.alive_until

    async def ensure_run(self) -> Run:
        """The durable run, which from now on may take long."""
        self.begun.set()
        return self.run

    async def save_state(self, state: dict[str, Any]) -> None:
        """Remember how far the run has come, for whoever continues it. Raises Conflict when that
        is another process by now."""
        self.run.state = {"version": STATE_VERSION} | state
        await self.store.runs.save_state(self.session.pk, self.fence, self.run.state)

    def check(self) -> None:
        """Raise what stops this run from making another call, if anything does."""
        if self.fatal is not None:
            raise self.fatal

    def stop(self) -> None:
        """Make no more calls; the replies to those under way are still recorded."""
        self.fatal = self.fatal or Conflict(
            "The run was cancelled; what was answered is kept.", "Make the same call to go on."
        )

    def progress(self) -> None:
        """Tell whoever watches the run how far it is."""
        phase = f"{self.standing()}; {self.phase}" if self.standing else self.phase
        for watcher in self.watchers:
            watcher(self.answered, self.asked, phase)

    @property
    def measures(self) -> bool:
        """Whether the program's outputs are taken as they come, for they show how good it is."""
        return self.tool not in ("forward", "compute_loss")

    async def supply(self, request: CompletionRequest, text: str) -> None:
        """Record `text`, which the caller supplied with the call, as the answer to `request`."""
        pk = self.session.pk
        request = self.ledger.addressed(request)
        call = await self.store.calls.open(pk, request, None, "caller")
        await self.store.calls.answer(pk, {call: Completion(text=text, model="caller")})

    async def need(self, request: CompletionRequest) -> Completion:
        """The completion of an addressed request. Raises NotYet, AnswererError, StoreError."""
        return await self.ledger.need(self, request)

    async def ask(
        self,
        request: CompletionRequest,
        read: Callable[[Completion], T],
        look: Callable[[T], Awaitable[None]] | None = None,
    ) -> T:
        """The completion of `request`, as `read` makes of it (see `asking.ask`)."""
        return await asking.ask(self, self.ledger.addressed(request), read, look)
