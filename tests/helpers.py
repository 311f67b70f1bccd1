"""What several tests share: an engine over a scripted answerer, and a checking client."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent
from textgrad_mcp.engine.answerers import Answerer, Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.store.connection import Fault
from textgrad_mcp.engine.store.dbapi import Connection
from textgrad_mcp.engine.store.graph import invalidate
from textgrad_mcp.schemas.completions import Completion, CompletionRequest
from textgrad_mcp.schemas.database import Location
from textgrad_mcp.schemas.graph import number
from textgrad_mcp.schemas.results import Result
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.protocol.app import build

from .standin import StandIn

Facts = dict[str, Any]
MEMORY = Path(":memory:")
ME = Caller()


def own_environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take away what of the user's own environment and folders a command would heed."""
    for name in list(os.environ):
        if name.startswith(("TEXTGRAD_MCP_", "OPENAI_", "OTEL_")) or name.endswith("_COLOR"):
            monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(folder / name))


def printed_by(code: str) -> str:
    """What `code` prints, without the white space around it, in a Python process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def plain_reply(request: CompletionRequest) -> str:
    """A short stable answer, in the form that was asked for."""
    if request.reply is None:
        return f"answer {request.key[:6]}"
    numbers: dict[str, Any] = {"score": 0.5}
    keys = request.reply["properties"]
    return json.dumps({k: numbers.get(k, f"{k} could be better {request.key[:6]}") for k in keys})


async def behind_its_back(store: Store, session: int, variable: str, text: str) -> None:
    """Give a variable a text although a run is under way, which no verb of the store allows."""

    def job(db: Connection) -> None:
        n = number(variable, "v") or 0
        sql = "UPDATE variables SET value = ?, version = version + 1 WHERE session = ? AND n = ?"
        db.execute(sql, (text, session, n))
        db.execute(
            "INSERT INTO versions SELECT session, n, version, value, 'edit', NULL, '' "
            "FROM variables WHERE session = ? AND n = ?",
            (session, n),
        )
        invalidate(db, session, [n])

    await store.db.write(job)


class Scripted:
    """An answerer in this process: `reply` writes each completion, `asked` keeps the requests."""

    name = "scripted"
    model = "m"

    def __init__(self, reply: Callable[[CompletionRequest], str] = plain_reply) -> None:
        self.reply = reply
        self.asked: list[CompletionRequest] = []

    @property
    def params(self) -> dict[str, object]:
        """None."""
        return {}

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """The scripted reply."""
        go()
        self.asked.append(request)
        return Completion(text=self.reply(request), model=self.model)

    async def close(self) -> None:
        """Nothing to let go of."""


@asynccontextmanager
async def an_engine(
    answerer: Answerer | None = None,
    path: Path = MEMORY,
    *,
    backward: Answerer | None = None,
    fault: Fault | None = None,
    **settings: Any,
) -> AsyncIterator[Engine]:
    """An open engine; `backward` answers the backward role, `answerer` the rest."""
    store = Store(path, fault)
    await store.open()
    forward = answerer or Scripted()
    engine = Engine(
        Settings(**settings), store, {"forward": forward, "backward": backward or forward}
    )
    try:
        yield engine
    finally:
        await engine.close()


def made(result: Result) -> str:
    """The id of the variable that a call made."""
    variable = getattr(result, "variable", None)
    assert isinstance(variable, str), result
    return variable


def endpoint(server: StandIn, **fields: Any) -> RoleSettings:
    """A role that the stand-in serves."""
    given: dict[str, Any] = {"model": "m", "timeout": 20.0, "retries": 0} | fields
    return RoleSettings(answerer="openai", base_url=server.url, **given)


def served_by(server: StandIn, path: Location, **fields: Any) -> Settings:
    """Settings in which the stand-in answers everything."""
    role = endpoint(server)
    return Settings(database=path, forward=role, backward=role, **fields)


def assisted(path: Location = MEMORY, **fields: Any) -> Settings:
    """Settings in which the calling assistant answers everything."""
    role = RoleSettings(answerer="assistant")
    return Settings(database=path, forward=role, backward=role, **fields)


class Tools:
    """A client that calls tools. Every result it gets must say the same in words as in JSON."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, **arguments: Any) -> Facts:
        """The structured content of a call that did not fail."""
        result = await self.raw(tool, arguments)
        assert not result.is_error, text_of(result)
        return dict(result.structured_content or {})

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The words of a call that failed; there must be a next step in them."""
        result = await self.raw(tool, arguments)
        assert result.is_error, text_of(result)
        facts = result.structured_content or {}
        assert facts["status"] == "failed", facts
        assert facts["error"], facts
        assert facts["next"], facts
        return text_of(result)

    async def raw(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Whatever came back, with its text checked against its structured content."""
        result = await self.called(tool, arguments)
        text = text_of(result)
        facts = result.structured_content or {}
        for fact in scalars({k: v for k, v in facts.items() if v != "failed"}):
            for line in fact.split("\n"):
                assert line in text, f"{line!r} is not in the text of {tool}:\n{text}"
        return result

    async def called(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """The client's call as such."""
        return await self.client.call_tool(tool, dict(arguments))


def text_of(result: CallToolResult) -> str:
    """What a client without structured content would see."""
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


def scalars(value: Any) -> Iterator[str]:
    """Every scalar in a JSON value, as words."""
    if isinstance(value, dict):
        for item in value.values():
            yield from scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item)
    elif isinstance(value, bool):
        yield str(value).lower()
    else:
        yield str(value)


