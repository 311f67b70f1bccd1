"""`optimize` in a real server process, ended by `kill -9` in the middle and resumed.

    python -m tests.interrupted          # writes docs/transcript-resume.md

The endpoint is the stand-in: a scripted model that sorts tickets by the codes its prompt explains.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError

from .helpers import Facts, Tools
from .standin import Body, Fault, StandIn, text_of

ROOT = Path(__file__).parent.parent
DATA = ROOT / "server" / "demo" / "data"
PAGE = ROOT / "docs" / "transcript-resume.md"
CODES = {
    "FIN": "invoices and money",
    "SEC": "safety of accounts and of data",
    "ENG": "what is broken",
    "GEN": "all the rest",
}
FILES = [path.read_text(encoding="utf-8") for path in sorted(DATA.glob("tickets.*.jsonl"))]
ROWS = [json.loads(row) for file in FILES for row in file.splitlines()]
RIGHT = {row["input"]: row["answer"] for row in ROWS}
SIZES = {"train": 12, "validation": 12}
ARGUMENTS = {"steps": 6, "candidates": 2, "seed": 3, "strategy": "gradient"}


def model(body: Body) -> str:
    """Sorts a ticket right if its prompt explains the code; learns codes one or two at a time."""
    system, prompt = text_of(body["messages"][0]), text_of(body["messages"][-1])
    if prompt in RIGHT:
        return RIGHT[prompt] if f"{RIGHT[prompt]} for " in system else "Support"
    if system.startswith("You improve"):
        return json.dumps({"value": _rewritten(prompt, str(body.get("seed", 0)))})
    wanted = [f"{c} is for {CODES[c]}." for c in CODES if f"'{c}'" in prompt]
    return json.dumps({"v1": " ".join(["The right outputs are codes.", *wanted])})


def _rewritten(prompt: str, seed: str) -> str:
    old, _, rest = prompt.partition("</text-")
    known = [c for c in CODES if f"{c} for " in old]
    missing = [c for c in CODES if f"{c} is for " in rest and c not in known]
    pick = int(hashlib.sha256((prompt + seed).encode()).hexdigest(), 16)
    known += missing[pick % max(len(missing), 1) :][:1]
    return f"Sort the ticket. Answer {', '.join(f'{c} for {CODES[c]}' for c in known)}."


class Hanging:
    """Lets so many requests through and hangs the others, until it is let go."""

    def __init__(self) -> None:
        self.left: float = float("inf")

    def __call__(self, _index: int, _body: Body) -> Fault | None:
        self.left -= 1
        return Fault(hang=True) if self.left < 0 else None


@dataclass
class Server:
    """A `textgrad-mcp serve` process over stdio, and a client of it."""

    call: Tools
    pid: int

    def kill(self) -> None:
        """`kill -9`."""
        os.kill(self.pid, signal.SIGKILL)


def command(url: str, database: Path) -> list[str]:
    """What is typed to start the server (after `textgrad-mcp`)."""
    model = ["--base-url", url, "--model", "stand-in", "--set", 'backward.params={"seed": 1}']
    return ["serve", *model, "--database", str(database), "--data-dir", str(database.parent)]


@asynccontextmanager
async def serving(url: str, database: Path) -> AsyncIterator[Server]:
    """The server's own command in a process of its own."""
    pid = database.with_suffix(".pid")
    python = [sys.executable, "-m", "textgrad_mcp.server.cli", *command(url, database)]
    shell = ["-c", f'echo $$ > "{pid}"; exec "$@"', "sh", *python]
    started = StdioServerParameters(command="/bin/sh", args=shell, env=dict(os.environ))
    async with Client(started) as client:
        yield Server(Tools(client), int(pid.read_text()))


async def prepared(call: Tools, folder: Path) -> str:
    """A session with the prompt v1 on tickets v2 with their codes v3; the loss is v5."""

    def filed(split: str, rows: str) -> Facts:
        (folder / f"{split}.jsonl").write_text(rows, encoding="utf-8")
        return {"path": f"{split}.jsonl"}

    return await sorter(call, filed)


async def sorter(call: Tools, given: Callable[[str, str], Facts], **prompt: Any) -> str:
    """The same; `given` says how the rows of a split are handed over, `prompt` more of v1."""
    made = await call("create_variable", role="system prompt", value="Sort the ticket.", **prompt)
    s = str(made["session_id"])
    for name, reference in (("input", False), ("answer", True)):
        role = {"role": name, "example_field": name, "reference": reference}
        await call("create_variable", session_id=s, **role)
    for split, size in SIZES.items():
        rows = (DATA / f"tickets.{split}.jsonl").read_text(encoding="utf-8").splitlines()
        more = given(split, "\n".join(rows[:size]))
        await call("add_examples", session_id=s, split=split, **more)
    llm = {"operation": "llm", "system": "v1", "inputs": {"input": "v2"}}
    await call("forward", session_id=s, **llm, examples=["e1"])
    metric = {"kind": "metric", "metric": "exact_match"}
    inputs = {"output": "v4", "answer": "v3"}
    await call("compute_loss", session_id=s, **metric, inputs=inputs, examples=["e1"])
    return s


def recorded(database: Path) -> list[str]:
    """The requests whose replies are on disk, as their messages."""
    with sqlite3.connect(database) as db:
        found = db.execute("SELECT request FROM calls WHERE status = 'answered'").fetchall()
    return [_key(json.loads(request)) for (request,) in found]


def sent(endpoint: StandIn) -> list[str]:
    """The requests that arrived, likewise."""
    return [_key(seen.body) for seen in endpoint.log]


