"""Sessions of the older protocol: few of each caller, and nobody keeps others from opening one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from textgrad_mcp.server import older_sessions
from textgrad_mcp.server.auth import new_token

from .helpers import assisted
from .test_connections import NEWER, bearer
from .users import served

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Caller:
    """Somebody with a token, who speaks the older protocol."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Accept": NEWER["Accept"], **bearer(token)}
        self.http = httpx2.Client(base_url=url, headers=headers)

    def close(self) -> None:
        """Hang up."""
        self.http.close()

    def opened(self) -> str:
        """A new session."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
        found = self.http.post("/mcp", json=message)
        assert found.status_code == 200, found.text
        return str(found.headers["mcp-session-id"])

    def asks_in(self, session: str, method: str = "POST") -> int:
        """The status of the answer to a request in a session."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
        headers = {"mcp-session-id": session}
        if method != "POST":
            return self.http.request(method, "/mcp", headers=headers).status_code
        return self.http.post("/mcp", json=message, headers=headers).status_code


@pytest.mark.requirement("strangers")
def test_a_callers_own_least_used_session_makes_room(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    ann, bob = new_token(tokens, "ann"), new_token(tokens, "bob")
    with (
        served(assisted(tmp_path / "t.db"), tokens) as (url, _),
        closing(Caller(url, ann)) as mine,
        closing(Caller(url, bob)) as other,
    ):
        kept = other.opened()
        first, second, *rest = [mine.opened() for _ in range(older_sessions.PER_CALLER)]
        assert mine.asks_in(first) == 200  # so it is not the least used
        assert other.asks_in(second, "DELETE") == 404  # nobody else's to end
        last = mine.opened()
        assert [mine.asks_in(one) for one in (first, second, last)] == [200, 404, 200]
        assert other.asks_in(kept) == 200
        assert mine.asks_in(rest[0], "DELETE") == 200
        mine.opened()  # in its place
        assert [mine.asks_in(one) for one in (rest[0], rest[1], first)] == [404, 200, 200]


@pytest.mark.requirement("strangers")
def test_a_session_in_use_is_never_ended_for_a_new_one(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    ann = new_token(tokens, "ann")
    with (
        served(assisted(tmp_path / "t.db"), tokens) as (url, _),
        closing(Caller(url, ann)) as mine,
    ):
        first = mine.opened()
        with mine.http.stream("GET", "/mcp", headers={"mcp-session-id": first}) as stream:
            assert stream.status_code == 200
            others = [mine.opened() for _ in range(older_sessions.PER_CALLER)]
            assert [mine.asks_in(one) for one in (first, others[0])] == [200, 404]
