"""Keys and tokens are in nothing that a whole session leaves behind; its files are private."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from textgrad_mcp.server.auth import new_token

from .helpers import assisted
from .standin import StandIn
from .users import served, user

KEY = "sk-marked-4f1e9a77c2d05b38"
GATEWAY = "gateway-90c4d7e1b2a6f358"
"""The value of a header of one's own."""
CLI = [sys.executable, "-m", "textgrad_mcp.server.cli"]
VIEWS = ["session", "graph", "gradients", "steps", "examples", "runs", "calls", "report"]


@contextmanager
def careless() -> Iterator[None]:
    """Nothing is private unless the server sees to it."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def environment(server: StandIn, folder: Path) -> dict[str, str]:
    named = {
        "API_KEY": KEY,
        "BASE_URL": server.url,
        "MODEL": "m",
        "RETRIES": "1",
        "HEADERS": f'{{"x-gateway": "{GATEWAY}"}}',
        "DATABASE": str(folder / "t.db"),
    }
    return dict(os.environ) | {f"TEXTGRAD_MCP_{name}": value for name, value in named.items()}


async def session(client: Client) -> tuple[str, list[str]]:
    """A whole session: its id, and everything that was said in it."""
    said: list[str] = []

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        said.append(f"{result}")
        return dict(result.structured_content or {})

    s = str((await call("create_variable", role="prompt", value="Be brief."))["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    rows = [{"q": f"question {n}"} for n in range(3)]
    await call("add_examples", session_id=s, split="train", examples=rows)
    inputs = {"q": "v2"}
    await call("forward", session_id=s, operation="llm", system="v1", inputs=inputs)
    judged = {"kind": "judge", "instruction": "Good?", "inputs": {"output": "v3"}}
    await call("compute_loss", session_id=s, **judged)
    for tool in ("backward", "step", "forward", "evaluate", "optimize", "resume"):
        await call(tool, session_id=s)
    for what in VIEWS:
        await call("inspect", session_id=s, what=what)
    for n in range(1, 4):
        await call("inspect", session_id=s, what="call", id=f"c{n}")
    said += [await read(client, f"textgrad://sessions/{s}{part}") for part in ("", "/calls")]
    return s, said


async def read(client: Client, uri: str) -> str:
    try:
        return str(await client.read_resource(uri))
    except MCPError as error:
        return error.message


def commands(s: str, folder: Path, env: dict[str, str]) -> str:
    """What the command line says and writes about the session."""
    said = ""
    for words in (
        ["config", "--json"],
        ["sessions", "show", s],
        ["sessions", "export", s, str(folder / "export.json")],
        ["database", "backup", str(folder / "backup.db")],
    ):
        done = subprocess.run([*CLI, *words], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    return said


@pytest.mark.requirement("keys-hidden")
@pytest.mark.parametrize("right", [True, False])
def test_a_key_is_in_nothing_that_a_session_leaves_behind(tmp_path: Path, right: bool) -> None:
    async def main(env: dict[str, str]) -> tuple[str, list[str]]:
        started = StdioServerParameters(command=CLI[0], args=CLI[1:], env=env)
        with (tmp_path / "stderr").open("w") as errors:
            async with Client(stdio_client(started, errlog=errors)) as client:
                return await session(client)

    with careless(), StandIn(key=KEY if right else "another") as server:
        env = environment(server, tmp_path)
        s, said = asyncio.run(main(env))
        said.append(commands(s, tmp_path, env))
        sent = {seen.headers["authorization"] for seen in server.log}
        gateways = {seen.headers["x-gateway"] for seen in server.log}
    assert (sent, gateways) == ({f"Bearer {KEY}"}, {GATEWAY})
    assert ("key is not valid" in str(said)) is not right
    assert "answered" in str(said) if right else "failed" in str(said)
    assert_absent(KEY, said, tmp_path)
    assert_absent(GATEWAY, said, tmp_path)
    files = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    private = {name: mode for name, mode in files.items() if name != "stderr"}
    assert {"t.db", "backup.db", "export.json"} <= set(private)
    assert set(private.values()) == {0o600}, private


def assert_absent(secret: str, said: list[str], folder: Path) -> None:
    """Not in the words, not in the bytes of any file, not in part."""
    part = re.escape(secret[len(secret) // 2 :])
    assert not re.search(part, str(said))
    for file in folder.iterdir():
        assert not re.search(part.encode(), file.read_bytes()), file


@pytest.mark.requirement("keys-hidden")
def test_a_token_is_in_nothing_that_a_session_leaves_behind(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    token = new_token(tokens, "alice")

    async def main(url: str) -> list[str]:
        async with user(url, token) as client:
            return (await session(client))[1]

    with served(assisted(tmp_path / "t.db"), tokens, tmp_path / "stderr") as (url, _):
        said = asyncio.run(main(url))
    assert len(said) > 20
    assert_absent(token, said, tmp_path)
