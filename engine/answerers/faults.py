"""What can go wrong at an endpoint, and what each failure means for the caller.

retried     no connection, time-outs, resets, 408, 409, 425, 429, 5xx, unreadable bodies
            -> EndpointDown once the retries are used up
not retried everything that the same request would meet again: key, quota, model, address,
            parameters, a certificate -> EndpointRefused
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from .wire import MalformedError, WrappedError

RETRIED = frozenset({408, 409, 425, 429})
_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_ABOUT_FORMAT = re.compile(r"response.?format|json.?schema|json.?object|structured.output|grammar")
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|gsk|xai|key)-[\w*.-]{4,}|Bearer\s+\S+|AIza[\w-]{20,}")

KEEP = "Everything answered so far is kept."
_SET_KEY = (
    "Set TEXTGRAD_MCP_API_KEY, or api_key_env in the configuration file, and restart the server. "
    + KEEP
)


@dataclass(frozen=True)
class Fault:
    """One attempt that failed. `what` and `next` are for people and hold no secret.

    `outcome` is one word for the ledger: `timeout`, `connection`, `body`, `request` or
    `http_` and the status. `retry_after` is in seconds, as the endpoint asked.
    """

    outcome: str
    what: str
    next: str = ""
    again: bool = False
    retry_after: float | None = None
    crowded: bool = False
    about_format: bool = False


@dataclass(frozen=True)
class Endpoint:
    """Whom we talk to, for the messages: neither the key nor what else is secret gets into them."""

    base_url: str
    key: str = ""
    model: str = ""

    @property
    def where(self) -> str:
        """The address without user, password and query."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def scrub(self, text: str, limit: int = 300) -> str:
        """`text` on one line, cut, with everything that could be a key taken out."""
        parts = urlsplit(self.base_url)
        queried = [value for _, value in parse_qsl(parts.query)]
        for secret in (self.key, parts.password or "", *queried):
            if len(secret) >= 4:  # shorter ones are placeholders, and parts of words
                text = text.replace(secret, "[key]")
        text = " ".join(_KEY_LIKE.sub("[key]", text).split())
        return text if len(text) <= limit else text[: limit - 3] + "..."


def expected() -> tuple[type[Exception], ...]:
    """Every kind of exception that a call can end in, other than a mistake of ours."""
    import httpx2
    import openai

    theirs = (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.CookieConflict)
    return (*theirs, httpx2.StreamError, MalformedError, WrappedError, OSError, ValueError)


def of_exception(error: Exception, endpoint: Endpoint) -> Fault:
    """What any exception of a call means."""
    import httpx2
    import openai

    if isinstance(error, (openai.APIStatusError, httpx2.HTTPStatusError)):
        body = error.body if isinstance(error, openai.APIStatusError) else None
        return of_status(error.response.status_code, error.response.headers, body, endpoint)
    if isinstance(error, WrappedError):
        return of_status(error.status, {}, error.body, endpoint)
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


def of_status(status: int, headers: Mapping[str, str], body: object, endpoint: Endpoint) -> Fault:
    """What an HTTP status other than success means."""
    words, code = _words(body)
    said = f"{endpoint.where} answered {status}"
    if status not in (401, 403) and words:  # these tend to repeat the key
        said += f": {endpoint.scrub(words)}"
    outcome = f"http_{status}"
    if (status == 429 and code in _QUOTA) or status == 402:
        return Fault(outcome, said, f"The quota is spent: add credit or change the key. {KEEP}")
    if status in RETRIED or status >= 500:
        after = retry_after(headers)
        crowded = status == 429 or (status == 503 and after is not None)
        return Fault(outcome, said, again=True, retry_after=after, crowded=crowded)
    about_format = status in (400, 422) and bool(_ABOUT_FORMAT.search(words.lower()))
    return Fault(outcome, said, _advice(status, code, endpoint), about_format=about_format)


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


def _words(body: object) -> tuple[str, str]:
    """The message and the code of an error body, in any of the shapes endpoints use."""
    while isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if not isinstance(body, dict):
        text = body if isinstance(body, str) and not body.lstrip().startswith("<") else ""
        return text, ""
    message = body.get("message") or body.get("error") or body.get("detail") or ""
    code = body.get("code") or body.get("type") or ""
    if body.get("type") in _QUOTA:
        code = body["type"]
    return message if isinstance(message, str) else json.dumps(message), str(code)


def _advice(status: int, code: str, endpoint: Endpoint) -> str:
    if status == 401:
        return ("The key is not valid here. " if endpoint.key else "No key was sent. ") + _SET_KEY
    if status == 403:
        return f"The key may not use {_model(endpoint)} there. {_SET_KEY}"
    if status == 404:
        return (
            f"Check {_model(endpoint)} and the address, which usually ends in /v1 "
            f"(TEXTGRAD_MCP_MODEL, TEXTGRAD_MCP_BASE_URL), and restart the server. {KEEP}"
        )
    if status == 413 or code == "context_length_exceeded":
        return "Shorten the texts, use fewer examples a call, or take a model with more context."
    if status in (400, 422):
        return "Change what it names: usually params or the model. The same request fails again."
    return "Check that the address (TEXTGRAD_MCP_BASE_URL) is that of a chat-completions endpoint."


def _model(endpoint: Endpoint) -> str:
    return f"the model {endpoint.model!r}" if endpoint.model else "the model (none is set)"


def _malformed(what: str, again: bool, endpoint: Endpoint) -> Fault:
    return Fault("body", f"{endpoint.where} sent {what}", _advice(0, "", endpoint), again=again)


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
    return Fault("connection", what, again=True)


def _unsendable(error: Exception, endpoint: Endpoint) -> Fault:
    detail = endpoint.scrub(str(error), 160)
    what = f"the request to {endpoint.where} cannot be made ({type(error).__name__}: {detail})"
    return Fault("request", what, "Check base_url, api_key and params in the configuration.")
