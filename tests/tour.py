"""A tour of every tool on a small program, the same in every era and over every transport."""

from __future__ import annotations

import os
import sys
from typing import Any

from mcp import StdioServerParameters
from textgrad_mcp.schemas.settings import Settings

from .helpers import Facts, Tools, answered

SUMS = {"1+1?": "2", "2+2?": "4", "3+1?": "4", "2+5?": "7", "4+5?": "9"}
TOOLS = {
    "optimize_prompt",
    "create_variable",
    "forward",
    "compute_loss",
    "backward",
    "step",
    "add_examples",
    "evaluate",
    "optimize",
    "resume",
    "inspect",
    "revert",
}
"""Those that every client has; on stdio there is `show` as well."""


SERVE = """
import sys
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.app import serve_stdio
serve_stdio(Settings.model_validate_json(sys.argv[1]))
"""


def over_stdio(settings: Settings) -> StdioServerParameters:
    """How to start the server as a process of its own."""
    spoken = settings.model_dump_json(exclude_defaults=True)
    return StdioServerParameters(
        command=sys.executable, args=["-c", SERVE, spoken], env=dict(os.environ)
    )


def reply_to(purpose: str, system: str, prompt: str) -> Any:
    """A model that does sums only when its instructions speak of digits."""
    if purpose == "forward":
        return SUMS[prompt] if "digits" in system else "Two, I should say."
    if purpose == "gradient":
        return {"v1": "Ask for digits only."}
    if purpose == "update":
        return {"value": "Answer with digits only."}
    return {"feedback": "Not a number.", "score": 0.25}


def assistant(pending: Facts) -> Any:
    """The same model as the assistant that answers what is pending."""
    purpose = pending["purpose"].partition(":")[0]
    return reply_to(purpose, pending.get("system") or "", pending["prompt"])


async def sums(call: Tools) -> str:
    """A program: prompt v1, fields v2 and v3, answer v4; two examples to learn from, three to
    check on. Gives the session's id."""
    s = (await call("create_variable", role="system prompt", value="Be kind."))["session_id"]
    field = {"session_id": s, "role": "a field"}
    await call("create_variable", **field, example_field="question")
    await call("create_variable", **field, example_field="answer", reference=True)
    await call("forward", session_id=s, operation="llm", system="v1", inputs={"question": "v2"})
    rows = [{"question": q, "answer": a} for q, a in SUMS.items()]
    await call("add_examples", session_id=s, split="train", examples=rows[:2])
    await call("add_examples", session_id=s, split="validation", examples=rows[2:])
    return str(s)


async def judged(call: Tools, s: str) -> Facts:
    """The answers, and a loss v5 on them; gives the loss's result."""
    await answered(call, await call("forward", session_id=s), assistant)
    inputs = {"output": "v4", "answer": "v3"}
    loss = {"kind": "metric", "metric": "exact_match", "inputs": inputs}
    return await answered(call, await call("compute_loss", session_id=s, **loss), assistant)


async def improved(call: Tools, s: str) -> Facts:
    """One step by hand, gated on the validation examples; gives its result."""
    await answered(call, await call("backward", session_id=s), assistant)
    step = await call("step", session_id=s, accept="if_better")
    return await answered(call, step, assistant)


async def tour(call: Tools) -> None:
    """Call every tool once at least, and see that a prompt got better by it."""
    s = await sums(call)
    assert (await judged(call, s))["mean_score"] == 0.0
    assert (await improved(call, s))["accepted"]
    scored = await answered(call, await call("evaluate", session_id=s), assistant)
    assert scored["mean_score"] == 1.0
    await call("revert", session_id=s, variable="v1", version=1)
    optimised = await call("optimize", session_id=s, strategy="gradient", steps=1, candidates=1)
    optimised = await answered(call, optimised, assistant)
    assert optimised["status"] == "done"
    shown = await call("inspect", session_id=s, id="v1")
    assert "digits" in shown["view"]["text"]
    rows = [{"question": q, "answer": a} for q, a in SUMS.items()]
    begun = await call("optimize_prompt", prompt="Be kind.", examples=rows, metric="exact_match")
    assert (await answered(call, begun, assistant))["mean_score"] == 0.0
