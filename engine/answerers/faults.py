"""What can go wrong at an endpoint, and what each failure means for the caller.

retried     no connection, time-outs, resets, 408, 409, 425, 429, 5xx, unreadable bodies, replies
            that the endpoint itself broke off -> EndpointDown once the retries are used up
not retried everything that the same request would meet again: key, quota, model, address,
            parameters, a certificate -> EndpointRefused
this prompt too long for the model, or filtered for what it says -> PromptRefused
"""

from __future__ import annotations

import email.utils
import json
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from .bodies import Said, said_in
from .causes import PROMPT, Cause, cause_of, status_within
from .wire import BrokenOffError, MalformedError, WrappedError

RETRIED = frozenset({408, 409, 425, 429})
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|gsk|xai|key)-[\w*.-]{4,}|Bearer\s+\S+|AIza[\w-]{20,}")

KEEP = "Everything answered so far is kept."
_SET_KEY = (
    "Set TEXTGRAD_MCP_API_KEY, or api_key_env in the configuration file, and restart the server. "
    + KEEP
)


@dataclass(frozen=True)
class Fault:
    """One attempt that failed. `what` and `next` are for people and hold no secret.

    `outcome` is one word for the ledger: `timeout`, `connection`, `body`, `request`, `finish` or
    `http_` and the status. `retry_after` is in seconds, as the endpoint asked; `generation` is what
    the model wrote, where the endpoint refused that.
    """

    outcome: str
    what: str
    next: str = ""
    again: bool = False
    retry_after: float | None = None
    crowded: bool = False
    status: int = 0
    cause: Cause | None = None
    generation: str = ""


@dataclass(frozen=True)
class Endpoint:
    """Whom we talk to, for the messages: neither the key nor what else is secret gets into them."""

    base_url: str
    key: str = ""
    model: str = ""
    secrets: tuple[str, ...] = ()
    """What else must not be shown: the values of headers."""

    @property
    def where(self) -> str:
        """The address without user, password and query."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def scrub(self, text: str, limit: int = 300) -> str:
        """`text` on one line, cut, with everything that could be a key taken out."""
        parts = urlsplit(self.base_url)
        queried = [value for _, value in parse_qsl(parts.query)]
        for secret in (self.key, parts.password or "", *queried, *self.secrets):
            if len(secret) >= 4:  # shorter ones are placeholders, and parts of words
                text = text.replace(secret, "[key]")
        text = " ".join(_KEY_LIKE.sub("[key]", text).split())
        return text if len(text) <= limit else text[: limit - 3] + "..."


def expected() -> tuple[type[Exception], ...]:
    """Every kind of exception that a call can end in, other than a mistake of ours."""
    import httpx2
    import openai

    theirs = (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.CookieConflict)
    ours = (BrokenOffError, MalformedError, WrappedError)
    return (*theirs, *ours, httpx2.StreamError, OSError, ValueError)


def of_exception(error: Exception, endpoint: Endpoint) -> Fault:
    """What any exception of a call means."""
    import httpx2
    import openai

    if isinstance(error, (openai.APIStatusError, httpx2.HTTPStatusError)):
        response = error.response
        said = said_in(response.content) if response.is_stream_consumed else Said()
        return of_status(response.status_code, response.headers, said, endpoint)
    if isinstance(error, WrappedError):
        status = status_within(error.said)
        return of_status(status, {}, error.said, endpoint, f"with an error ({status})")
    if isinstance(error, BrokenOffError):
        what = f"{endpoint.where} broke its reply off (finish reason {error.reason!r})"
        return Fault("finish", what, again=True, cause=None if error.known else Cause.ENDING)
    if isinstance(error, MalformedError):
        return _malformed(str(error), error.again, endpoint)
    if isinstance(error.__cause__, httpx2.ConnectTimeout):  # also what a refused connection is
        return _connection(error, endpoint)
    if isinstance(error, (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError)):
        return Fault("timeout", f"{endpoint.where} did not answer in time", again=True)
    if isinstance(error, (openai.APIResponseValidationError, json.JSONDecodeError)):
        return _malformed("a body that is not JSON", True, endpoint)
    if isinstance(error, (openai.APIConnectionError, httpx2.RequestError, httpx2.StreamError)):
        return _connection(error, endpoint)
    if isinstance(error, OSError):
        return _connection(error, endpoint)
    return _unsendable(error, endpoint)


def of_status(
    status: int, headers: Mapping[str, str], said: Said, endpoint: Endpoint, how: str = ""
) -> Fault:
    """What an HTTP status other than success means. `how` says that it came otherwise."""
    cause = cause_of(status, said)
    what = f"{endpoint.where} answered {how or status}"
    if said.words and _may_be_told(status, cause, said):
        what += f": {endpoint.scrub(said.words)}"
    outcome = f"http_{status}"
    if cause is Cause.QUOTA:
        return Fault(outcome, what, f"The quota is spent: add credit or change the key. {KEEP}")
    if cause in PROMPT:
        return Fault(outcome, what, _PROMPT[cause], status=status, cause=cause)
    again = status in RETRIED or status >= 500
    after = retry_after(headers) if again else None
    return Fault(
        outcome,
        what,
        "" if again else _advice(status, endpoint),
        again=again,
        retry_after=after,
        crowded=status == 429 or (status == 503 and after is not None),
        status=status,
        cause=cause,
        generation=said.generation,
    )


_PROMPT = {
    Cause.TOO_LONG: "Shorten the texts, use fewer examples a call, set prompt_budget lower, or "
    "take a model with more context.",
    Cause.FILTERED: "Change what the filter objects to, or take a model or an endpoint without it.",
}


def _may_be_told(status: int, cause: Cause | None, said: Said) -> bool:
    """Whether the endpoint's words may be shown: those about a key tend to repeat it."""
    if status == 403 and cause not in PROMPT:
        return not re.search(r"key|token|credential|auth|bearer", said.all)
    return status != 401


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the headers ask, or None. Never negative."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if not math.isnan(seconds):
            return max(0.0, seconds)
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _advice(status: int, endpoint: Endpoint) -> str:
    if status == 401:
        return ("The key is not valid here. " if endpoint.key else "No key was sent. ") + _SET_KEY
    if status == 403:
        return f"The key may not use {_model(endpoint)} there. {_SET_KEY}"
    if status == 404:
        return (
            f"Check {_model(endpoint)} and the address, which usually ends in /v1 "
            f"(TEXTGRAD_MCP_MODEL, TEXTGRAD_MCP_BASE_URL), and restart the server. {KEEP}"
        )
    if status in (400, 422):
        return "Change what it names: usually params or the model. The same request fails again."
    return "Check that the address (TEXTGRAD_MCP_BASE_URL) is that of a chat-completions endpoint."


