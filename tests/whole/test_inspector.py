"""The official Inspector's command line lists and calls every tool, a new process for each call."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp_types import CallToolResult

from .. import npm
from ..helpers import Facts, Tools, assisted
from ..tour import TOOLS, tour
from ..users import served

pytestmark = npm.needs_clients
ERAS = ["legacy", "modern"]
REVISION = {"legacy": "2025-11-25", "modern": "2026-07-28"}
OK, TOOL_ERROR = 0, 5
"""What the Inspector exits with."""


class Inspector(Tools):
    """A client that starts the Inspector anew for everything it does."""

    def __init__(self, server: Sequence[str], era: str, home: Path) -> None:
        self._server, self._era, self._home = server, era, home
        self.used: set[str] = set()

    def does(self, method: str, *options: str, code: int = OK) -> Facts:
        """What a method gives, which must end with this exit code and without a warning."""
        args = ["--cli", "--quiet", "--format", "json", "--protocol-era", self._era]
        args += ["--method", method, *options, *self._server]
        done = npm.run("mcp-inspector", args, home=self._home)
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stderr == "" or code, done.stderr
        result: Facts = json.loads(done.stdout)["result"]
        return result

    async def called(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """The result of a tool that does not fail."""
        self.used.add(tool)
        return CallToolResult.model_validate(self._called(tool, arguments))

    def _called(self, tool: str, arguments: Mapping[str, Any], code: int = OK) -> Facts:
        given = ["--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
        return self.does("tools/call", *given, code=code)

    def refusal_of(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """The words of a tool that fails."""
        words: str = self._called(tool, arguments, TOOL_ERROR)["content"][0]["text"]
        return words


def over_stdio(era: str, folder: Path) -> Inspector:
    """The Inspector, which starts the installed command for everything it does."""
    given = {"PYTHONPATH": os.environ.get("PYTHONPATH"), "TEXTGRAD_MCP_DATABASE": folder / "t.db"}
    env = [word for name, value in given.items() if value for word in ("-e", f"{name}={value}")]
    return Inspector([*env, sys.executable, "-m", "textgrad_mcp.server.cli"], era, folder)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that these tests share over HTTP."""
    with served(assisted(tmp_path_factory.mktemp("served") / "t.db")) as (url, _):
        yield f"{url}/mcp"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("era", ERAS)
def test_every_tool_works_in_an_optimisation(address: str, tmp_path: Path, era: str) -> None:
    inspector = Inspector([address], era, tmp_path)
    asyncio.run(tour(inspector))
    assert inspector.used == TOOLS


@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_finds_no_fault_in_the_schemas_of_the_tools(tmp_path: Path, era: str) -> None:
    inspector = over_stdio(era, tmp_path)
    tools = inspector.does("tools/list", "--strict")["tools"]
    assert {tool["name"] for tool in tools} == TOOLS | {"show"}


@pytest.mark.parametrize("era", ERAS)
def test_what_one_process_made_the_next_one_shows(tmp_path: Path, era: str) -> None:
    inspector = over_stdio(era, tmp_path)
    made = asyncio.run(inspector("create_variable", role="a prompt", value="Be kind."))
    shown = asyncio.run(inspector("inspect", session_id=made["session_id"], id="v1"))
    assert shown["view"]["text"] == "Be kind."


@pytest.mark.parametrize("era", ERAS)
def test_prompts_and_templates_are_listed_in_the_era_that_was_asked_for(
    address: str, tmp_path: Path, era: str
) -> None:
    inspector = Inspector([address], era, tmp_path)
    assert inspector.does("initialize")["protocolVersion"] == REVISION[era]
    assert len(inspector.does("resources/templates/list")["resourceTemplates"]) >= 11
    prompts = [prompt["name"] for prompt in inspector.does("prompts/list")["prompts"]]
    assert len(prompts) == 6
    [message] = inspector.does("prompts/get", "--prompt-name", prompts[0])["messages"]
    assert message["content"]["text"]


@pytest.mark.parametrize("era", ERAS)
def test_a_session_can_be_listed_and_its_report_read(
    address: str, tmp_path: Path, era: str
) -> None:
    inspector = Inspector([address], era, tmp_path)
    made = asyncio.run(inspector("create_variable", role="a prompt", value="Be kind."))
    session = f"textgrad://sessions/{made['session_id']}"
    listed = [one["uri"] for one in inspector.does("resources/list")["resources"]]
    assert f"{session}/report" in listed
    [report] = inspector.does("resources/read", "--uri", f"{session}/report")["contents"]
    assert "a prompt" in report["text"]


@pytest.mark.parametrize("era", ERAS)
def test_a_misspelt_argument_is_refused_with_the_right_name(
    address: str, tmp_path: Path, era: str
) -> None:
    inspector = Inspector([address], era, tmp_path)
    said = inspector.refusal_of("create_variable", {"role": "a prompt", "valeu": "x"})
    assert "Did you mean 'value'?" in said
