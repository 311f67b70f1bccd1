"""A second user walks everything there is, and learns nothing: not that a session exists, not
that somebody works, not by an error's words and not by what the server does to find out."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types import (
    PromptReference,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
)
from textgrad_mcp.engine.runs import sweep
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.server.http.tokens import new_token
from textgrad_mcp.server.protocol import news
from textgrad_mcp.server.protocol.app import build

from ..helpers import Tools, an_engine, assisted
from ..tour import improved, judged, sums
from ..users import Mode, as_user, served, user

ROOT = "textgrad://sessions"
ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])
Say = Callable[[str, Awaitable[Any]], Awaitable[None]]


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


async def walk(client: Client, session: str, mode: Mode) -> list[str]:
    """Everything that can be said to a server about a session, and what came back."""
    said: list[str] = []

    async def say(what: str, asked: Awaitable[Any]) -> None:
        try:
            said.append(f"{what}: {await asked}")
        except MCPError as error:
            said.append(f"{what}: {error.code} {error.message} {error.data}")

    await _tools(client, session, say)
    await _resources(client, session, say)
    await _arguments(client, session, say)
    if mode == "legacy":
        for asked in (client.subscribe_resource, client.unsubscribe_resource):
            with pytest.warns(MCPDeprecationWarning):
                await say(asked.__name__, asked(f"{ROOT}/{session}/report"))
    else:
        async with client.listen(resource_subscriptions=[f"{ROOT}/{session}/report"]) as events:
            said.append(f"listen: {events.honored}")
    return said


async def _tools(client: Client, session: str, say: Say) -> None:
    for tool in (await client.list_tools()).tools:
        await say(tool.name, client.call_tool(tool.name, arguments_of(tool.name, session)))
    handed_in = {"session_id": session, "completions": {"c1": "mine"}}
    await say("hand in", client.call_tool("resume", handed_in))
    await say("cancel", client.call_tool("resume", {"session_id": session, "cancel": True}))
    for view in ("summary", "steps", "rows", "example", "calls", "call", "pending"):
        asked = {"session_id": session, "view": view, "args": {"loss": "v5", "id": "c1"}}
        await say(f"page {view}", client.call_tool("page_data", asked))
    await say("show", client.call_tool("show", {"session_id": session}))
    for what in ("graph", "variable", "steps", "examples", "runs", "calls", "call", "report"):
        asked = {"session_id": session, "what": what, "id": "v1"}
        await say(f"inspect {what}", client.call_tool("inspect", asked))
    await say("my sessions", client.call_tool("inspect", {}))


async def _resources(client: Client, session: str, say: Say) -> None:
    await say("list", client.list_resources())
    await say("root", client.read_resource(ROOT))
    templates = (await client.list_resource_templates()).resource_templates
    for template in templates:
        filled = template.uri_template.replace("{session_id}", session)
        uri = re.sub(r"\{(\w+)\}", lambda m: "v1" if m[1] == "variable" else "1", filled)
        await say(f"read {template.name}", client.read_resource(uri))
        for name in re.findall(r"\{(\w+)\}", template.uri_template):
            ref = ResourceTemplateReference(type="ref/resource", uri=template.uri_template)
            known = {"session_id": session, "variable": "v1"}
            known.pop(name, None)
            for typed in ("", session[:6]):
                asked = client.complete(ref, {"name": name, "value": typed}, known)
                await say(f"complete {template.name} {name}", asked)


async def _arguments(client: Client, session: str, say: Say) -> None:
    for prompt in (await client.list_prompts()).prompts:
        names = [argument.name for argument in prompt.arguments or []]
        filled = dict.fromkeys(names, session)
        await say(f"prompt {prompt.name}", client.get_prompt(prompt.name, filled))
        for name in names:
            ref = PromptReference(type="ref/prompt", name=prompt.name)
            asked = client.complete(ref, {"name": name, "value": session[:6]})
            await say(f"complete {prompt.name} {name}", asked)


async def secrets(client: Client) -> str:
    """A session with something in every part of it; gives its id."""
    call = Tools(client)
    s = await sums(call)
    await judged(call, s)
    await improved(call, s)
    await call("create_variable", session_id=s, role="secret role", value="secret value")
    return s


@pytest.mark.requirement("owners")
@ERAS
def test_a_second_user_gets_what_an_unknown_session_gets_whatever_is_asked(
    tmp_path: Path, mode: Mode
) -> None:
    tokens = tmp_path / "tokens.txt"
    alice, bob = new_token(tokens, "alice"), new_token(tokens, "bob")
    with served(assisted(tmp_path / "t.db"), tokens) as (url, _):
        session = as_user(url, alice, secrets, mode)
        unknown = session[:-4] + "AAAA"
        own = as_user(url, alice, lambda client: walk(client, session, mode), mode)
        foreign = as_user(url, bob, lambda client: walk(client, session, mode), mode)
        missing = as_user(url, bob, lambda client: walk(client, unknown, mode), mode)
    assert [line.replace(session, unknown) for line in foreign] == missing
    assert not re.search("secret|Be kind|alice", str(foreign))
    assert "secret" in str(own)
    same = [a for a, b in zip(own, foreign, strict=True) if a == b]
    alike = "complete|prompt|unsubscribe|optimize_prompt"  # the last is about no session
    assert all(re.match(alike, line) for line in same), same
    assert len(foreign) > 60


@pytest.mark.requirement("owners")
def test_to_find_out_about_a_foreign_session_the_database_is_asked_just_what_it_is_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    plain = sqlite3.connect

    def traced(*args: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = plain(*args, **more)
        connection.set_trace_callback(statements.append)
        return connection

    async def prepare() -> str:
        async with an_engine(path=tmp_path / "t.db") as engine:
            made = await engine.create_variable(Caller(owner="another"), role="r", value="secret")
        return str(made.session_id)

    async def asked_for(session: str) -> list[str]:
        async with Client(build(assisted(tmp_path / "t.db"))) as client:
            await client.call_tool("inspect", {})
            statements.clear()
            await walk(client, session, "auto")
        return [one.replace(session, "SESSION") for one in statements]

    foreign = asyncio.run(prepare())
    monkeypatch.setattr(sqlite3, "connect", traced)
    for module, pause in ((news, "LOOK_SECONDS"), (sweep, "IDLE_SECONDS")):
        monkeypatch.setattr(module, pause, 3600)  # what is asked at its own time
    found = asyncio.run(asked_for(foreign))
    assert found == asyncio.run(asked_for("tg_" + "A" * 22))
    assert sum("SESSION" in one for one in found) > 30
    assert not any(one.startswith(("INSERT", "UPDATE", "DELETE", "BEGIN I")) for one in found)


class Ears:
    """What an older client is told of changes, and when it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._news = asyncio.Condition()

    async def take(self, message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            async with self._news:
                self.heard.append(message.params.uri)
                self._news.notify_all()

    async def until(self, uri: str, seconds: float = 20) -> list[str]:
        """What was heard up to `uri`. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: uri in self.heard)
        return self.heard


async def begun(client: Client) -> str:
    made = await client.call_tool("create_variable", {"role": "r", "value": "x"})
    return str((made.structured_content or {})["session_id"])


async def busy(client: Client, session: str) -> None:
    """Change a session."""
    added = {"session_id": session, "role": "r", "value": "y"}
    assert not (await client.call_tool("create_variable", added)).is_error


async def listening(client: Client, ears: Ears, session: str) -> None:
    """Subscribe, and see that the stream is there: what is said before it opens is lost."""
    for uri in (ROOT, f"{ROOT}/{session}"):
        with pytest.warns(MCPDeprecationWarning):
            await client.subscribe_resource(uri)
    for _ in range(40):
        await busy(client, session)
        try:
            await ears.until(f"{ROOT}/{session}", 0.5)
        except TimeoutError:
            continue
        break
    ears.heard.clear()


@pytest.mark.requirement("owners")
def test_over_the_older_protocol_an_owner_hears_of_his_own_changes_alone(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    alice, bob = new_token(tokens, "alice"), new_token(tokens, "bob")

    async def main(url: str) -> None:
        hers, his = Ears(), Ears()
        async with (
            user(url, alice, "legacy", message_handler=hers.take) as a,
            user(url, bob, "legacy", message_handler=his.take) as b,
        ):
            s, t = await begun(a), await begun(b)
            await listening(a, hers, s)
            await listening(b, his, t)
            await begun(a)
            await busy(a, s)
            assert await hers.until(f"{ROOT}/{s}") == [ROOT, ROOT, f"{ROOT}/{s}"]
            await busy(b, t)
            assert await his.until(f"{ROOT}/{t}") == [ROOT, f"{ROOT}/{t}"]

    with served(assisted(tmp_path / "t.db"), tokens) as (url, _):
        asyncio.run(main(url))


@pytest.mark.requirement("owners")
def test_over_the_newer_protocol_an_owner_hears_of_his_own_changes_alone(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    alice, bob = new_token(tokens, "alice"), new_token(tokens, "bob")

    async def told(events: Any, last: str) -> list[str]:
        found: list[str] = []
        async with asyncio.timeout(20):
            async for event in events:
                found.append(getattr(event, "uri", type(event).__name__))
                if found[-1] == last:
                    return found
        return found

    async def main(url: str) -> None:
        async with user(url, alice) as a, user(url, bob) as b:
            s, t = await begun(a), await begun(b)
            asked = [ROOT, f"{ROOT}/{s}", f"{ROOT}/{t}"]
            async with (
                a.listen(resource_subscriptions=asked, resources_list_changed=True) as hers,
                b.listen(resource_subscriptions=asked, resources_list_changed=True) as his,
            ):
                assert his.honored.resource_subscriptions == [ROOT, f"{ROOT}/{t}"]
                await begun(a)
                await busy(a, s)
                seen = {"ResourcesListChanged", ROOT, f"{ROOT}/{s}"}
                assert set(await told(hers, f"{ROOT}/{s}")) == seen
                await busy(b, t)
                assert await told(his, f"{ROOT}/{t}") == [ROOT, f"{ROOT}/{t}"]

    with served(assisted(tmp_path / "t.db"), tokens) as (url, _):
        asyncio.run(main(url))


@pytest.mark.requirement("owners")
def test_the_id_of_anothers_connection_is_worth_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    alice, bob = new_token(tokens, "alice"), new_token(tokens, "bob")
    accept = {"Accept": "application/json, text/event-stream"}
    hello = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with (
        served(assisted(tmp_path / "t.db"), tokens) as (url, _),
        httpx2.Client(base_url=url, timeout=20) as http,
    ):

        def said(token: str, method: str, connection: str | None) -> tuple[int, str, str]:
            headers = accept | {"Authorization": f"Bearer {token}"}
            if connection is not None:
                headers |= {"Mcp-Session-Id": connection, "MCP-Protocol-Version": "2025-11-25"}
            body = ping if connection else hello
            more: dict[str, Any] = {"json": body} if method == "POST" else {}
            answer = http.request(method, "/mcp", headers=headers, **more)
            return answer.status_code, answer.text, answer.headers.get("mcp-session-id", "")

        *_, connection = said(alice, "POST", None)
        for method in ("POST", "GET", "DELETE"):
            foreign = said(bob, method, connection)
            assert foreign == said(bob, method, "f" * 32)
            assert foreign[0] == 404
        assert said(alice, "POST", connection)[0] == 200
