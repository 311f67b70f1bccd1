"""HTTP for many users: nobody comes in uninvited, and a second user learns nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.server.auth import FileTokens, digest_of, new_token, read_tokens, revoke
from textgrad_mcp.server.http import HttpOptions, verifier
from textgrad_mcp.server.limits import Buckets

from .helpers import assisted
from .users import as_user, served


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.txt"


@pytest.mark.requirement("tokens")
def test_without_a_good_token_nobody_comes_in(tmp_path: Path, tokens: Path) -> None:
    good = new_token(tokens, "alice")
    with (
        served(assisted(tmp_path / "t.db"), tokens) as (url, _),
        httpx2.Client(base_url=url) as http,
    ):
        assert http.get("/healthz").text == "ok\n"
        assert http.get("/readyz").text == "ready\n"
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": good}):
            assert http.post("/mcp", json={}, headers=headers).status_code == 401
        known = {"Authorization": f"Bearer {good}"}
        assert http.post("/mcp", json={}, headers=known).status_code != 401


@pytest.mark.requirement("origins")
def test_pages_of_other_origins_and_hosts_are_turned_away(tmp_path: Path) -> None:
    with served(assisted(tmp_path / "t.db")) as (url, _), httpx2.Client(base_url=url) as http:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            assert http.post("/mcp", json={}, headers=headers).status_code in (403, 421)


@pytest.mark.requirement("limits")
def test_a_body_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with served(assisted(tmp_path / "t.db")) as (url, _), httpx2.Client(base_url=url) as http:
        assert http.post("/mcp", content=b" " * (9 << 20)).status_code == 413
        assert http.post("/mcp", content=b" " * (7 << 20)).status_code != 413


@pytest.mark.requirement("ends")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(tmp_path: Path, sent: signal.Signals) -> None:
    with served(assisted(tmp_path / "t.db")) as (url, process):
        assert httpx2.get(f"{url}/readyz").text == "ready\n"
        os.kill(process.pid, sent)
        assert process.wait(timeout=20) in (0, -sent)


@pytest.mark.requirement("loopback")
def test_other_addresses_than_loopback_need_authentication(tokens: Path) -> None:
    with pytest.raises(BadInput, match="nothing would stop anybody"):
        verifier(HttpOptions(host="0.0.0.0"))
    new_token(tokens, "alice")
    assert verifier(HttpOptions(host="0.0.0.0", tokens=tokens)) is not None
    assert verifier(HttpOptions(host="127.0.0.1")) is None


@pytest.mark.requirement("tokens")
def test_a_token_is_kept_as_a_hash_and_can_be_revoked(tokens: Path) -> None:
    token = new_token(tokens, "alice")
    assert token not in tokens.read_text()
    assert digest_of(token) in read_tokens(tokens)
    assert tokens.stat().st_mode & 0o777 == 0o600
    check = FileTokens(tokens)
    assert asyncio.run(check.verify_token(token)) is not None
    assert revoke(tokens, "alice") == 1
    assert asyncio.run(check.verify_token(token)) is None


@pytest.mark.requirement("tokens")
def test_an_expired_token_is_none(tokens: Path) -> None:
    token = new_token(tokens, "alice", days=-1)
    assert asyncio.run(FileTokens(tokens).verify_token(token)) is None


@pytest.mark.requirement("rates")
def test_who_asks_too_often_reads_how_long_to_wait(tmp_path: Path, tokens: Path) -> None:
    async def hurry(client: Client) -> str:
        for _ in range(5):
            try:
                await client.call_tool("inspect", {})
            except MCPError as refused:
                return refused.message
        return "never refused"

    alice = new_token(tokens, "alice")
    with served(assisted(tmp_path / "t.db"), tokens, burst=3, per_minute=1) as (url, _):
        said = as_user(url, alice, hurry)
    assert said.startswith("Too many requests; come back in ")


@pytest.mark.requirement("rates")
def test_a_caller_who_asks_too_often_waits_and_others_do_not() -> None:
    now = [0.0]
    buckets = Buckets(60, 2, lambda: now[0])
    assert [buckets.take("a") for _ in range(2)] == [0.0, 0.0]
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0.0
    now[0] += 1.0
    assert buckets.take("a") == 0.0