def _model(endpoint: Endpoint) -> str:
    return f"the model {endpoint.model!r}" if endpoint.model else "the model (none is set)"


def _malformed(what: str, again: bool, endpoint: Endpoint) -> Fault:
    return Fault("body", f"{endpoint.where} sent {what}", _advice(0, endpoint), again=again)


def _connection(error: Exception, endpoint: Endpoint) -> Fault:
    import httpx2

    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    hopeless = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.TooManyRedirects)
    if isinstance(cause, hopeless):
        return _unsendable(cause, endpoint)
    detail = endpoint.scrub(str(cause), 160) or type(cause).__name__
    what = f"no connection to {endpoint.where} ({detail})"
    if "CERTIFICATE_VERIFY_FAILED" in str(cause):
        return Fault("connection", what, "Check the address, or trust its certificate.")
    return Fault("connection", what, _BYPASS if _by_proxy(cause) else "", again=True)


_BYPASS = "Mend the proxy, or put the endpoint's host into NO_PROXY and restart the server."


def _by_proxy(error: Exception) -> bool:
    import httpx2

    return isinstance(error, httpx2.ProxyError)


def proxy_variables() -> dict[str, str]:
    """The variables of the environment that name proxies, with what they name."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    return {n: v for n, v in os.environ.items() if n.lower() in names and v}


def _unsendable(error: Exception, endpoint: Endpoint) -> Fault:
    detail = endpoint.scrub(str(error), 160)
    what = f"the request to {endpoint.where} cannot be made ({type(error).__name__}: {detail})"
    if "proxy" in str(error).lower():
        named = ", ".join(proxy_variables()) or "the system's settings"
        advice = f"Proxies come from {named}: http:// ones work, and socks5:// ones with the extra "
        advice += "textgrad-mcp[socks]. Or put the endpoint's host into NO_PROXY. Then restart."
        return Fault("request", what, advice)
    return Fault("request", what, "Check base_url, api_key and params in the configuration.")
