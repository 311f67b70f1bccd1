"""Our side of each shape: the program built and stepped with the MCP tools, in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tasks
from mcp import Client
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.protocol.app import build


def settings(url: str, database: Path, **changes: Any) -> Settings:
    """An endpoint for both roles, and defaults otherwise."""
    role = RoleSettings(answerer="openai", base_url=url, model="stand-in", api_key=None)
    return Settings(database=database, forward=role, backward=role, **changes)


class Tools:
    """A client that unpacks results and raises on errors."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured result of one call, waited for if it goes on in the background."""
        result = await self._client.call_tool(tool, arguments)
        found = result.structured_content or {}
        while found.get("status") == "running":
            session = {"session_id": found["session_id"]}
            result = await self._client.call_tool("resume", session)
            found = result.structured_content or {}
        if result.is_error or found.get("status") != "done":
            raise RuntimeError(f"{tool}: {result.content}")
        return found


def connect(url: str, database: Path, **changes: Any) -> Client:
    """A client of a server in this process."""
    return Client(build(settings(url, database, **changes)))


async def start(call: Tools, shape: str, size: int) -> str:
    """A session with the shape's program and examples; nothing is computed yet on examples."""
    if shape == "diamond":
        return await _diamond(call)
    made = await call("create_variable", role="system prompt", value=_text(tasks.SYSTEM))
    session: str = made["session_id"]

    async def add(tool: str, **arguments: Any) -> str:
        result: str = (await call(tool, session_id=session, **arguments))["variable"]
        return result

    question = await add("create_variable", role="question", example_field="question")
    answer = await add(
        "create_variable", role="right answer", example_field="answer", reference=True
    )
    prompts = ["v1"]
    if shape == "two-stage":
        prompts.append(await add("create_variable", role="checker", value=_text(tasks.SECOND)))
    output = question
    for prompt in prompts:
        output = await add("forward", operation="llm", system=prompt, inputs={"text": output})
    if shape == "metric":
        inputs = {"output": output, "answer": answer}
        await add("compute_loss", kind="metric", metric="exact_match", inputs=inputs)
    else:
        inputs = {"reply": output}
        await add("compute_loss", kind="judge", instruction=tasks.JUDGE, inputs=inputs)
    rows = zip(tasks.questions(size), tasks.answers(size), strict=True)
    examples = [{"question": q, "answer": a} for q, a in rows]
    await call("add_examples", session_id=session, split="train", examples=examples)
    return session


async def _diamond(call: Tools) -> str:
    made = await call("create_variable", role="notice", value=_text(tasks.SNIPPET))
    session: str = made["session_id"]

    async def llm(template: str, **inputs: str) -> str:
        result = await call(
            "forward", session_id=session, operation="llm", template=template, inputs=inputs
        )
        found: str = result["variable"]
        return found

    ends = [await llm(tasks.FOLLOW, x=await llm(branch, x="v1")) for branch in tasks.BRANCHES]
    poster = await llm(tasks.FINAL, x=await llm(tasks.JOIN, a=ends[0], b=ends[1]))
    await call(
        "compute_loss",
        session_id=session,
        kind="judge",
        instruction=tasks.JUDGE,
        inputs={"poster": poster},
    )
    return session


async def one_step(call: Tools, session: str, shape: str, *, exact: bool = False) -> None:
    """What is stale is recomputed, feedback is written, every parameter is rewritten."""
    examples = {} if shape == "diamond" else {"examples": "train"}
    await call("backward", session_id=session, exact=exact, **examples)
    await call("step", session_id=session)


def _text(template: str) -> str:
    return template.format(attempt=0)
