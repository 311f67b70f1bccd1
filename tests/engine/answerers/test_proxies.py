"""Proxies of the environment: used, named when they fail, and SOCKS where the extra is there."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.schemas.completions import Completion
from textgrad_mcp.schemas.errors import AnswererError, EndpointDown, EndpointRefused
from textgrad_mcp.schemas.settings import RoleSettings

from ...standin import StandIn
from .test_openai_answerer import asking, settings, unrecorded

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def asked(role: RoleSettings) -> Completion | AnswererError:
    answerer = OpenAIAnswerer(role, backoff=0.001)
    try:
        return await answerer.answer(asking(), unrecorded)
    except AnswererError as error:
        return error
    finally:
        await answerer.close()


def outcome(role: RoleSettings) -> Completion | AnswererError:
    return asyncio.run(asked(role))


@asynccontextmanager
async def socks_server() -> AsyncIterator[tuple[str, list[int]]]:
    """A SOCKS5 proxy on loopback without passwords: its address, and the ports it was asked for."""
    ports: list[int] = []

    tasks: list[asyncio.Task[None]] = []

    async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
        target.close()
        await target.wait_closed()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await reader.readexactly(2))[1])
        writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        host = await reader.readexactly(4 if kind == 1 else (await reader.readexactly(1))[0])
        port = int.from_bytes(await reader.readexactly(2))
        ports.append(port)
        name = socket.inet_ntoa(host) if kind == 1 else host.decode()
        there, back = await asyncio.open_connection(name, port)
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", ports
    finally:
        server.close()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_calls_go_through_a_socks_proxy(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    pytest.importorskip("socksio")

    async def main() -> None:
        async with socks_server() as (address, ports):
            monkeypatch.setenv("ALL_PROXY", f"{scheme}://{address}")
            assert isinstance(await asked(settings(server)), Completion)
            assert f":{ports[0]}/" in server.url

    with StandIn() as server:
        asyncio.run(main())


@pytest.mark.requirement("errors-mapped")
@pytest.mark.parametrize("name", ["ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_is_not_there_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    if scheme == "socks5":
        pytest.importorskip("socksio")
    with socket.socket() as held, StandIn() as server:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        user = "user:pass-word@" if scheme == "socks5" else ""  # a library warns of the other
        monkeypatch.setenv(name, f"{scheme}://{user}127.0.0.1:{port}")
        found = outcome(settings(server, retries=0))
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        assert isinstance(outcome(settings(server, retries=0)), Completion)
    assert isinstance(found, EndpointDown)
    assert f"through the proxy {scheme}://127.0.0.1:{port}, which {name} names" in found.message
    assert "NO_PROXY" in found.next
    assert "pass-word" not in str(found)


@pytest.mark.requirement("errors-mapped")
@pytest.mark.parametrize("scheme", ["socks", "socks4", "nonsense"])
def test_a_scheme_that_no_proxy_here_has_is_refused_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:1")
    with StandIn() as server:
        found = outcome(settings(server))
    assert isinstance(found, EndpointRefused)
    assert "ALL_PROXY" in found.next
    assert "socks5://" in found.next


@pytest.mark.requirement("errors-mapped")
def test_without_the_extra_a_socks_proxy_is_refused_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with StandIn() as server:
        found = outcome(settings(server))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert isinstance(outcome(settings(server)), Completion)
    assert isinstance(found, EndpointRefused)
    assert "textgrad-mcp[socks]" in found.next