@asynccontextmanager
async def tools(
    settings: Settings, mode: Literal["legacy", "auto"] = "auto"
) -> AsyncIterator[Tools]:
    """The real server in memory, and a client of it."""
    try:
        async with Client(build(settings), mode=mode) as client:
            yield Tools(client)
    except BaseExceptionGroup as group:
        raise _innermost(group) from None


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def drive(
    main: Callable[[Tools], Awaitable[None]],
    settings: Settings,
    mode: Literal["legacy", "auto"] = "auto",
) -> None:
    """Run `main` with a client of a server in memory."""

    async def run() -> None:
        async with tools(settings, mode) as call:
            await main(call)

    asyncio.run(run())


SERVE = """
{first}
import os, pathlib, sys
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.app import serve_stdio
pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
serve_stdio(Settings.model_validate_json(sys.argv[1]))
"""


def command(settings: Settings, pid_file: Path, first: str = "") -> list[str]:
    """The command of a server process with these settings; it runs the code `first` before all."""
    spoken = settings.model_dump_json(exclude_defaults=True)
    return [sys.executable, "-c", SERVE.format(first=first), spoken, str(pid_file)]


class Process(Tools):
    """A server in a process of its own, over stdio."""

    def __init__(self, client: Client, pid_file: Path) -> None:
        super().__init__(client)
        self._pid_file = pid_file

    @property
    def pid(self) -> int:
        """The process's id."""
        return int(self._pid_file.read_text())

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        os.kill(self.pid, signal.SIGKILL)


@asynccontextmanager
async def process(settings: Settings, first: str = "") -> AsyncIterator[Process]:
    """A real server process, which runs the code `first` before all, and a client of it."""
    near = settings.database if isinstance(settings.database, Path) else Path(mkdtemp()) / "x"
    pid_file = near.with_name(f"pid-{secrets.token_hex(4)}")
    program, *args = command(settings, pid_file, first)
    started = StdioServerParameters(command=program, args=args, env=dict(os.environ))
    async with Client(started) as client:
        yield Process(client, pid_file)


async def answered(call: Tools, result: Facts, reply: Callable[[Facts], Any]) -> Facts:
    """Answer what is pending with `reply`, round by round, until there is something else."""
    while result["status"] == "needs_completions":
        given = {p["id"]: reply(p) for p in result["pending"]}
        result = await call("resume", session_id=result["session_id"], completions=given)
    return result
