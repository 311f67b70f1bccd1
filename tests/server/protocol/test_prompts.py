"""Prompts: the ways of working, with every blank filled and every tool named as it is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, MCPError
from mcp_types import GetPromptResult, PromptReference, TextContent
from textgrad_mcp.engine.metrics import METRICS
from textgrad_mcp.server.protocol.app import build
from textgrad_mcp.server.protocol.prompts import ASK, PROMPTS, fill, optimize_prompt
from textgrad_mcp.server.protocol.tools import OFFERS

from ...helpers import Tools, assisted, drive
from ...tour import sums

NAMES = [function.__name__ for function, _ in PROMPTS]
CALLS = re.compile(r"\b([a-z]+(?:_[a-z]+)*)\(([^()]*)\)?")


def text_of(result: GetPromptResult) -> str:
    [message] = result.messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_without_arguments_asks_for_what_it_needs(tmp_path: Path, name: str) -> None:
    async def main(call: Tools) -> None:
        text = text_of(await call.client.get_prompt(name))
        assert ASK in text
        assert "needs_completions" in text
        assert not re.search(r"\{(text|goal|task|prompt|examples|metric|code|tests)\}", text)

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize("name", NAMES)
def test_every_call_in_a_prompt_is_a_tool_with_such_arguments(name: str) -> None:
    tools = {one.arguments.tool: one.arguments.model_fields for one in OFFERS}
    text = fill(name, {})
    called = CALLS.findall(text)
    assert called
    for tool, arguments in called:
        assert tool in tools, f"{tool} is no tool"
        for argument in re.findall(r"(?:^|, )([a-z_]+)=", arguments):
            assert argument in tools[tool], f"{tool} has no argument {argument}"
    mentioned = set(re.findall(r"\b[a-z]+_[a-z_]+\b", text)) & {"create_variable", "compute_loss"}
    assert mentioned <= set(tools)


def test_the_prompt_names_every_metric() -> None:
    text = fill("optimize_prompt", {})
    assert [metric for metric in METRICS if metric not in text] == []


@given(st.text(), st.text())
def test_braces_in_a_value_stay_as_they_are(prompt: str, task: str) -> None:
    filled = optimize_prompt(task=task or "x", prompt=prompt or "x")
    assert (task or "x") in filled
    assert (prompt or "x") in filled


def test_a_value_cannot_fill_another_blank() -> None:
    assert "{metric}" in optimize_prompt(task="{metric}", metric="numeric")


def test_a_wrong_name_or_argument_is_refused_with_the_nearest_right_one(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        with pytest.raises(MCPError, match="Did you mean 'improve_text'"):
            await call.client.get_prompt("improve_texts")
        with pytest.raises(MCPError, match="Did you mean 'goal'"):
            await call.client.get_prompt("improve_text", {"goals": "x"})

    drive(main, assisted(tmp_path / "t.db"))


def test_prompts_are_listed_in_a_stable_order_with_titles_and_described_arguments(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with Client(build(assisted(tmp_path / "t.db"))) as client:
            listed = (await client.list_prompts()).prompts
        assert [p.name for p in listed] == NAMES
        for prompt in listed:
            assert prompt.title
            assert prompt.description
            for argument in prompt.arguments or []:
                assert argument.description
                assert not argument.required

    asyncio.run(main())


def test_arguments_are_completed(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)

        async def complete(prompt: str, name: str, value: str) -> list[str]:
            reference = PromptReference(type="ref/prompt", name=prompt)
            result = await call.client.complete(reference, {"name": name, "value": value})
            return result.completion.values

        assert await complete("find_weak_link", "session_id", "tg_") == [s]
        assert await complete("optimize_prompt", "metric", "ex") == ["exact_match"]
        assert await complete("improve_text", "goal", "a") == []
        with pytest.raises(MCPError, match="nothing called 'no_such'"):
            await complete("no_such", "goal", "a")

    drive(main, assisted(tmp_path / "t.db"))
