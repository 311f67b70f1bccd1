"""Whatever fails, and wherever: its caller reads what went wrong and what to do."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.shared.exceptions import MCPError
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.tools.inspect import Inspect
from textgrad_mcp.schemas.arguments.optimize import OptimizeArguments
from textgrad_mcp.schemas.errors import BadInput, TextGradError
from textgrad_mcp.schemas.text import DEEPEST, DIGITS, unusable
from textgrad_mcp.server.protocol import resource_views as views
from textgrad_mcp.server.protocol.app import build
from textgrad_mcp.server.protocol.subscriptions import URI_CHARS

from ...helpers import MEMORY, Tools, assisted, drive
from ...users import served
from ..http.test_connections import META, NEWER

Work = Callable[[Client], Awaitable[object]]
ID = re.compile(r"\(error ([0-9a-f]{8})\)")
TOO_DEEP = '[{"a": ' + "[" * 3000 + "]" * 3000 + "}]"


def deep(levels: int, inner: Any = 1) -> Any:
    """A value so many lists deep."""
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.requirement("in-words")
@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("inspect", {"offset": 2**63}, "offset"),
        ("inspect", {"what": "steps", "offset": 10**30}, "offset"),
        ("inspect", {"what": "graph", "offset": -1}, "offset must be 0 or more"),
        ("inspect", {"id": "v" + "9" * 5000}, "no variable"),
        ("inspect", {"id": "v1@" + "9" * 5000}, "no version"),
        ("revert", {"variable": "v1", "version": 2**70}, "version"),
        ("revert", {"variable": "v1", "version": "9" * 5000}, "no version"),
        ("revert", {"variable": "v1", "version": -1}, "no version"),
        ("revert", {"variable": "v1", "version": 0}, "no version"),
        ("step", {"memory": 2**64}, "memory"),
        ("optimize", {"seed": 2**64}, "seed"),
        ("optimize", {"steps": 10**20}, "steps"),
        ("compute_loss", {"kind": "sum", "inputs": {}, "weights": {"a": 10**400}}, "weights"),
        ("add_examples", {"split": "train", "examples": "[" * 100_000}, "nested too deeply"),
        ("add_examples", {"split": "train", "examples": '{"a":' * 100_000}, "nested too deeply"),
        ("add_examples", {"split": "train", "examples": TOO_DEEP}, "too deeply"),
        ("add_examples", {"split": "train", "examples": [{"a": 10**5000}]}, "too many digits"),
        ("create_variable", {"role": "r", "value": "a\0b"}, "holds a NUL"),
        ("resume", {"completions": {"c1": deep(DEEPEST)}}, "levels deep"),
        ("x" * 100_000, {}, "There is no tool"),
        ("inspect", {"y" * 100_000: 1}, "is no argument"),
    ],
)
def test_odd_numbers_and_shapes_are_refused_in_words(
    tool: str, arguments: dict[str, Any], words: str
) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        found = await call.called(tool, {"session_id": s} | arguments)
        said = found.structured_content or {}
        assert said.keys() == {"status", "error", "next"}
        assert words in said["error"]
        assert said["next"] not in said["error"]
        assert not ID.search(said["error"])

    drive(main, assisted())


@pytest.mark.requirement("in-words")
@given(st.integers(0, 300), st.integers(0, 1300))
@settings(max_examples=50, deadline=None, database=None)
def test_how_deep_and_how_long_a_value_may_be(levels: int, digits: int) -> None:
    assert bool(unusable(deep(levels))) == (levels >= DEEPEST)
    assert bool(unusable([-(10**digits)])) == (digits >= DIGITS)
    nested: Any = {"a": 1}
    for _ in range(levels):
        nested = {"a": [nested]}
    assert bool(unusable(nested)) == (2 * levels + 1 >= DEEPEST)
    if not unusable(nested):
        assert json.loads(json.dumps(nested)) == nested


def broken(*_: object, **__: object) -> Any:
    """A fault that nobody foresaw."""
    raise KeyError("a secret of the code")


def of_a_resource(uri: str) -> Work:
    """Read it."""
    return lambda client: client.read_resource(uri)


async def of_a_run(client: Client) -> None:
    """Begin a run that crashes."""
    made = await client.call_tool("create_variable", {"role": "r", "value": "x"})
    session = (made.structured_content or {})["session_id"]
    judge = {"kind": "judge", "inputs": {"x": "v1"}, "instruction": "Good?"}
    found = await client.call_tool("compute_loss", {"session_id": session} | judge)
    raise TextGradError((found.structured_content or {})["error"], "")


async def of_a_tool(client: Client) -> None:
    """Call a tool that crashes."""
    found = await client.call_tool("inspect", {})
    facts = found.structured_content or {}
    assert found.is_error
    assert facts["next"]
    raise TextGradError(facts["error"], "")


@pytest.mark.requirement("in-words")
@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("where", "name", "work"),
    [
        (Inspect, "__call__", of_a_tool),
        (Engine, "judged_by", of_a_run),
        (views, "sessions", of_a_resource("textgrad://sessions")),
    ],
)
def test_a_crash_is_told_by_an_id_that_the_log_has(
    mode: Any,
    where: Any,
    name: str,
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if name == "judged_by":
        monkeypatch.setattr("textgrad_mcp.engine.program.operations.judge.text", broken)
    else:
        monkeypatch.setattr(where, name, broken)

    async def main() -> str:
        async with Client(build(assisted(MEMORY)), mode=mode) as client:
            try:
                await work(client)
            except (MCPError, TextGradError) as error:
                return error.message
        raise AssertionError("nothing failed")

    with caplog.at_level(logging.ERROR):
        said = asyncio.run(main())
    found = ID.search(said)
    assert found is not None, said
    assert "secret" not in said
    assert found[1] in caplog.text
    assert "KeyError: 'a secret of the code'" in caplog.text


@pytest.mark.requirement("in-words")
def test_errors_of_the_protocol_hold_error_and_next_apart(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        with pytest.raises(MCPError) as refused:
            await call.client.read_resource("textgrad://sessions/tg_unknown")
        data = refused.value.error.data
        assert data["uri"] == "textgrad://sessions/tg_unknown"
        assert refused.value.message == f"{data['error']} {data['next']}"
        assert data["next"]

    drive(main, assisted(tmp_path / "t.db"))


ODD = ['"\\ud800"', '"a\\u0000"', "9" * 4000, "NaN", "1e999", "[" * 150 + "]" * 150, "null", "1.5"]
VALUE = '{"name": "create_variable", "arguments": {"role": "r", "value": @@}}'
BUDGET = '{"name": "optimize", "arguments": {"session_id": "x", "budget": {"calls": @@}}}'
METRIC = '{"ref": {"type": "ref/prompt", "name": "optimize_prompt"}, "argument": {"name": "metric",'
FORMS = [
    ("resources/read", "", '{"uri": @@}'),
    ("resources/list", "", '{"cursor": @@}'),
    ("prompts/get", "improve_text", '{"name": "improve_text", "arguments": {"text": @@}}'),
    ("completion/complete", "", METRIC + ' "value": @@}}'),
    ("subscriptions/listen", "", '{"notifications": @@}'),
    ("tools/call", "create_variable", VALUE),
    ("tools/call", "optimize", BUDGET),
]
QUIET = ("Traceback", "Internal server error", "Error executing", "Invalid request parameters")


@pytest.mark.requirement("in-words")
def test_no_request_over_http_fails_without_words(tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    with (
        served(assisted(tmp_path / "t.db"), errors=log) as (url, _),
        httpx2.Client(base_url=url, headers=NEWER) as http,
    ):
        for method, name, form in FORMS:
            for odd in ODD:
                params = f'{form.replace("@@", odd)[:-1]}, "_meta": {json.dumps(META)}}}'
                body = f'{{"jsonrpc": "2.0", "id": 1, "method": "{method}", "params": {params}}}'
                headers = {"Mcp-Method": method, "Mcp-Name": name}
                said = http.post("/mcp", content=body.encode(), headers=headers).text
                assert not any(words in said for words in QUIET), (method, odd, said)
                assert not ID.search(said), (method, odd, said)
                if name == "optimize" and odd in ("NaN", "1e999"):
                    assert "budget holds NaN or Infinity" in said
    assert log.read_text() == ""


@pytest.mark.requirement("in-words")
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_wherever_one_is_wanted(odd: float) -> None:
    """No client of the SDK sends such a thing, but JSON as others write it can."""
    assert unusable([{"a": odd}]) == "holds NaN or Infinity, which are no numbers in JSON"
    with pytest.raises(BadInput, match="budget cannot have"):
        OptimizeArguments.check({"budget": {"calls": odd}})
    with pytest.raises(BadInput, match="finite number"):
        OptimizeArguments.of({"session_id": "tg_x", "budget": {"calls": odd}})


@pytest.mark.requirement("in-words")
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(rest=st.text(max_size=60), n=st.integers(0, URI_CHARS * 2))
def test_no_address_crashes(tmp_path: Path, rest: str, n: int) -> None:
    async def main(call: Tools) -> None:
        for uri in (f"textgrad://{rest}", f"textgrad://sessions/{rest}", "textgrad://" + "x" * n):
            with pytest.raises((MCPError, ValueError)) as refused:
                await call.client.read_resource(uri)
            assert not ID.search(str(refused.value))

    drive(main, assisted())
