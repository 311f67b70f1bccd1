"""One execution of a tool call: what it runs on, what it has asked, how far it has come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...schemas.completions import Completion, CompletionRequest
from ...schemas.errors import Conflict, ProgramFailed, TextGradError
from ...schemas.graph import Op, Run, Session, number
from ...schemas.settings import Settings
from ..store import Chain, RunFence, Store
from ..workers.pool import Workers
from . import asking
from .ledger import Ledger

T = TypeVar("T")


@dataclass
class RunContext:
    """One execution of a tool call: a deterministic function of the graph and the ledger.

    It gets a durable run when it first needs something that is not in the ledger yet. `failed` are
    failures of evaluators by name and request: how much was scored before, and what went wrong.
    """

    session: Session
    tool: str
    args: dict[str, Any]
    digest: str
    owner: str
    store: Store
    ledger: Ledger
    rules: Mapping[Op, Any]
    settings: Settings
    workers: Workers
    run: Run | None = None
    asked: int = 0
    answered: int = 0
    fatal: TextGradError | None = None
    failed: dict[tuple[str, str], tuple[int, ProgramFailed]] = field(default_factory=dict)
    on_progress: Callable[[int, int, str], None] | None = None
    phase: str = ""
    notes: list[str] = field(default_factory=list)
    chain: Chain = field(default_factory=Chain)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def fence(self) -> RunFence | None:
        """What guards this run's writes."""
        return (number(self.run.id, "r") or 0, self.owner) if self.run else None

    @property
    def state(self) -> dict[str, Any]:
        """How far a long run had come when it was last saved."""
        return self.run.state if self.run else {}

    async def ensure_run(self) -> Run:
        """The durable run, begun now if need be. Raises Conflict if the session has another."""
        async with self._starting:
            if self.run is None:
                self.run = await self.store.runs.start(
                    self.session.pk,
                    self.session.id,
                    self.tool,
                    self.args,
                    self.digest,
                    self.owner,
                    self.chain,
                )
                self.begun.set()
            return self.run

    async def save_state(self, state: dict[str, Any]) -> None:
        """Remember how far the run has come, for whoever continues it."""
        run = await self.ensure_run()
        run.state = state
        await self.store.runs.save_state(self.session.pk, run.id, self.owner, state)

    def check(self) -> None:
        """Raise what stops this run from making another call, if anything does."""
        if self.fatal is not None:
            raise self.fatal

    def stop(self) -> None:
        """Make no more calls; those under way are still recorded."""
        self.fatal = self.fatal or Conflict(
            "The run was cancelled; what was answered is kept.", "Make the same call to go on."
        )

    def progress(self) -> None:
        """Tell whoever watches."""
        if self.on_progress:
            self.on_progress(self.answered, self.asked, self.phase)

    @property
    def measures(self) -> bool:
        """Whether the program's outputs are taken as they come, for they show how good it is."""
        return self.tool not in ("forward", "compute_loss")

    async def supply(self, request: CompletionRequest, text: str) -> None:
        """Record what the caller told, as the answer to `request`."""
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
