"""What is under way for a token ends with it: nobody reads on with a key that was taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import Message, Receive, Scope, Send
from textgrad_mcp.server.auth import access, new_token, revoke
from textgrad_mcp.server.revocation import Recheck

from .helpers import assisted
from .test_connections import LISTEN, NEWER, bearer, connected, request
from .users import served


@pytest.mark.requirement("revoked")
def test_a_listen_stream_ends_when_its_token_is_revoked_and_others_last(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    alice, bob = new_token(tokens, "alice"), new_token(tokens, "bob")
    listen = {name: request("subscriptions/listen", LISTEN, bearer(name)) for name in (alice, bob)}
    with (
        served(assisted(tmp_path / "t.db"), tokens) as (url, _),
        connected(url, 1, listen[alice]) as [mine],
        connected(url, 1, listen[bob]) as [other],
    ):
        for one in (mine, other):
            assert one.recv(12) == b"HTTP/1.1 200"
        assert revoke(tokens, "alice") == 1
        said = b""
        while not said.endswith(b"\r\n0\r\n\r\n"):  # the end of a chunked answer, in order
            part = mine.recv(65536)
            assert part
            said += part
        other.settimeout(0.1)
        assert b"\r\n0\r\n\r\n" not in _heard(other)


def _heard(one: Any) -> bytes:
    said = b""
    try:
        while part := one.recv(65536):
            said += part
    except TimeoutError:
        return said
    raise AssertionError("it was closed")


@pytest.mark.requirement("revoked")
def test_a_stream_of_the_older_protocol_ends_too(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    shown = bearer(new_token(tokens, "alice"))
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    with (
        served(assisted(tmp_path / "t.db"), tokens) as (url, _),
        httpx2.Client(base_url=url, headers={"Accept": NEWER["Accept"], **shown}) as http,
    ):
        session = http.post("/mcp", json=message).headers["mcp-session-id"]
        with http.stream("GET", "/mcp", headers={"mcp-session-id": session}) as stream:
            assert stream.status_code == 200
            revoke(tokens, "alice")
            assert [line for line in stream.iter_lines() if line.startswith("data")] == []
        assert http.get("/mcp", headers={"mcp-session-id": session}).status_code == 401


class Known:
    """Knows one token, until it does not."""

    def __init__(self) -> None:
        self.owner: str | None = "alice"

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose it is now."""
        return access(self.owner, None) if self.owner else None


async def answered(app: Any, change: Callable[[Known], None]) -> list[Message]:
    """What a request gets whose token changes while `app` answers it for ever."""
    known, sent = Known(), list[Message]()
    user = AuthenticatedUser(access("alice", None))
    headers = [(b"authorization", b"Bearer x")]
    scope: Scope = {"type": "http", "method": "POST", "headers": headers, "user": user}

    async def receive() -> Message:
        raise AssertionError("nothing to receive")

    async def send(message: Message) -> None:
        sent.append(message)
        change(known)

    change(known)
    async with asyncio.timeout(20):
        await Recheck(app, check=known, seconds=0.01)(scope, receive, send)
    return sent


def gone(known: Known) -> None:
    """The token is nobody's."""
    known.owner = None


def anothers(known: Known) -> None:
    """The token is another's."""
    known.owner = "bob"


@pytest.mark.requirement("revoked")
@pytest.mark.parametrize("change", [gone, anothers])
def test_before_its_answer_begins_a_request_is_refused(change: Callable[[Known], None]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    sent = asyncio.run(answered(app, change))
    assert [message.get("status") for message in sent] == [401, None]


@pytest.mark.requirement("revoked")
def test_an_answer_of_known_length_is_not_cut() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"ok"})

    sent = asyncio.run(answered(app, gone))
    assert sent[-1] == {"type": "http.response.body", "body": b"ok"}
