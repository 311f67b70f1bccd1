"""The answerer for any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from ...schemas.completions import Completion, CompletionRequest
from ...schemas.errors import AnswererError, EndpointDown, EndpointRefused
from ...schemas.settings import ReplyFormat, RoleSettings
from . import Attempt, Go, RecordAttempt
from .faults import KEEP, Endpoint, Fault, expected, of_exception
from .limiter import Limiters
from .spans import completion_span
from .wire import FORMATS, body_of, check_base_url, check_params, completion_of

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
"""Where calls go when no address is set."""

_LONGEST_BACKOFF = 20.0
_CONNECT_TIMEOUT = 10.0


class OpenAIAnswerer:
    """Answers from an endpoint, concurrently, with every retry on record.

    One instance serves one role in one event loop. Instances that are given the same `limiters`
    share one limit for each endpoint and key. A `retry-after` above `max_wait` seconds ends the
    call at once; `backoff` is the first pause in seconds, doubled with each failure.
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
        """Raises BadInput for an address or parameters that cannot be. Opens nothing yet."""
        check_params(settings.params)
        check_params(settings.update_params)
        check_base_url(settings.base_url or OPENAI_URL)
        self.model = settings.model or ""
        self._settings = settings
        key = settings.api_key.get_secret_value().strip() if settings.api_key else ""
        self._endpoint = Endpoint(settings.base_url or OPENAI_URL, key, self.model)
        shared = limiters or Limiters()
        self._limiter = shared.of(self._endpoint.base_url, key, settings.concurrency)
        self._max_wait, self._backoff = max_wait, backoff
        self._form: ReplyFormat = settings.reply_format
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
        sent = body_of(request, self._settings, self._form)
        with completion_span(request, sent, self._endpoint.base_url) as span:
            completion = await self._tried(request, lambda a: record(span.attempted(a)), go)
            span.answered(completion)
            return completion

    async def _tried(self, request: CompletionRequest, record: RecordAttempt, go: Go) -> Completion:
        failures = 0
        while True:
            form = self._form
            result, latency, wait = await self._attempt(request, form, failures, record, go)
            if isinstance(result, Completion):
                return result
            plainer = self._step_down(result, request, form)
            failures += not plainer
            ends = None if plainer else self._end(result, failures)
            await record(Attempt(result.outcome, latency, result.what, ends))
            if ends is not None:
                raise ends
            if not plainer:
                await asyncio.sleep(wait)

    async def close(self) -> None:
        """Close the connections. A later `answer` opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _attempt(
        self,
        request: CompletionRequest,
        form: ReplyFormat,
        failures: int,
        record: RecordAttempt,
        go: Go,
    ) -> tuple[Completion | Fault, float, float]:
        """One call in a slot of its own: what came of it, its seconds, and the pause it asks.

        The slot is held until a reply is on disk: no more of them than the limit can be lost.
        """
        body = body_of(request, self._settings, form)
        async with self._limiter.slot() as wave:
            go()
            started = time.monotonic()
            result = await self._call(body)
            latency = time.monotonic() - started
            if isinstance(result, Completion):
                self._limiter.succeeded()
                result = result.model_copy(update={"latency": latency})
                await record(Attempt("ok", latency, brought=result))
                return result, latency, 0.0
            wait = self._pause(result, failures)
            if result.crowded:
                self._limiter.throttled(wave, 0.0 if self._too_long(result) else wait)
            return result, latency, wait

    async def _call(self, body: dict[str, Any]) -> Completion | Fault:
        try:
            client = await self._open()
            async with asyncio.timeout(self._settings.timeout):
                # Posted as it is: the client's own walk over typed messages and replies takes a
                # fifth of a call's processor time.
                raw = await client.post("/chat/completions", cast_to=_raw(), body=body)
            return completion_of(raw.content, self._settings)
        except expected() as error:
            return of_exception(error, self._endpoint)

    async def _open(self) -> AsyncOpenAI:
        async with self._opening:
            if self._client is None:  # on a thread: the import alone takes half a second
                timeout = self._settings.timeout
                self._client = await asyncio.to_thread(_connect, self._endpoint, timeout)
            return self._client

    def _step_down(self, fault: Fault, request: CompletionRequest, form: ReplyFormat) -> bool:
        """Whether to ask again in a plainer reply format, from now on for every call."""
        if not fault.about_format or request.reply is None or form == FORMATS[-1]:
            return False
        if self._form == form:  # not yet done by a call that ran beside this one
            self._form = FORMATS[FORMATS.index(form) + 1]
        return True

    def _pause(self, fault: Fault, failures: int) -> float:
        """Seconds until the next try: what the endpoint asks, else longer with each failure."""
        pause = fault.retry_after or min(self._backoff * 2.0**failures, _LONGEST_BACKOFF)
        return pause * random.uniform(1.0, 1.5)  # noqa: S311 - spreads the calls, no secret

    def _too_long(self, fault: Fault) -> bool:
        return fault.retry_after is not None and fault.retry_after > self._max_wait

    def _end(self, fault: Fault, failures: int) -> AnswererError | None:
        """What the call ends in, unless another try makes sense."""
        if not fault.again:
            return EndpointRefused(f"{fault.what}.", fault.next or KEEP)
        if self._too_long(fault):
            return EndpointDown(*_later(fault))
        if failures > self._settings.retries:
            return EndpointDown(
                f"{fault.what} (attempt {failures}, the last).",
                f"{fault.next} Call the tool again to go on from here. {KEEP}".strip(),
            )
        return None


@cache
def _spare_imports() -> None:
    """Tell the garbage collector, once, that what was imported lives as long as the process.

    Else it goes through a hundred thousand objects every hundred calls or so, and all wait for it.
    """
    gc.freeze()


def _connect(endpoint: Endpoint, timeout: float) -> AsyncOpenAI:
    from openai import AsyncOpenAI, DefaultAioHttpClient, Timeout

    _spare_imports()
    address = urlsplit(endpoint.base_url)
    query = dict(parse_qsl(address.query))
    # Azure's own addresses have a version in them and want the key in a header of its own.
    own = {"api-key": endpoint.key} if "api-version" in query and endpoint.key else None
    client = AsyncOpenAI(
        api_key=endpoint.key or "none",  # without one the client would look for others' keys
        base_url=urlunsplit(address._replace(query="", fragment="")),
        default_query=query,
        default_headers=own,
        max_retries=0,
        timeout=Timeout(timeout, connect=min(timeout, _CONNECT_TIMEOUT)),
        # The default transport looks at every idle connection for each request.
        http_client=DefaultAioHttpClient(),
    )
    if address.hostname != urlsplit(OPENAI_URL).hostname:
        client.organization = client.project = None
    return client


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
