"""The whole tool set in every era of the protocol over every transport."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import mcp.client.session
import pytest
import uvicorn
from mcp import Client
from mcp.server.mcpserver import MCPServer
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.app import build

from ..helpers import Tools, assisted
from ..tour import TOOLS, over_stdio, tour

Mode = Literal["legacy", "auto"]
ERAS: list[tuple[str, Mode]] = [
    ("2026-07-28", "auto"),
    ("2025-11-25", "legacy"),
    ("2025-06-18", "legacy"),
    ("2025-03-26", "legacy"),
]


@contextlib.contextmanager
def over_http(server: MCPServer) -> Iterator[str]:
    """`server` on a loopback port; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(server.streamable_http_app(), log_level="error", lifespan="on")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        running.should_exit = True
        thread.join(timeout=20)
        listener.close()


def offer(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client's handshake offer `version`; it offers its newest otherwise."""
    if version != "2026-07-28":
        monkeypatch.setattr(mcp.client.session, "LATEST_HANDSHAKE_VERSION", version)


async def take_tour(client: Client, version: str) -> None:
    async with client:
        assert client.protocol_version == version
        listed = await client.list_tools()
        assert {tool.name for tool in listed.tools} >= TOOLS
        await tour(Tools(client))
        templates = (await client.list_resource_templates()).resource_templates
        assert len(templates) >= 11
        assert len((await client.list_prompts()).prompts) == 6


def settings(tmp_path: Path) -> Settings:
    return assisted(tmp_path / "t.db")


@pytest.mark.requirement("both-eras")
@pytest.mark.parametrize(("version", "mode"), ERAS)
def test_every_tool_works_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, mode: Mode
) -> None:
    offer(version, monkeypatch)
    asyncio.run(take_tour(Client(build(settings(tmp_path)), mode=mode), version))


@pytest.mark.requirement("both-eras")
@pytest.mark.parametrize(("version", "mode"), ERAS)
def test_every_tool_works_over_stdio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, mode: Mode
) -> None:
    offer(version, monkeypatch)
    asyncio.run(take_tour(Client(over_stdio(settings(tmp_path)), mode=mode), version))


@pytest.mark.requirement("both-eras")
@pytest.mark.parametrize(("version", "mode"), ERAS)
def test_every_tool_works_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, mode: Mode
) -> None:
    offer(version, monkeypatch)
    with over_http(build(settings(tmp_path))) as url:
        asyncio.run(take_tour(Client(url, mode=mode), version))
