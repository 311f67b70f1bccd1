"""The `sampling` answerer: the client's own model writes the completions.

In the engine such a role behaves like the assistant: completions stay pending. This layer, around
every tool call, takes the pending ones to the client: all at once as input requests of a
multi-round-trip result (2026-07-28), or over the back-channel, several at a time, on older
sessions. Every answer is committed before anything else happens, so a client that refuses, fails
or vanishes leaves a run that can be resumed.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    CallToolResult,
    CreateMessageResult,
    CreateMessageResultWithTools,
    InputRequest,
    InputRequiredResult,
    InputResponses,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from ...schemas.completions import Completion, CompletionRequest, Purpose
from ...schemas.errors import BadInput, NotFound, StoreError
from ...schemas.graph import Session, number
from ...schemas.results import Result
from ...schemas.settings import RoleSettings
from ..terminal import one_line
from .calls import amended, answer
from .sampling_messages import completion_of, message_request

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.engine import Engine
    from ...engine.runs.runner import Caller

NAME = "sampling"
ROUNDS = 8
"""Rounds of one call; clients give up after ten."""
ROUND_CHARS = 1_500_000
ROUND_REQUESTS = 1000
REMEMBERED = 256
SAID = 200
"""Characters of what a client said of its failure."""
MARK = "textgrad-sampling "


class Sampling:
    """An answerer whose completions stay pending in the engine, for the client to supply."""

    name = NAME

    def __init__(self, settings: RoleSettings) -> None:
        self.model = settings.model or ""
        self._params = dict(settings.params)

    @property
    def params(self) -> dict[str, object]:
        """What the operator set; the client may heed temperature and max_tokens."""
        return self._params

    async def answer(self, request: CompletionRequest, record: object, go: object) -> None:
        """Always None: left pending."""

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True)
class Waiting:
    """What a run waits for that the client's model may write: its session, run and pending
    calls."""

    session: Session
    run: str
    requests: dict[int, CompletionRequest]


class Sampler:
    """Feeds runs from the client until they end or the client will not go on."""

    def __init__(self) -> None:
        self._unanswered: dict[tuple[str, str], frozenset[int]] = {}

    def is_return(self, ctx: Context[Any, Any]) -> bool:
        """Whether this request brings back what an earlier round of it asked for."""
        return (ctx.request_state or "").startswith(MARK)

    async def returned(self, ctx: Context[Any, Any]) -> CallToolResult | InputRequiredResult:
        """Commit what the client brought back, go on with the run, and ask for more if need be."""
        state = json.loads((ctx.request_state or "").removeprefix(MARK))
        replies = ctx.input_responses or {}

        async def call(engine: Engine, caller: Caller) -> Result:
            session = await engine.store.sessions.get(state["session"], caller.owner)
            self._unanswered.pop((session.id, state["run"]), None)
            await _commit(engine, session, _read(replies, engine.settings.max_value_chars))
            return await engine.resume(caller, session_id=session.id)

        return await self.serve(ctx, await answer(ctx, call), int(state["round"]))

    async def serve(
        self, ctx: Context[Any, Any], result: CallToolResult, rounds: int = 0
    ) -> CallToolResult | InputRequiredResult:
        """`result`, or what becomes of it once the client has written what it waits for."""
        waiting = await _waiting(ctx, result)
        if waiting is None:
            return result
        capabilities = ctx.client_capabilities
        if capabilities is None or capabilities.sampling is None:
            why = (
                "This client offers no sampling, or not without a session, so the prompts are "
                "handed to you."
            )
            return amended(result, [why])
        if self._refused_before(waiting):
            why = (
                "The client was asked to let its model write these and brought no answer, so they "
                "are handed to you. Answer them, or call resume without completions to ask the "
                "client again."
            )
            return amended(result, [why])
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return self._ask(result, waiting, rounds)
        return await self._back_channel(ctx, result)

    def _refused_before(self, waiting: Waiting) -> bool:
        """Whether all of this was asked for in an earlier call and never came back."""
        asked = self._unanswered.pop((waiting.session.id, waiting.run), frozenset())
        return asked.issuperset(waiting.requests)

    def _remember(self, waiting: Waiting, numbers: list[int]) -> None:
        self._unanswered[(waiting.session.id, waiting.run)] = frozenset(numbers)
        while len(self._unanswered) > REMEMBERED:
            del self._unanswered[next(iter(self._unanswered))]

    def _ask(
        self, result: CallToolResult, waiting: Waiting, rounds: int
    ) -> CallToolResult | InputRequiredResult:
        """Ask for a whole wavefront in one round."""
        if rounds >= ROUNDS:
            go_on = f"Call resume(session_id='{waiting.session.id}') to go on."
            why = f"The client's model was asked {ROUNDS} times in this call; the run has more."
            return amended(result, [why], go_on)
        chosen = _at_once(waiting.requests)
        self._remember(waiting, list(waiting.requests))
        asked: dict[str, InputRequest] = {f"c{n}": message_request(r) for n, r in chosen.items()}
        state = {"session": waiting.session.id, "run": waiting.run, "round": rounds + 1}
        return InputRequiredResult(input_requests=asked, request_state=MARK + json.dumps(state))

    async def _back_channel(self, ctx: Context[Any, Any], result: CallToolResult) -> CallToolResult:
        """Ask over the back-channel, wave after wave, until the soft deadline."""
        loop = asyncio.get_running_loop()
        host = ctx.request_context.lifespan_context
        until = loop.time() + host.settings.soft_deadline
        while (waiting := await _waiting(ctx, result)) is not None:
            if loop.time() >= until:
                go_on = f"Call resume(session_id='{waiting.session.id}') to go on."
                return amended(result, ["The call's time is up; what was answered is kept."], go_on)
            engine = await host.engine()
            problem = await SamplingWave(ctx, engine, waiting, until).run()
            result = await answer(ctx, _resume(waiting.session.id))
            if problem:
                left = await _waiting(ctx, result)
                return result if left is None else amended(result, [problem])
        return result


class SamplingWave:
    """All that a run waits for, asked over the back-channel, as many at a time as the roles
    allow."""

    def __init__(
        self, ctx: Context[Any, Any], engine: Engine, waiting: Waiting, until: float
    ) -> None:
        self._ctx = ctx
        self._engine = engine
        self._waiting = waiting
        self._until = until
        self._problem = ""
        self._roles = engine.settings.answering
        self._gates = {r: asyncio.Semaphore(s.concurrency) for r, s in self._roles.items()}

    async def run(self) -> str:
        """Ask for everything; gives why the client stopped, or "". Each answer is kept at once."""
        await asyncio.gather(*(self._one(n, r) for n, r in self._waiting.requests.items()))
        return self._problem

    async def _one(self, n: int, request: CompletionRequest) -> None:
        role = request.answers
        async with self._gates[role]:
            late = asyncio.get_running_loop().time() >= self._until
            if self._problem or late:
                return
            try:
                reply = await self._ctx.session.send_request(
                    message_request(request),
                    CreateMessageResult,
                    request_read_timeout_seconds=self._roles[role].timeout,
                    metadata=ServerMessageMetadata(related_request_id=self._ctx.request_id),
                )
                found = _completion(n, reply, self._engine.settings.max_value_chars)
            except (MCPError, ValidationError, BadInput) as error:
                self._problem = (
                    f"The client's model did not answer ({_words(error)}); what it answered is "
                    "kept. Answer the rest yourself, or call resume to ask it again."
                )
                return
            await _commit(self._engine, self._waiting.session, {n: found})


def _resume(session_id: str) -> Any:
    async def call(engine: Engine, caller: Caller) -> Result:
        return await engine.resume(caller, session_id=session_id)

    return call


async def _waiting(ctx: Context[Any, Any], result: CallToolResult) -> Waiting | None:
    """What the client's model may write for the run that gave `result`, if there is anything."""
    data = result.structured_content or {}
    if data.get("status") != "needs_completions":
        return None
    host = ctx.request_context.lifespan_context
    engine: Engine = await host.engine()
    roles = {role for role, a in engine.ledger.answerers.items() if a.name == NAME}
    if not roles:
        return None
    try:
        session = await engine.store.sessions.get(str(data["session_id"]), host.owner(ctx))
        calls = await engine.store.calls.pending(session.pk, number(str(data["run"]), "r") or 0)
    except (NotFound, StoreError):
        return None  # the result in hand says what there is to say
    requests = {n: r for n, r in calls if r.purpose is not Purpose.EXTERNAL and r.answers in roles}
    return Waiting(session, str(data["run"]), requests) if requests else None


