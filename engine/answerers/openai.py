"""The answerer for any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ...schemas.completions import Completion, CompletionRequest
from ...schemas.errors import AnswererError, EndpointDown, EndpointRefused, PromptRefused
from ...schemas.settings import RoleSettings
from ..endings import Ending, ending
from . import Attempt, Go, RecordAttempt, answers, cuts
from .causes import PROMPT
from .client import OPENAI_URL, connect
from .faults import KEEP, Endpoint, Fault, expected, of_exception
from .limiter import Limiters
from .spans import completion_span
from .traits import Course, folded
from .wire import (
    BrokenOffError,
    body_of,
    check_base_url,
    check_headers,
    check_params,
    completion_of,
)

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import AsyncOpenAI

_LONGEST_BACKOFF = 20.0


class OpenAIAnswerer:
    """Answers from an endpoint, concurrently, with every retry on record.

    One instance serves one role in one event loop. Instances that are given the same `limiters`
    share one limit for each endpoint and key, and what is learnt of each model there. A
    `retry-after` above `max_wait` seconds ends the call at once; `backoff` is the first pause in
    seconds, doubled with each failure.
    """

    name = "openai"

    def __init__(
        self,
        settings: RoleSettings,
        limiters: Limiters | None = None,
        *,
        max_wait: float = 60.0,
        backoff: float = 0.5,
    ) -> None:
        """Raises BadInput for an address, headers or parameters that cannot be. Opens nothing."""
        check_params(settings.params)
        check_params(settings.update_params)
        self._headers = check_headers(settings.headers)
        check_base_url(settings.base_url or OPENAI_URL)
        self.model = settings.model or ""
        self._settings = settings
        key = settings.api_key.get_secret_value().strip() if settings.api_key else ""
        secrets = tuple(self._headers.values())
        self._endpoint = Endpoint(settings.base_url or OPENAI_URL, key, self.model, secrets)
        shared = limiters or Limiters()
        self._traits = shared.traits(self._endpoint.base_url, self.model)
        self._limiter = shared.of(self._endpoint.base_url, key, settings.concurrency)
        self._max_wait, self._backoff = max_wait, backoff
        self._client: AsyncOpenAI | None = None
        self._opening = asyncio.Lock()

    @property
    def params(self) -> dict[str, object]:
        """Sampling parameters sent with every call, as they were set."""
        return dict(self._settings.params)

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go = lambda: None
    ) -> Completion:
        """The completion as the endpoint gave it: also when it is empty, cut off or refused.

        `go` is called before each attempt and `record` after it; an error of theirs ends the call.
        Raises EndpointDown when the retries are used up or the endpoint wants a long pause, and
        EndpointRefused when the same request would be refused again.
        """
        course = Course(self._traits, self._settings.reply_format, request)
        sent = body_of(request, self._settings, course.form)
        with completion_span(request, sent, self._endpoint.base_url) as span:
            completion = await self._tried(request, course, lambda a: record(span.attempted(a)), go)
            span.answered(completion)
            return completion

    async def _tried(
        self, request: CompletionRequest, course: Course, record: RecordAttempt, go: Go
    ) -> Completion:
        while True:
            result, latency, wait = await self._attempt(request, course, record, go)
            if isinstance(result, Completion):
                return result
            last = not result.again or course.failures >= self._settings.retries
            changed = course.changes(result.cause, result.status, last=last)
            course.failures += not changed
            ends = None if changed else self._end(result, course.failures)
            await record(Attempt(result.outcome, latency, result.what, ends))
            if ends is not None:
                raise ends
            if not changed:
                await asyncio.sleep(wait)

    async def close(self) -> None:
        """Close the connections. A later `answer` opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _attempt(
        self, request: CompletionRequest, course: Course, record: RecordAttempt, go: Go
    ) -> tuple[Completion | Fault, float, float]:
        """One call in a slot of its own: what came of it, its seconds, and the pause it asks.

        The slot is held until a reply is on disk: no more of them than the limit can be lost.
        """
        async with self._limiter.slot() as wave:
            go()
            started = time.monotonic()
            result = await self._call(request, course)
            latency = time.monotonic() - started
            if isinstance(result, Completion):
                self._limiter.succeeded()
                notes = (*course.worked(), *cuts.notes(request, result, self._traits))
                result = result.model_copy(update={"latency": latency, "notes": notes})
                await record(Attempt("ok", latency, brought=result))
                return result, latency, 0.0
            wait = self._pause(result, course.failures)
            if result.crowded:
                self._limiter.throttled(wave, 0.0 if self._too_long(result) else wait)
            return result, latency, wait

    async def _call(self, request: CompletionRequest, course: Course) -> Completion | Fault:
        messages = folded(request.messages) if course.folds else request.messages
        body = body_of(request, self._settings, course.form, messages)
        try:
            client = await self._open()
            async with asyncio.timeout(self._settings.timeout):
                # Posted as it is: the client's own walk over typed messages and replies takes a
                # fifth of a call's processor time.
                raw = await client.post("/chat/completions", cast_to=_raw(), body=body)
            completion = completion_of(raw.content, self._settings)
            _check_end(completion, course)
        except expected() as error:
            fault = of_exception(error, self._endpoint)
            return answers.of_generation(fault.generation, request, self.model) or fault
        return answers.settled(completion, request, {**self._settings.params, **request.params})

    async def _open(self) -> AsyncOpenAI:
        async with self._opening:
            if self._client is None:  # on a thread: the import alone takes half a second
                timeout = self._settings.timeout
                self._client = await asyncio.to_thread(
                    connect, self._endpoint, self._headers, timeout
                )
            return self._client

    def _pause(self, fault: Fault, failures: int) -> float:
        """Seconds until the next try: what the endpoint asks, else longer with each failure."""
        pause = fault.retry_after or min(self._backoff * 2.0**failures, _LONGEST_BACKOFF)
        return pause * random.uniform(1.0, 1.5)  # noqa: S311 - spreads the calls, no secret

    def _too_long(self, fault: Fault) -> bool:
        return fault.retry_after is not None and fault.retry_after > self._max_wait

    def _end(self, fault: Fault, failures: int) -> AnswererError | None:
        """What the call ends in, unless another try makes sense."""
        sentence = fault.what if fault.what.endswith((".", "!", "?")) else f"{fault.what}."
        if fault.cause in PROMPT:
            return PromptRefused(sentence, fault.next)
        if not fault.again:
            return EndpointRefused(sentence, fault.next or KEEP)
        if self._too_long(fault):
            return EndpointDown(*_later(fault))
        if failures > self._settings.retries:
            return EndpointDown(
                f"{fault.what} (attempt {failures}, the last).",
                f"{fault.next} Call the tool again to go on from here. {KEEP}".strip(),
            )
        return None


def _check_end(completion: Completion, course: Course) -> None:
    """Raise BrokenOffError for a reply that ended for a reason which leaves it in pieces."""
    reason, meaning = completion.finish, ending(completion.finish)
    if meaning is Ending.FAILED:
        raise BrokenOffError(reason, known=True)
    if meaning is Ending.UNKNOWN and not (completion.text.strip() and course.is_whole(reason)):
        raise BrokenOffError(reason, known=False)


def _raw() -> type[Response]:
    from httpx2 import Response

    return Response


def _later(fault: Fault) -> tuple[str, str]:
    seconds = min(fault.retry_after or 0.0, 30 * 86400.0)
    when = datetime.now(UTC) + timedelta(seconds=seconds)
    return (
        f"{fault.what}, and asks for a pause of {seconds:.0f} s.",
        f"Call the tool again after {when:%Y-%m-%d %H:%M:%S} UTC to go on from here. {KEEP}",
    )