def _key(body: Body) -> str:
    """A request on the wire or on disk, where the sample stands beside the seed."""
    messages = [[m["role"], text_of(m)] for m in body["messages"]]
    seed = body.get("seed", body.get("params", {}).get("seed"))
    return json.dumps([messages, seed if seed is None else seed + body.get("sample", 0)])


async def until(condition: Callable[[], bool], call: Tools, s: str) -> None:
    """Look at the session until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():
            await call("inspect", session_id=s)


@dataclass
class Story:
    """What happened, for a test to check and the page to tell."""

    whole: Facts = field(default_factory=dict)
    resumed: Facts = field(default_factory=dict)
    undisturbed: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    runs: Facts = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    lineages: dict[str, Any] = field(default_factory=dict)


async def interrupted(folder: Path, after: int) -> Story:
    """The same optimisation undisturbed, and killed after `after` replies and resumed."""
    story = Story()
    with StandIn(reply=model) as endpoint:
        async with serving(endpoint.url, folder / "whole.db") as server:
            s = await prepared(server.call, folder)
            begun = len(endpoint.log)
            story.whole = await server.call("optimize", session_id=s, **ARGUMENTS)
            story.undisturbed = sent(endpoint)[begun:]
            await _ended(story, "whole", server.call, s)
    hanging = Hanging()
    with StandIn(reply=model, faults=hanging) as endpoint:
        database = folder / "tickets.db"
        async with serving(endpoint.url, database) as server:
            s = await prepared(server.call, folder)
            begun, held = len(endpoint.log), len(recorded(database))
            hanging.left = after
            call = server.call.client.call_tool("optimize", {"session_id": s, **ARGUMENTS})
            running = asyncio.create_task(call)
            await until(lambda: len(recorded(database)) == held + after, server.call, s)
            await until(lambda: len(endpoint.log) > begun + after, server.call, s)
            server.kill()
            with contextlib.suppress(MCPError):  # the connection closed under the call
                await running
        story.before, story.kept = sent(endpoint)[begun:], recorded(database)
        hanging.left = float("inf")
        cut = len(endpoint.log)
        async with serving(endpoint.url, database) as server:
            story.runs = (await server.call("inspect", session_id=s, what="runs"))["view"]
            story.resumed = await server.call("resume", session_id=s)
            await _ended(story, "resumed", server.call, s)
        story.after = sent(endpoint)[cut:]
    return story


async def _ended(story: Story, name: str, call: Tools, s: str) -> None:
    shown = await call("inspect", session_id=s, id="v1")
    story.texts[name] = shown["view"]["text"]
    report = (await call("inspect", session_id=s, what="report"))["view"]
    [parameter] = report["parameters"]
    story.lineages[name] = [
        {k: v for k, v in one.items() if k != "created"} for one in parameter["lineage"]
    ]


def page(story: Story) -> str:
    """The story in Markdown."""
    kept = [request for request in story.before if request in set(story.kept)]
    shown = {k: story.resumed[k] for k in FIGURES if k in story.resumed}
    whole = {k: story.whole[k] for k in FIGURES if k in story.whole}
    return TEXT.format(
        arguments=", ".join(f"{k}={v}" for k, v in ARGUMENTS.items()),
        command=shlex.join(["textgrad-mcp", *command("URL", Path("tickets.db"))]),
        sizes=", ".join(f"{n} {split}" for split, n in SIZES.items()),
        whole=_block(whole),
        requests=len(story.undisturbed),
        before=len(story.before),
        kept=len(kept),
        flight=len(story.before) - len(kept),
        runs=_block({k: v for k, v in story.runs["runs"][0].items() if k in ("id", *RUN)}),
        resumed=_block(shown),
        after=len(story.after),
        total=len(story.before) + len(story.after),
        repaid=len(set(story.after) & set(story.kept)),
        text=story.texts["resumed"],
        same="the same" if whole == shown else "NOT the same",
        lineage="\n".join(
            f"- version {one['version']}: {one.get('gate') or one.get('origin')}"
            for one in story.lineages["resumed"]
        ),
    )


RUN = ("tool", "status")
FIGURES = ("stopped", "steps", "accepted", "refused", "score_before", "score_after", "calls")


def _block(facts: Facts) -> str:
    return "```yaml\n" + "\n".join(f"{k}: {v}" for k, v in facts.items()) + "\n```"


TEXT = """# `optimize`, killed in the middle and resumed

Written by `python -m tests.interrupted`; `test_kill.py` checks the same story. The server is
a real process over stdio:

    {command}

`URL` is a scripted endpoint on loopback that sorts support tickets by the codes that its system
prompt explains. {sizes} examples; `optimize({arguments})`.

## Undisturbed

{requests} requests.

{whole}

## Killed

The same in a new database. After {kept} replies the endpoint stops answering, and the server
process is ended with `kill -9`. By then {before} requests had been sent: {kept} replies are on
disk, and the {flight} requests that were on their way are lost.

## Started again

`textgrad-mcp serve` on the same database; `inspect(what="runs")`:

{runs}

`resume(session_id)`:

{resumed}

This is {same} result as undisturbed, figure by figure, down to the prompt and the history of its
versions. It took {after} more requests, {total} in all: the {requests} of the undisturbed run and
once more the {flight} that were on their way. Recorded replies asked for again: {repaid}.

The prompt, and how it came about:

> {text}

{lineage}
"""


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        story = asyncio.run(interrupted(Path(folder), after=45))
    PAGE.write_text(re.sub(r"\n{3,}", "\n\n", page(story)), encoding="utf-8")


if __name__ == "__main__":
    main()