def _at_once(requests: dict[int, CompletionRequest]) -> dict[int, CompletionRequest]:
    """As much as fits one message, at least one."""
    chosen: dict[int, CompletionRequest] = {}
    used = 0
    for n, request in requests.items():
        used += sum(len(m.content) + sum(map(len, m.images)) for m in request.messages)
        if chosen and (used > ROUND_CHARS or len(chosen) >= ROUND_REQUESTS):
            break
        chosen[n] = request
    return chosen


def _words(error: Exception) -> str:
    """What stopped a client, in a few words, whatever it said itself."""
    if isinstance(error, MCPError | BadInput):
        return one_line(str(error.message), SAID)
    return "its reply has no text"


def _completion(
    n: int, reply: CreateMessageResult | CreateMessageResultWithTools, most: int
) -> Completion:
    """What a client's model wrote for call `n`. Raises BadInput for more than `most` characters."""
    found = completion_of(reply)
    if len(found.text) > most:
        raise BadInput(
            f"the client's answer to c{n} has {len(found.text):,} characters; at most {most:,} "
            "are taken",
            "Ask for a shorter one.",
        )
    return found


def _read(replies: InputResponses, most: int) -> dict[int, Completion]:
    """The completions among `replies`. Raises BadInput for an answer of another kind, or one of
    more than `most` characters."""
    found: dict[int, Completion] = {}
    for key, reply in replies.items():
        n = number(key, "c")
        if n is None or not isinstance(reply, CreateMessageResult | CreateMessageResultWithTools):
            raise BadInput(
                f"The client's answer {one_line(key)!r} answers nothing that was asked.",
                "Call resume to see what is pending.",
            )
        found[n] = _completion(n, reply, most)
    return found


async def _commit(engine: Engine, session: Session, found: dict[int, Completion]) -> None:
    if found:
        await engine.store.calls.answer(session.pk, found)
