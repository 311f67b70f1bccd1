"""What the openai answerer makes of everything that can go wrong at an endpoint."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from textgrad_mcp.engine.answerers import Attempt
from textgrad_mcp.engine.answerers.faults import (
    Endpoint,
    Fault,
    expected,
    of_exception,
    retry_after,
)
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.engine.answerers.wire import MalformedError, WrappedError, completion_of
from textgrad_mcp.schemas.completions import Completion
from textgrad_mcp.schemas.errors import AnswererError, BadInput, EndpointDown, EndpointRefused
from textgrad_mcp.schemas.settings import RoleSettings

from ...standin import Fault as Scripted
from ...standin import StandIn, fault
from .test_openai_answerer import asking, settings, using

RETRIED = ["408", "409", "425", "429", "500", "502", "503", "529", "bad-gateway", "wrapped-429"]
RETRIED += ["null", "object", "no-choices", "null-choice", "truncated", "deep"]
RETRIED += ["reset", "reset-middle"]
REFUSED = ["400", "401", "402", "403", "404", "405", "413", "422", "quota", "html", "number"]


def outcome(role: RoleSettings, **options: Any) -> tuple[Completion | AnswererError, list[Attempt]]:
    """What one call ends in, and its attempts."""
    attempts: list[Attempt] = []

    async def record(attempt: Attempt) -> None:
        attempts.append(attempt)

    async def work(answerer: OpenAIAnswerer) -> Completion | AnswererError:
        try:
            return await answerer.answer(asking(), record)
        except AnswererError as error:
            return error

    return using(OpenAIAnswerer(role, backoff=0.001, **options), work), attempts


@pytest.mark.requirement("retries")
@pytest.mark.parametrize("name", RETRIED)
def test_a_failure_that_may_pass_is_tried_again(name: str) -> None:
    with StandIn(faults={1: fault(name), 2: fault(name)}) as server:
        result, attempts = outcome(settings(server))
    assert isinstance(result, Completion)
    assert len(attempts) == 3
    assert attempts[0].outcome != "ok"
    assert attempts[-1].outcome == "ok"
    assert len(server.log) == 3


@pytest.mark.requirement("retries")
@pytest.mark.parametrize("name", RETRIED)
def test_a_failure_that_stays_ends_as_down_after_the_retries(name: str) -> None:
    with StandIn(faults=lambda *_: fault(name)) as server:
        result, attempts = outcome(settings(server, retries=2))
    assert isinstance(result, EndpointDown)
    assert len(attempts) == len(server.log) == 3
    assert "3, the last" in result.message
    assert "again" in result.next


@pytest.mark.requirement("no-vain-retries")
@pytest.mark.parametrize("name", REFUSED)
def test_a_failure_that_would_stay_is_refused_at_once_with_what_to_change(name: str) -> None:
    with StandIn(faults=lambda *_: fault(name)) as server:
        result, attempts = outcome(settings(server))
    assert isinstance(result, EndpointRefused)
    assert len(attempts) == len(server.log) == 1
    assert len(result.next) > 30


@pytest.mark.requirement("no-vain-retries")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("401", "No key was sent"),
        ("403", "may not use the model 'm'"),
        ("404", "ends in /v1"),
        ("quota", "quota is spent"),
        ("html", "TEXTGRAD_MCP_BASE_URL"),
        ("400", "scripted status 400"),
        ("413", "Shorten"),
    ],
)
def test_a_refusal_says_what_to_do(name: str, words: str) -> None:
    with StandIn(faults={1: fault(name)}) as server:
        result, _ = outcome(settings(server))
    assert words in str(result)


@pytest.mark.requirement("no-vain-retries")
def test_a_prompt_that_is_too_long_is_told_to_be_shortened() -> None:
    error = {"message": "maximum context length is 8192", "code": "context_length_exceeded"}
    too_long = Scripted(status=400, raw=json.dumps({"error": error}))
    with StandIn(faults={1: too_long}) as server:
        result, _ = outcome(settings(server))
    assert "Shorten" in str(result)


@pytest.mark.requirement("retries")
def test_an_endpoint_that_hangs_times_out_and_is_tried_again() -> None:
    with StandIn(faults={1: fault("hang")}) as server:
        result, attempts = outcome(settings(server, timeout=0.2))
    assert isinstance(result, Completion)
    assert [a.outcome for a in attempts] == ["timeout", "ok"]


@pytest.mark.requirement("retries")
def test_an_endpoint_that_drips_is_cut_off_at_the_time_limit() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)
        writer.close()
        hung_up.set()

    hung_up = asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        answerer = OpenAIAnswerer(RoleSettings(base_url=url, timeout=0.3, retries=0))
        attempts: list[Attempt] = []

        async def record(attempt: Attempt) -> None:
            attempts.append(attempt)

        with pytest.raises(EndpointDown):
            await answerer.answer(asking(), record)
        assert [a.outcome for a in attempts] == ["timeout"]
        await answerer.close()
        await hung_up.wait()
        server.close()

    asyncio.run(main())


@pytest.mark.requirement("retries")
def test_a_closed_port_is_a_connection_failure() -> None:
    with socket.socket() as held:  # bound but not listening: nobody else can take the port
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        result, attempts = outcome(RoleSettings(base_url=url, retries=2))
    assert isinstance(result, EndpointDown)
    assert [a.outcome for a in attempts] == ["connection"] * 3
    assert url in result.message


@pytest.mark.requirement("no-vain-retries")
@pytest.mark.parametrize("url", ["ftp://a/v1", "http://[", "nonsense", "http://", "http://a:x/"])
def test_an_address_that_cannot_be_called_is_refused_before_the_first_call(url: str) -> None:
    with pytest.raises(BadInput, match="http or https"):
        OpenAIAnswerer(RoleSettings(base_url=url))


@pytest.mark.requirement("no-vain-retries")
def test_a_server_that_redirects_in_circles_is_refused() -> None:
    def redirect(*_: object) -> Scripted:
        return Scripted(status=307, headers={"location": "/v1/chat/completions"}, raw="")

    with StandIn(faults=redirect) as server:
        result, attempts = outcome(settings(server))
    assert isinstance(result, EndpointRefused)
    assert [a.outcome for a in attempts] == ["request"]


@pytest.mark.requirement("keys-hidden")
@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_cannot_be_sent_is_refused_at_once_and_not_shown(key: str) -> None:
    with StandIn() as server:
        result, attempts = outcome(settings(server, api_key=key))
    assert isinstance(result, EndpointRefused)
    assert key not in f"{result} {attempts}"
    assert "api_key" in result.next
    assert server.log == []


@pytest.mark.requirement("pauses")
def test_the_pause_an_endpoint_asks_for_is_kept() -> None:
    with StandIn(faults={1: fault("429", retry_after=0.3)}) as server:
        outcome(settings(server))
    assert server.log[1].at - server.log[0].at >= 0.3


@pytest.mark.requirement("pauses")
def test_a_pause_that_is_too_long_ends_the_call_and_says_when_to_come_back() -> None:
    with StandIn(faults={1: fault("429", retry_after=3600)}) as server:
        result, attempts = outcome(settings(server), max_wait=60)
    assert isinstance(result, EndpointDown)
    assert "3600 s" in result.message
    assert "UTC" in result.next
    assert len(attempts) == 1


@pytest.mark.requirement("keys-hidden")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 200])
def test_keys_appear_in_no_message_even_where_the_endpoint_repeats_them(status: int) -> None:
    key = "tg-secret-0123456789"
    told = {"error": {"message": f"bad key {key}, or sk-live-abcdef123, Bearer {key}"}}
    with StandIn(faults=lambda *_: Scripted(status=status, raw=json.dumps(told))) as server:
        role = settings(server, api_key=key, retries=1)
        url = server.url.replace("http://", "http://user:pass-word@")
        result, attempts = outcome(role.model_copy(update={"base_url": f"{url}?token=hidden"}))
    shown = f"{result} {result!r} {attempts}"
    assert isinstance(result, AnswererError)
    for secret in (key, "sk-live", "pass-word", "hidden"):
        assert secret not in shown


@pytest.mark.requirement("no-vain-retries")
def test_a_wrong_key_is_told_apart_from_a_missing_one() -> None:
    with StandIn(key="right-key") as server:
        wrong, _ = outcome(settings(server, api_key="wrong-key"))
        missing, _ = outcome(settings(server))
        right, _ = outcome(settings(server, api_key="right-key"))
    assert "key is not valid" in str(wrong)
    assert "wrong-key" not in str(wrong)
    assert "No key was sent" in str(missing)
    assert isinstance(right, Completion)


def _kinds(base: type[BaseException]) -> Iterator[type[BaseException]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


def _in(module: Any) -> Iterator[type[BaseException]]:
    for name in dir(module):
        found = getattr(module, name)
        if isinstance(found, type) and issubclass(found, BaseException):
            yield found


def _raised(kind: type[BaseException]) -> Exception:
    """An exception of `kind`, made the way its library makes it."""
    request = httpx2.Request("POST", "http://127.0.0.1/v1")
    response = httpx2.Response(getattr(kind, "status_code", 500), request=request)
    forms: list[dict[str, Any]] = [
        {"message": "m", "request": request, "response": response},
        {"message": "m", "response": response, "body": None},
        {"message": "m", "request": request, "body": None},
        {"response": response, "body": None},
        {"message": "m", "request": request},
        {"message": "m", "unsent_messages": []},
        {"request": request},
        {"completion": openai.types.chat.ChatCompletion.model_construct(usage=None)},
        {"symbol": "x"},
        {"message": "m"},
        {},
    ]
    for form in forms:
        for args in ((), ("m",)):
            try:
                made = kind(*args, **form)
            except TypeError:
                continue
            assert isinstance(made, Exception)
            return made
    raise AssertionError(f"no way to make {kind}")


EVERY_KIND: set[type[BaseException]] = {
    *_kinds(openai.OpenAIError),
    *_in(httpx2),
    json.JSONDecodeError,
}
EVERY_KIND |= {
    ConnectionResetError,
    TimeoutError,
    ssl.SSLError,
    socket.gaierror,
    UnicodeEncodeError,
}


@pytest.mark.requirement("errors-mapped")
@pytest.mark.parametrize("kind", sorted(EVERY_KIND, key=str))
def test_every_exception_of_the_layers_below_is_mapped(kind: type[BaseException]) -> None:
    assert issubclass(kind, expected())
    if kind is json.JSONDecodeError:
        error: Exception = json.JSONDecodeError("m", "doc", 0)
    elif kind is UnicodeEncodeError:
        error = UnicodeEncodeError("ascii", "ü", 0, 1, "m")
    else:
        error = _raised(kind)
    found = of_exception(error, Endpoint("http://127.0.0.1/v1"))
    assert isinstance(found, Fault)
    assert found.what
    assert found.again or found.next


@pytest.mark.requirement("errors-mapped")
def test_the_list_of_exceptions_is_not_empty() -> None:
    names = {kind.__name__ for kind in EVERY_KIND}
    assert len(names) > 40
    assert {"RateLimitError", "APITimeoutError", "ReadError", "InvalidURL"} <= names


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_choice = st.fixed_dictionaries(
    {},
    optional={
        "message": st.fixed_dictionaries({}, optional={"content": _json, "refusal": _json}) | _json,
        "finish_reason": _json,
    },
)
_bodies = st.fixed_dictionaries(
    {},
    optional={"choices": st.lists(_choice) | _json, "usage": _json, "error": _json, "model": _json},
)


@pytest.mark.requirement("no-bad-values")
@hypothesis_settings(deadline=None)
@given(st.binary() | (_bodies | _json).map(lambda body: json.dumps(body).encode()))
def test_any_body_is_a_completion_or_a_known_fault(content: bytes) -> None:
    try:
        got = completion_of(content, RoleSettings(price_prompt=1.0))
    except (MalformedError, WrappedError):
        return
    got.model_dump_json().encode()
    assert 0 <= got.usage.prompt_tokens <= 10**12


@pytest.mark.requirement("pauses")
@hypothesis_settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms"]), st.text() | st.floats().map(str)
    )
)
def test_any_retry_after_is_nothing_or_a_wait_that_is_not_negative(headers: dict[str, str]) -> None:
    seconds = retry_after(headers)
    assert seconds is None or seconds >= 0


@pytest.mark.requirement("pauses")
def test_retry_after_is_read_as_seconds_milliseconds_or_a_date() -> None:
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    far = retry_after({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"})
    assert far is not None
    assert far > 1e6
    assert retry_after({}) is None
