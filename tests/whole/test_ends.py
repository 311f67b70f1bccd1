"""How processes and connections end in the middle of a call, in both eras of the protocol: soon,
and so that nothing that was answered is asked again."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.http.tokens import new_token

from ..helpers import Facts, Tools, drive, served_by
from ..server.protocol.test_stdio import HELLO, heard, say
from ..standin import Body, Fault, StandIn
from ..users import Mode, served, user

ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])
WIDE = 6
ANSWERED = 2
PATIENCE = 15
"""Seconds in which a process must be gone."""


class Stuck:
    """Answers the first requests and lets the rest hang, until it is let go."""

    def __init__(self) -> None:
        self.stuck = True

    def __call__(self, index: int, body: Body) -> Fault | None:
        return Fault(hang=True) if self.stuck and index > ANSWERED else None


@contextmanager
def endpoint() -> Iterator[tuple[StandIn, Stuck]]:
    stuck = Stuck()
    with StandIn(faults=stuck) as server:
        yield server, stuck


async def fan(call: Tools) -> Facts:
    """A program of WIDE calls, not computed yet: the arguments of its forward."""
    s = (await call("create_variable", role="prompt", value="Be brief."))["session_id"]
    await call("create_variable", session_id=s, role="q", example_field="q")
    rows = [{"q": f"question {n}"} for n in range(WIDE)]
    await call("add_examples", session_id=s, split="train", examples=rows)
    return {"session_id": s, "operation": "llm", "system": "v1", "inputs": {"q": "v2"}}


def prepared(settings: Settings) -> Facts:
    """The same, made in a process that is over."""
    made: list[Facts] = []

    async def main(call: Tools) -> None:
        made.append(await fan(call))

    drive(main, settings)
    return made[0]


def answered(path: Path) -> int:
    """How many replies are on disk."""
    with closing(sqlite3.connect(path)) as db:
        [[count]] = db.execute("SELECT count(*) FROM calls WHERE status = 'answered'").fetchall()
    return int(count)


def under_way(server: StandIn, path: Path) -> None:
    """Wait until every call is asked and the good replies are recorded."""
    server.wait_for(lambda it: len(it.log) == WIDE, 20)
    deadline = time.monotonic() + 20
    while answered(path) < ANSWERED:
        assert time.monotonic() < deadline, "the replies were not recorded"


async def finished(call: Tools, server: StandIn, stuck: Stuck, session: str) -> None:
    """Go on with the run: only what was missing is asked."""
    stuck.stuck = False
    assert len(server.log) == WIDE
    assert (await call("resume", session_id=session))["status"] == "done"
    assert len(server.log) == WIDE + (WIDE - ANSWERED)


class Line:
    """A server process that is spoken to line by line, in one era of the protocol."""

    def __init__(self, settings: Settings, folder: Path, mode: str) -> None:
        role, config = settings.forward, folder / "config.toml"
        config.write_text(
            f'database = "{settings.database}"\n[both]\nanswerer = "openai"\nmodel = "m"\n'
            f'base_url = "{role.base_url}"\n'
        )
        command = [sys.executable, "-m", "textgrad_mcp.server.cli", "--config", str(config)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.said = folder / "stderr"
        with self.said.open("w") as stderr:
            self.process = subprocess.Popen(command, text=True, stderr=stderr, **pipes)
        self._meta = {
            PROTOCOL_VERSION_META_KEY: "2026-07-28",
            CLIENT_INFO_META_KEY: {"name": "test", "version": "1"},
            CLIENT_CAPABILITIES_META_KEY: {},
        }
        if mode == "legacy":
            self._meta = {}
            say(self.process, id=0, method="initialize", params=HELLO)
            assert "result" in heard(self.process)
            say(self.process, method="notifications/initialized")

    def call(self, tool: str, arguments: Facts) -> None:
        """Call a tool without waiting for it."""
        params = {"name": tool, "arguments": arguments, "_meta": self._meta}
        say(self.process, id=1, method="tools/call", params=params)


def hang_up(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


ENDS: dict[str, tuple[Callable[[subprocess.Popen[str]], None], tuple[int, ...]]] = {
    "stdin closed": (hang_up, (0,)),
    "SIGTERM": (lambda it: it.send_signal(signal.SIGTERM), (143,)),
    "SIGINT": (lambda it: it.send_signal(signal.SIGINT), (130,)),
}


@pytest.mark.requirement("ends")
@pytest.mark.parametrize(
    ("how", "mode"),
    [
        ("stdin closed", "legacy"),
        ("stdin closed", "auto"),
        ("SIGTERM", "auto"),
        ("SIGINT", "legacy"),
    ],
)
def test_a_stdio_server_that_ends_in_the_middle_of_a_call_leaves_a_run_to_go_on_with(
    tmp_path: Path, how: str, mode: Mode
) -> None:
    end, codes = ENDS[how]
    with endpoint() as (server, stuck):
        settings = served_by(server, tmp_path / "t.db")
        arguments = prepared(settings)
        line = Line(settings, tmp_path, mode)
        with line.process as process:
            try:
                line.call("forward", arguments)
                under_way(server, tmp_path / "t.db")
                end(process)
                assert process.wait(PATIENCE) in codes
            finally:
                process.kill()
        assert "Traceback" not in line.said.read_text()

        async def main(call: Tools) -> None:
            await finished(call, server, stuck, arguments["session_id"])

        drive(main, settings)


@pytest.mark.requirement("ends")
@ERAS
def test_an_http_server_that_is_told_to_end_says_so_to_who_waits_and_leaves_a_run(
    tmp_path: Path, mode: Mode
) -> None:
    with endpoint() as (server, stuck):
        settings = served_by(server, tmp_path / "t.db")
        arguments = prepared(settings)
        errors = tmp_path / "stderr"

        async def main(url: str, pid: int) -> Facts:
            async with user(url, "nobody asks", mode) as client:
                call = asyncio.create_task(client.call_tool("forward", arguments))
                await asyncio.to_thread(under_way, server, tmp_path / "t.db")
                os.kill(pid, signal.SIGTERM)
                return dict((await call).structured_content or {})

        with served(settings, errors=errors) as (url, process):
            told = asyncio.run(main(url, process.pid))
            assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
        assert told["error"] == "This server is ending."
        assert "Make the same call again; what was answered is kept." in told["next"]
        assert "Traceback" not in errors.read_text()

        async def again(call: Tools) -> None:
            await finished(call, server, stuck, arguments["session_id"])

        drive(again, settings)


@pytest.mark.requirement("cancelled")
@ERAS
def test_a_client_that_is_gone_in_the_middle_of_a_call_loses_nothing(
    tmp_path: Path, mode: Mode
) -> None:
    tokens = tmp_path / "tokens.txt"
    token = new_token(tokens, "alice")
    with endpoint() as (server, stuck):
        settings = served_by(server, tmp_path / "t.db")
        slow = settings.forward.model_copy(update={"timeout": 3.0, "retries": 2})
        settings = settings.model_copy(update={"forward": slow})

        async def main(url: str) -> None:
            async with user(url, token, mode) as client:
                arguments = await fan(Tools(client))
                call = asyncio.create_task(client.call_tool("forward", arguments))
                await asyncio.to_thread(under_way, server, tmp_path / "t.db")
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            stuck.stuck = False
            async with user(url, token, mode) as client:
                done = await Tools(client)("resume", session_id=arguments["session_id"])
                assert done["status"] == "done"
            assert len(server.log) == WIDE + (WIDE - ANSWERED)

        with served(settings, tokens) as (url, _):
            asyncio.run(main(url))
