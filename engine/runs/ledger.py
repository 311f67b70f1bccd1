"""The completion ledger: every completion is asked once, and on disk the moment it exists."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...schemas.completions import Completion, CompletionRequest, Purpose
from ...schemas.errors import (
    AnswererError,
    BudgetExhausted,
    Conflict,
    PromptRefused,
    StoreBusy,
    TextGradError,
)
from ...schemas.settings import BACKWARD, Settings
from ..answerers import OUTSIDE, PROGRAM, Answerer, Assistant, Attempt, no_model
from ..store import Chain, Store
from ..store.budgets import Budgets, Price
from .asker import Asker
from .digest import digest_of
from .meters import Meters, asked_of
from .schedule import NotYet

T = TypeVar("T")
log = logging.getLogger(__name__)
BUSY_TRIES = 3
USUAL_REPLY = 256
"""Tokens set aside for a reply whose length is not limited."""


@dataclass
class Row:
    """When a call's row is written: in one chain with its reply; `now`, at once; else with whatever
    is written next."""

    chain: Chain = field(default_factory=Chain)
    now: bool = False


class Ledger:
    """Answers requests: from what is recorded, or through the answerer of the request's role."""

    def __init__(
        self,
        store: Store,
        answerers: dict[str, Answerer],
        update_params: Mapping[str, Any] | None = None,
    ) -> None:
        self.store = store
        self.update_params = dict(update_params or {})
        self.answerers = answerers
        self.outside = Assistant()
        self.meters = Meters()
        self._flights: dict[tuple[int, str], tuple[asyncio.Task[Completion], Asker]] = {}
        self._short: set[asyncio.Task[Any]] = set()

    @property
    def alone(self) -> bool:
        """Whether the server itself asks for all answers, so that no caller has to supply any."""
        return not any(a.name in OUTSIDE for a in self.answerers.values())

    @property
    def programs(self) -> list[str]:
        """The names of the models that may run programs: that of the role, and further ones."""
        return [name for name in self.answerers if name != BACKWARD]

    def models(self) -> list[tuple[str, str, dict[str, object]]]:
        """The model and parameters of each role and further model: what answers depend on."""
        return [(r, a.model, dict(a.params)) for r, a in sorted(self.answerers.items())]

    def identity(self, settings: Settings) -> str:
        """A digest of who answers, and with which `settings`: processes that would answer a run's
        calls differently have another one."""
        addresses = [(one.base_url, one.update_params) for one in settings.answering.values()]
        names = sorted((name, answerer.name) for name, answerer in self.answerers.items())
        return digest_of("answerers", {"of": [self.models(), names, addresses]})

    def addressed(self, request: CompletionRequest) -> CompletionRequest:
        """The request with the model and parameters of whoever serves its role."""
        if request.purpose is Purpose.EXTERNAL:
            return request
        answerer = self.named(request.answers)
        params = dict(answerer.params) | request.params
        if request.purpose is Purpose.UPDATE:
            params |= self.update_params
        return request.model_copy(update={"model": answerer.model, "params": params})

    async def need(
        self, work: Asker, request: CompletionRequest, answerer: Answerer | None = None
    ) -> Completion:
        """The completion of an addressed request. Raises NotYet, AnswererError, StoreError."""
        known = await self.store.calls.answered(work.session.pk, request.key)
        if known is not None:
            return known
        work.check()
        flight_key = (work.session.pk, request.key)
        flight, asker = self._flights.get(flight_key, (None, work))
        if flight is None:
            flight = asyncio.create_task(self._obtain(work, request, answerer))
            self._flights[flight_key] = flight, work
            flight.add_done_callback(lambda _: self._flights.pop(flight_key, None))
            flight.add_done_callback(_seen)
        try:
            # A cancelled run must not tear down a call that may be paid for already.
            return await asyncio.shield(flight)
        except TextGradError:
            if asker is work:
                raise
        # It was the call of an earlier run, which was stopped: this one asks for itself.
        return await self.need(work, request, answerer)

    async def _obtain(
        self, work: Asker, request: CompletionRequest, answerer: Answerer | None
    ) -> Completion:
        await work.ensure_run()
        chosen = answerer or self._answerer(request)
        pk, limits, row = work.session.pk, _limits(work, chosen), Row()
        who = asked_of(work.session.owner, request, chosen)

        def open_row() -> asyncio.Task[int]:
            return asyncio.create_task(self._open(work, request, chosen.name, limits, row))

        # Recorded while the call is on its way: only the reply must be on disk before it is used.
        opening = open_row()
        work.asked += 1
        work.progress()
        recorded: Completion | None = None

        def reopen() -> None:
            nonlocal opening, row
            row = Row(now=True)
            opening = open_row()

        async def keep(completion: Completion, attempts: Sequence[Attempt] = ()) -> None:
            async def write() -> Completion:
                call = await self._opened(row, opening)
                return await self.store.calls.record(pk, call, completion, attempts, row.chain)

            nonlocal recorded
            recorded = await _patiently(write, reopen)

        async def record(attempt: Attempt) -> None:
            self.meters.note(who, attempt)
            if attempt.brought is not None:
                await keep(attempt.brought, [attempt])
            else:  # the run ends with the call: at once, for others are about to go out
                ends = None if isinstance(attempt.ends, PromptRefused) else attempt.ends
                work.fatal = work.fatal or ends
                call = await self._opened(row, opening)
                await self.store.calls.note_attempt(pk, call, attempt)

        def go() -> None:
            work.check()
            if opening.done():
                opening.result()

        try:
            if limits.any or work.overdue:
                await opening  # raises when there is no room for the call, or the run is lost
            completion = await chosen.answer(request, record, go)
            await self._opened(row, opening)
        except PromptRefused as refused:  # the others may be answered
            await self.store.calls.refuse(pk, await self._opened(row, opening), refused.message)
            raise
        except (AnswererError, BudgetExhausted, Conflict) as error:
            work.fatal = error
            raise
        finally:
            await asyncio.gather(self._opened(row, opening), return_exceptions=True)
        if completion is None:
            await row.chain.settled()
            raise NotYet
        if recorded is None:
            self.meters.brought(who, completion)
            await keep(completion)
        work.notes += completion.notes
        work.answered += 1
        work.progress()
        return recorded or completion

    async def _opened(self, row: Row, opening: asyncio.Task[int]) -> int:
        """The call's number, for which something is to be written now."""
        if not opening.done():
            row.now = True
            self.store.hurry()
        return await opening

    async def _open(
        self,
        work: Asker,
        request: CompletionRequest,
        answerer: str,
        limits: Budgets,
        row: Row,
    ) -> int:
        """The call's number, once the budget has room for it; what is under way may free some."""
        price = self._price(work, request)
        while True:
            try:
                work.chain.check()
                return await _patiently(
                    lambda: self.store.calls.open(
                        work.session.pk,
                        request,
                        work.fence,
                        answerer,
                        price,
                        limits,
                        row.chain,
                        lazily=not (row.now or limits.any),
                    )
                )
            except BudgetExhausted:
                if not await self._room(work, request):
                    raise

    async def _room(self, work: Asker, request: CompletionRequest) -> bool:
        """Wait for a call of the session that holds some of its budget; False if there is none."""
        mine, _ = self._flights.get((work.session.pk, request.key), (None, work))
        flights = {f for (pk, _), (f, _) in self._flights.items() if pk == work.session.pk}
        holding = flights - self._short - {mine}
        if mine is None or not holding or work.fatal is not None:
            return False
        self._short.add(mine)
        try:
            await asyncio.wait(holding, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._short.discard(mine)
        return True

    def _price(self, work: Asker, request: CompletionRequest) -> Price:
        """What the call may cost: its prompt, and a reply as long as it is allowed to be."""
        settings = work.settings.answering.get(request.answers, work.settings.forward)
        prompt = sum(len(m.content) for m in request.messages) // 4
        reply = int(request.params.get("max_tokens") or USUAL_REPLY)
        cost = prompt * (settings.price_prompt or 0) + reply * (settings.price_completion or 0)
        return Price(prompt + reply, cost / 1e6)

    def _answerer(self, request: CompletionRequest) -> Answerer:
        if request.purpose is Purpose.EXTERNAL:
            return self.outside
        return self.named(request.answers)

    def named(self, name: str) -> Answerer:
        """The answerer of a role or of a further model. Raises BadInput where there is none."""
        if name not in self.answerers:
            raise no_model(name, self.programs)
        return self.answerers[name]

    async def close(self, grace: float = 2.0) -> None:
        """Wait up to `grace` seconds for calls under way, so that paid replies are kept."""
        flights = [flight for flight, _ in self._flights.values()]
        if flights:
            _, late = await asyncio.wait(flights, timeout=grace)
            for flight in late:
                flight.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for answerer in {id(a): a for a in self.answerers.values()}.values():
            await answerer.close()


async def _patiently(
    verb: Callable[[], Awaitable[T]], between: Callable[[], None] = lambda: None
) -> T:
    """What a verb of the store gives, tried a few times while others keep the file locked: a reply
    that was paid for hangs on it. `between` is done before each new try."""
    for _ in range(BUSY_TRIES):
        try:
            return await verb()
        except StoreBusy as error:
            log.warning("%s", error)
            between()
    return await verb()


def _limits(work: Asker, answerer: Answerer) -> Budgets:
    """What holds for a call of this run. Only what the operator pays counts for the owner's day."""
    settings = work.settings
    free = answerer.name.startswith(PROGRAM)
    daily = None if free or answerer.name in OUTSIDE else settings.quota_calls_per_day
    run = work.args.get("budget") or {}
    quotas = daily, settings.quota_bytes
    return Budgets(run, settings.session_budget, work.session.owner, *quotas, free)


def _seen(flight: asyncio.Task[Completion]) -> None:
    """Mark a failure as seen: the run that asked may be gone."""
    if not flight.cancelled() and flight.exception() is not None:
        log.debug("a completion was not had: %s", flight.exception())
