"""The server as a process on stdin and stdout: how it starts and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.schemas.settings import Settings

from .helpers import assisted, command, process

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


@contextmanager
def spoken_to(database: Path, settings: Settings | None = None) -> Iterator[subprocess.Popen[str]]:
    """A server process that has answered the first message."""
    args = command(settings or assisted(database), database.with_name("pid"))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(args, text=True, **pipes) as server:
        try:
            say(server, id=0, method="initialize", params=HELLO)
            assert heard(server)["result"]["serverInfo"]["name"] == "textgrad-mcp"
            say(server, method="notifications/initialized")
            yield server
        finally:
            server.kill()


def say(server: subprocess.Popen[str], **message: Any) -> None:
    """Send one message."""
    assert server.stdin is not None
    print(json.dumps({"jsonrpc": "2.0"} | message), file=server.stdin, flush=True)


def heard(server: subprocess.Popen[str]) -> Any:
    """The next message."""
    assert server.stdout is not None
    return json.loads(server.stdout.readline())


@pytest.mark.requirement("both-eras")
def test_a_process_serves_tools_over_stdio(tmp_path: Path) -> None:
    async def main() -> None:
        async with process(assisted(tmp_path / "t.db")) as call:
            names = [t.name for t in (await call.client.list_tools()).tools]
            assert "create_variable" in names
            made = await call("create_variable", role="r", value="x")
            assert made["variable"] == "v1"

    asyncio.run(main())


@pytest.mark.requirement("ends")
def test_a_closed_stdin_ends_the_process(tmp_path: Path) -> None:
    with spoken_to(tmp_path / "t.db") as server:
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(timeout=10) == 0


@pytest.mark.requirement("ends")
def test_a_closed_stdin_ends_it_with_an_open_database_too(tmp_path: Path) -> None:
    with spoken_to(tmp_path / "t.db") as server:
        call = {"name": "create_variable", "arguments": {"role": "r", "value": "x"}}
        say(server, id=1, method="tools/call", params=call)
        assert heard(server)["result"]["structuredContent"]["variable"] == "v1"
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(timeout=10) == 0


@pytest.mark.requirement("ends")
def test_a_terminated_process_is_gone_and_its_database_whole(tmp_path: Path) -> None:
    with spoken_to(tmp_path / "t.db") as server:
        call = {"name": "create_variable", "arguments": {"role": "r", "value": "x"}}
        say(server, id=1, method="tools/call", params=call)
        session = heard(server)["result"]["structuredContent"]["session_id"]
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)

    async def main() -> None:
        async with process(assisted(tmp_path / "t.db")) as again:
            shown = await again("inspect", session_id=session, id="v1")
            assert shown["view"]["text"] == "x"

    asyncio.run(main())


@pytest.mark.requirement("clean-stdout")
def test_nothing_but_messages_is_written_to_stdout(tmp_path: Path) -> None:
    with spoken_to(tmp_path / "t.db") as server:
        for n in range(1, 4):
            say(server, id=n, method="tools/call", params={"name": "inspect", "arguments": {}})
            assert heard(server)["id"] == n
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.close()
        server.wait(timeout=10)
        assert server.stdout.read() == ""


DEEP = '{"a":' * 3000 + "1" + "}" * 3000
FIRST = '{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"id": "v3", "x": '
UNREADABLE = [
    FIRST + '"\\ud800"}}',
    FIRST + DEEP + "}}",
    '{"method": "ping", "params": {"id": "v3", "x": ' + DEEP + '}, "jsonrpc": "2.0", "id": 7}',
    FIRST + "9" * 20_000 + "}}",
    FIRST,
]


@pytest.mark.requirement("in-words")
@pytest.mark.parametrize("line", UNREADABLE)
def test_a_message_that_cannot_be_read_is_answered_and_the_next_is_served(
    tmp_path: Path, line: str
) -> None:
    """Otherwise its sender would wait for an answer until the client gives up."""
    with spoken_to(tmp_path / "t.db") as server:
        assert server.stdin is not None
        for odd in ("no JSON at all", "", "[]", '{"id": 8', '{"jsonrpc": "2.0"}'):
            print(odd, file=server.stdin)
        print(line, file=server.stdin, flush=True)
        answers = [heard(server)]
        if answers[0]["id"] == 8:  # '{"id": 8' may be taken for a request, too
            answers.append(heard(server))
        assert answers[-1]["id"] == 7
        assert answers[-1]["error"]["message"].startswith("This message cannot be read: ")
        say(server, id=9, method="resources/read", params={"uri": "textgrad://sessions/nobody"})
        assert heard(server)["error"]["data"]["next"]
