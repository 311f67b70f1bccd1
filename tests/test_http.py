"""HTTP for many users: nobody comes in uninvited, and a second user learns nothing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.server.auth import FileTokens, digest_of, new_token, read_tokens, revoke
from textgrad_mcp.server.http import HttpOptions, verifier
from textgrad_mcp.server.limits import Buckets

SERVE = """
import sys, uvicorn, socket
from pathlib import Path
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.http import HttpOptions, http_app
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(64)
port = listening.getsockname()[1]
options = HttpOptions(port=port, tokens=Path(sys.argv[2]) if sys.argv[2] else None)
app = http_app(Settings(database=Path(sys.argv[1])), options)
config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
print(f"http://127.0.0.1:{port}", flush=True)
uvicorn.Server(config).run(sockets=[listening])
"""


@contextmanager
def served(folder: Path, tokens: Path | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process; its address."""
    command = [sys.executable, "-c", SERVE, str(folder / "t.db"), str(tokens or "")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()
            process.wait(timeout=20)


def as_user(url: str, token: str, main: Callable[[Client], Awaitable[Any]]) -> Any:
    """What `main` gives with a client that shows `token`."""

    async def run() -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=20) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
        ):
            return await main(client)

    return asyncio.run(run())


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens.txt"


def arguments_of(tool: str, session: str) -> dict[str, Any]:
    """Arguments that would work on the owner's session."""
    more: dict[str, dict[str, Any]] = {
        "create_variable": {"role": "x", "value": "y"},
        "forward": {"operation": "format", "template": "{a}", "inputs": {"a": "v1"}},
        "compute_loss": {"kind": "judge", "inputs": {"a": "v1"}, "instruction": "Good?"},
        "add_examples": {"split": "train", "examples": [{"a": "b"}]},
        "revert": {"variable": "v1", "version": 1},
    }
    return {"session_id": session} | more.get(tool, {})


def test_a_second_user_gets_for_every_tool_and_resource_what_an_unknown_session_gets(
    tmp_path: Path, tokens: Path
) -> None:
    alice, bob = new_token(tokens, "alice"), new_token(tokens, "bob")

    async def make(client: Client) -> str:
        arguments = {"role": "secret role", "value": "secret value"}
        result = await client.call_tool("create_variable", arguments)
        return str((result.structured_content or {})["session_id"])

    async def look(client: Client, session: str) -> list[str]:
        said = []
        for tool in (await client.list_tools()).tools:
            result = await client.call_tool(tool.name, arguments_of(tool.name, session))
            said.append(f"{tool.name}: {result.is_error} {result.structured_content}")
        for template in (await client.list_resource_templates()).resource_templates:
            filled = template.uri_template.replace("{session_id}", session)
            uri = re.sub(r"\{(\w+)\}", lambda m: "v1" if m[1] == "variable" else "1", filled)
            try:
                said.append(str(await client.read_resource(uri)))
            except MCPError as error:
                said.append(str(error))
        listed = await client.call_tool("inspect", {})
        said.append(str(listed.structured_content))
        said += [str(r) for r in (await client.list_resources()).resources]
        return said

    with served(tmp_path, tokens) as (url, _):
        session = as_user(url, alice, make)
        unknown = session[:-4] + "AAAA"
        foreign = as_user(url, bob, lambda client: look(client, session))
        missing = as_user(url, bob, lambda client: look(client, unknown))
    assert [line.replace(session, unknown) for line in foreign] == missing
    assert "secret" not in str(foreign)
    assert len(foreign) > 20


def test_without_a_good_token_nobody_comes_in(tmp_path: Path, tokens: Path) -> None:
    good = new_token(tokens, "alice")
    with served(tmp_path, tokens) as (url, _), httpx2.Client(base_url=url) as http:
        assert http.get("/healthz").text == "ok\n"
        assert http.get("/readyz").text == "ready\n"
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": good}):
            assert http.post("/mcp", json={}, headers=headers).status_code == 401
        known = {"Authorization": f"Bearer {good}"}
        assert http.post("/mcp", json={}, headers=known).status_code != 401


def test_pages_of_other_origins_and_hosts_are_turned_away(tmp_path: Path) -> None:
    with served(tmp_path) as (url, _), httpx2.Client(base_url=url) as http:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            assert http.post("/mcp", json={}, headers=headers).status_code in (403, 421)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(tmp_path: Path, sent: signal.Signals) -> None:
    with served(tmp_path) as (url, process):
        assert httpx2.get(f"{url}/readyz").text == "ready\n"
        os.kill(process.pid, sent)
        assert process.wait(timeout=20) in (0, -sent)


def test_other_addresses_than_loopback_need_authentication(tokens: Path) -> None:
    with pytest.raises(BadInput, match="nothing would stop anybody"):
        verifier(HttpOptions(host="0.0.0.0"))
    new_token(tokens, "alice")
    assert verifier(HttpOptions(host="0.0.0.0", tokens=tokens)) is not None
    assert verifier(HttpOptions(host="127.0.0.1")) is None


def test_a_token_is_kept_as_a_hash_and_can_be_revoked(tokens: Path) -> None:
    token = new_token(tokens, "alice")
    assert token not in tokens.read_text()
    assert digest_of(token) in read_tokens(tokens)
    assert tokens.stat().st_mode & 0o777 == 0o600
    check = FileTokens(tokens)
    assert asyncio.run(check.verify_token(token)) is not None
    assert revoke(tokens, "alice") == 1
    assert asyncio.run(check.verify_token(token)) is None


def test_an_expired_token_is_none(tokens: Path) -> None:
    token = new_token(tokens, "alice", days=-1)
    assert asyncio.run(FileTokens(tokens).verify_token(token)) is None


def test_a_caller_who_asks_too_often_waits_and_others_do_not() -> None:
    now = [0.0]
    buckets = Buckets(60, 2, lambda: now[0])
    assert [buckets.take("a") for _ in range(2)] == [0.0, 0.0]
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0.0
    now[0] += 1.0
    assert buckets.take("a") == 0.0
