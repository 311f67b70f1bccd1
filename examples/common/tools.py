"""The real server as a process of its own, and its tools as calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters

Facts = dict[str, Any]
Answer = Callable[[list[Facts]], Awaitable[dict[str, Any]]]
"""Gives completions for pending prompts, by their ids."""
LOOP: Facts = {
    "strategy": "reflect",
    "parents": "best",
    "batch_size": 4,
    "goal": 1.0,
    "together": True,
}
"""What `optimize` is told beside steps: said in full, so that a run does not depend on defaults."""
COMMAND = str(Path(sys.executable).with_name("textgrad-mcp"))


class Failed(Exception):
    """A tool call came to nothing; the text is the server's own, with what to do."""


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What the server's process is told: this process's environment, and `more`."""
    return {**os.environ, **more}


def command_line(*arguments: str, env: Mapping[str, str]) -> str:
    """What `textgrad-mcp` with these arguments prints. Raises Failed."""
    done = subprocess.run(
        [COMMAND, *arguments], env=dict(env), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(done.stderr.strip())
    return done.stdout


@asynccontextmanager
async def serving(
    env: Mapping[str, str], answer: Answer | None, sessions: dict[str, str]
) -> AsyncIterator[Tools]:
    """The tools of a server that runs until the block ends; `sessions` gets their ids by name."""
    server = StdioServerParameters(command=COMMAND, args=[], env=dict(env))
    async with Client(server) as client:
        yield Tools(client, answer, sessions)


class Tools:
    """Calls tools of one session at a time, waits for long ones, hands in what is asked for."""

    def __init__(self, client: Client, answer: Answer | None, sessions: dict[str, str]) -> None:
        self.session = self.name = ""
        self.sessions = sessions
        self._client = client
        self._answer = answer
        self._began = time.monotonic()
        self._told = ""

    def another(self) -> Tools:
        """Tools for a session at the same time, which the same record will know."""
        other = copy(self)
        other.session = other.name = ""
        return other

    def begin(self, name: str) -> None:
        """From now on calls belong to a new session, which the record will know by `name`."""
        self.session = ""
        self.name = name

    async def __call__(self, tool: str, **arguments: Any) -> Facts:
        """The structured result of a call that is done. Raises Failed."""
        found = await self._once(tool, **arguments)
        while found["status"] in ("running", "needs_completions"):
            more: Facts = {}
            if found["status"] == "needs_completions":
                more["completions"] = await self._completions(found)
            found = await self._once("resume", **more)
        if found["status"] != "done":
            raise Failed(f"{tool}: {found.get('error')} {found.get('next', '')}")
        return found

    async def text(self, variable: str) -> str:
        """A variable's whole text: results of other tools show its beginning only."""
        whole = ""
        while True:
            view: Facts = (await self("inspect", id=variable, offset=len(whole)))["view"]
            whole += str(view["text"])
            if not view.get("rest"):
                return whole

    async def _completions(self, found: Facts) -> dict[str, Any]:
        if self._answer is None:
            raise Failed("The server wants completions, and nobody is there to write them.")
        return await self._answer(found["pending"])

    async def _once(self, tool: str, **arguments: Any) -> Facts:
        if self.session:
            arguments["session_id"] = self.session
        result = await self._client.call_tool(tool, arguments, progress_callback=self._progress)
        found = dict(result.structured_content or {})
        if "status" not in found:
            raise Failed(f"{tool}: {result.content}")
        if not self.session and "session_id" in found:
            self.session = found["session_id"]
            self.sessions[self.name] = self.session
        return found

    def say(self, line: str) -> None:
        """A line of what happens, with the time."""
        print(f"[{time.monotonic() - self._began:5.0f} s] {line}", file=sys.stderr, flush=True)

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        if message and message != self._told:
            self._told = message
            self.say(f"  {message}")


def exported(session: str, env: Mapping[str, str]) -> Facts:
    """A session as the command line exports it, its ledger included."""
    found: Facts = json.loads(command_line("sessions", "export", session, env=env))
    return found
