"""The longest time in which nobody else has a turn, under work that a caller can make long.

    python benchmarks/pauses.py [NAME ...]

One server's event loop, the engine's own work on it, and a task beside it that asks for its turn
every millisecond. Prints a table for docs/benchmarks.md; the bar is 50 ms. Each work is done three
times, and the lowest figure counts: other processes can only add to it. Beside the longest pause
stands the most that this process computed in one, on all its threads: on a busy machine the bar is
held against that. Reading a message is the SDK's and not measured here.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harness import scratch
from textgrad_mcp.engine import gate
from textgrad_mcp.engine.answerers import Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs import Caller
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.completions import Completion, CompletionRequest
from textgrad_mcp.schemas.errors import TextGradError
from textgrad_mcp.schemas.results import Result
from textgrad_mcp.schemas.settings import Settings

BAR = 0.05
RUNS = 3
ME = Caller(deadline=600)
Reply = Callable[[CompletionRequest], str]
Work = Callable[[Engine, "Pauses"], Awaitable[object]]


class Pauses:
    """How long the loop was kept at most since `watch` was begun, and its own part of it."""

    longest = 0.0
    used = 0.0

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """Ask for a turn every millisecond."""
        gc.collect()
        asking = asyncio.create_task(self._ask())
        await asyncio.sleep(0.05)
        self.longest = self.used = 0.0
        try:
            yield
        finally:
            await asyncio.sleep(0.01)
            asking.cancel()

    async def _ask(self) -> None:
        while True:
            since, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - since - 0.001)
            self.used = max(self.used, time.process_time() - used)


class Script:
    """Answers at once, by rule."""

    name = model = "script"

    def __init__(self) -> None:
        self.reply: Reply = lambda request: "an answer"
        self.params: dict[str, object] = {}

    async def answer(self, request: CompletionRequest, record: RecordAttempt, go: Go) -> Completion:
        """The reply of the moment; feedback where it is asked for."""
        go()
        keys = (request.reply or {}).get("properties", {})
        if "value" in keys or not keys:
            return Completion(text=self.reply(request), model=self.model)
        said = {key: 0.1 if key == "score" else "say it better" for key in keys}
        return Completion(text=json.dumps(said), model=self.model)

    async def close(self) -> None:
        """Nothing to let go of."""


SCRIPT = Script()


async def variable(engine: Engine, text: str, **more: Any) -> tuple[str, str]:
    """A session with one parameter: its id and the variable's."""
    made = await engine.create_variable(ME, role="r", value=text, **more)
    return made.session_id, made.variable


async def attempt(call: Awaitable[Result]) -> str:
    """What came of a call, in a word or two."""
    try:
        result = await call
    except TextGradError as error:
        return f"refused: {error.message}"
    return result.error or result.status


def metric(name: str, output: str, answer: str | None = None, **options: Any) -> Work:
    """A metric on one output."""

    async def work(engine: Engine, pauses: Pauses) -> object:
        s, _ = await variable(engine, output)
        inputs = {"output": "v1"}
        if answer is not None:
            await engine.create_variable(ME, session_id=s, role="a", value=answer)
            inputs["answer"] = "v2"
        asked = {"session_id": s, "kind": "metric", "inputs": inputs, "metric": name}
        async with pauses.watch():
            return await attempt(engine.compute_loss(ME, **asked, options=options))

    return work


def judged(texts: int, words: int) -> Work:
    """A judgement on so many texts."""

    async def work(engine: Engine, pauses: Pauses) -> object:
        s, _ = await variable(engine, prose(words))
        for n in range(1, texts):
            await engine.create_variable(ME, session_id=s, role="r", value=prose(words + n))
        inputs = {f"text{n}": f"v{n}" for n in range(1, texts + 1)}
        asked = {"session_id": s, "kind": "judge", "instruction": "Good?", "inputs": inputs}
        async with pauses.watch():
            return await attempt(engine.compute_loss(ME, **asked))

    return work


def rewrite(old: str, new: str, *constraints: str) -> Work:
    """One step from `old` to `new`."""

    async def work(engine: Engine, pauses: Pauses) -> object:
        s, _ = await variable(engine, old, constraints=constraints)
        judge = {"kind": "judge", "instruction": "Is it good?", "inputs": {"text": "v1"}}
        await engine.compute_loss(ME, session_id=s, **judge)
        await engine.backward(ME, session_id=s)
        SCRIPT.reply = lambda request: json.dumps({"value": new})
        async with pauses.watch():
            step: Any = await engine.step(ME, session_id=s)
        return step.proposals[0].reason

    return work


async def tickets(engine: Engine, train: int, validation: int, *constraints: str) -> str:
    """A prompt on tickets, its answers judged by their words."""
    s, _ = await variable(engine, "Sort the ticket.", constraints=constraints)
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    for split, size in (("train", train), ("validation", validation)):
        await engine.add_examples(ME, session_id=s, split=split, examples=rows(split, size))
    llm = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
    SCRIPT.reply = said
    await engine.forward(ME, session_id=s, **llm, examples=["e1", "e2"])
    inputs = {"output": "v4", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="metric", metric="f1", inputs=inputs)
    return s


def rows(split: str, size: int) -> list[dict[str, str]]:
    """Made-up tickets of a hundred words."""
    draw = random.Random(split)
    words = [f"w{n}" for n in range(2000)]
    return [
        {"q": f"ticket {n} of {split} " + " ".join(draw.choices(words, k=100)), "a": "FIN ENG GEN"}
        for n in range(size)
    ]


def said(request: CompletionRequest) -> str:
    """Some of the right words, more with the better prompt."""
    draw = random.Random(request.key)
    most = 8 if "every" in (request.system or "") else 6
    return " ".join(draw.choices(["FIN", "ENG", "GEN", *map(str, range(4))], k=most))


def guarded(train: int, words: int, *constraints: str) -> Work:
    """A rewrite of so many words, looked up among so many rows."""

    async def work(engine: Engine, pauses: Pauses) -> object:
        s = await tickets(engine, train, train // 5, *constraints)
        await engine.backward(ME, session_id=s)
        draw = random.Random(1)
        text = " ".join(f"w{draw.randrange(2000)}" for _ in range(words))
        SCRIPT.reply = lambda request: json.dumps({"value": text})
        async with pauses.watch():
            step: Any = await engine.step(ME, session_id=s)
        return step.proposals[0].reason

    return work


def gated(validation: int) -> Work:
    """A gate on so many validation rows with graded scores: calls, and the permutation test."""

    async def work(engine: Engine, pauses: Pauses) -> object:
        s = await tickets(engine, 8, validation)
        await engine.backward(ME, session_id=s)
        value = json.dumps({"value": "Sort the ticket. Say every code."})
        SCRIPT.reply = lambda request: value if request.reply else said(request)
        async with pauses.watch():
            step: Any = await engine.step(ME, session_id=s, accept="if_better")
        return step.gate

    return work


async def tested(engine: Engine, pauses: Pauses) -> object:
    """The permutation test alone, on 10,000 pairs of 1,800 different scores."""
    draw = random.Random(3)
    before, after = ([round(draw.random(), 3) for _ in range(10_000)] for _ in range(2))
    async with pauses.watch():
        return await gate.measured(engine.workers, "local", before, after)


def templates(*times: int, size: int = 1_000_000) -> Work:
    """Templates that each repeat what the one before it made."""

    async def work(engine: Engine, pauses: Pauses) -> object:
        s, found = await variable(engine, "x" * size)
        last = ""
        async with pauses.watch():
            for many in times:
                asked = {"operation": "format", "template": "{a}" * many, "inputs": {"a": found}}
                try:
                    result: Any = await engine.forward(ME, session_id=s, **asked)
                except TextGradError as error:
                    return error.message
                found, last = result.variable, result.error or result.status
        return last

    return work


def spread(count: int) -> Work:
    """A template on so many examples."""

    async def work(engine: Engine, pauses: Pauses) -> object:
        s, _ = await variable(engine, "x" * 2000)
        await engine.create_variable(ME, session_id=s, role="q", example_field="q")
        data = [{"q": str(n)} for n in range(count)]
        async with pauses.watch():
            await engine.add_examples(ME, session_id=s, split="train", examples=data)
        loaded = pauses.longest
        asked = {"operation": "format", "template": "{a} {q}", "inputs": {"a": "v1", "q": "v2"}}
        async with pauses.watch():
            found = await attempt(engine.forward(ME, session_id=s, **asked, examples="train"))
        return f"{found} (loading the rows: {loaded * 1e3:.0f} ms)"

    return work


async def compared(engine: Engine, pauses: Pauses) -> object:
    """What changed between two versions of 200,000 short lines."""
    draw = random.Random(2)
    old, new = ("".join(f"{draw.randrange(99)}\n" for _ in range(200_000)) for _ in range(2))
    s, v = await variable(engine, old)
    await engine.store.set_value((await engine.store.session(s, "local")).pk, v, new, 1, "edit")
    async with pauses.watch():
        found = await engine.inspect(ME, session_id=s, what="variable", id="v1@2")
    return found.view["diff"]


def calls(tool: str, **arguments: Any) -> Work:
    """One call with too much in it."""

    async def work(engine: Engine, pauses: Pauses) -> object:
        s, _ = await variable(engine, "a b " * 1000)
        await engine.compute_loss(
            ME, session_id=s, kind="judge", instruction="i", inputs={"x": "v1"}
        )
        async with pauses.watch():
            return await attempt(getattr(engine, tool)(ME, session_id=s, **arguments))

    return work


def prose(words: int) -> str:
    """A text of so many different words."""
    draw = random.Random(words)
    return " ".join(f"w{draw.randrange(9999)}" for _ in range(words))


HASH = {f"n{n}": "v1" for n in range(100_000)}
WORKS: dict[str, Work] = {
    "regular expression that backtracks": metric("regex", "a" * 40 + "b", pattern="(a+)+$"),
    "json_schema, uniqueItems on 230 KB": metric(
        "json_schema",
        json.dumps([{"a": n} for n in range(20_000)]),
        schema={"uniqueItems": True},
    ),
    "json_schema, a bad schema of 3,000 entries": metric(
        "json_schema", "{}", schema={"required": [{"a": n} for n in range(3000)]}
    ),
    "json_match, 1 MB each": metric(
        "json_match", json.dumps({f"k{n}": n for n in range(60_000)}), json.dumps({"k1": 2})
    ),
    "exact_match, 1 MB each": metric("exact_match", prose(160_000), prose(160_001)),
    "f1, 1 MB each": metric("f1", prose(160_000), prose(160_001)),
    "edit_similarity, 1 MB each": metric("edit_similarity", prose(160_000), prose(160_001)),
    "numeric, 1 MB": metric("numeric", "1," * 500_000, "1"),
    "multiple_choice, 1 MB": metric("multiple_choice", "(A) " * 250_000, "A"),
    "max_change on 240 KB": rewrite(prose(40_000), prose(40_001), "max_change=0.3"),
    "parses=python on 500 KB": rewrite("x = 1", "x = [" + "1, " * 160_000 + "]", "parses=python"),
    "parses=json on 1 MB": rewrite("[]", "[" + "[1]," * 249_000 + "1]", "parses=json"),
    "judge on four texts of 1 MB": judged(4, 160_000),
    "a rewrite of 1 MB": rewrite("Be brief.", prose(160_000)),
    "a rewrite that repeats a mark 50,000 times": rewrite("Be.", 'role="r" ' * 50_000 + "x"),
    "copy guard, 12,000 rows, 10 KB": guarded(10_000, 2_000),
    "copy guard, 12,000 rows, 900 KB": guarded(10_000, 160_000),
    "copy guard, 12,000 rows, 10 KB, examples=no_copy": guarded(10_000, 2_000, "examples=no_copy"),
    "permutation test on 10,000 graded scores": tested,
    "gate on 500 rows": gated(500),
    "gate on 2,000 rows": gated(2000),
    "template x 100 of 1 MB": templates(100),
    "template x 9, six times over": templates(9, 9, 9, 9, 9, 9, size=1000),
    "template of 900 KB, 300,000 places": templates(300_000, size=3),
    "template on 20,000 examples": spread(20_000),
    "difference of two versions, 580 KB each": compared,
    "losses, 20,000 ids": calls("backward", losses=["v1"] * 20_000),
    "examples, 500,000 ids": calls("forward", examples=[f"e{n}" for n in range(500_000)]),
    "completions, 100,000": calls("resume", completions={f"c{n}": "x" for n in range(100_000)}),
    "inputs, 100,000": calls("forward", operation="format", template="{n1}", inputs=HASH),
    "unknown placeholders, 60,000": calls(
        "forward",
        operation="format",
        template="{a}" + "".join(f"{{b{n}}}" for n in range(60_000)),
        inputs={"a": "v1"},
    ),
    "constraints, 20,000": calls(
        "create_variable", role="r", value="x", constraints=["a"] * 20_000
    ),
    "a metric's name of 1 MB": calls(
        "compute_loss", kind="metric", metric="exact_matc" * 100_000, inputs={"output": "v1"}
    ),
    "options, 100,000": calls(
        "compute_loss", kind="metric", metric="exact_match", inputs={"output": "v1"}, options=HASH
    ),
}


async def measured(name: str, path: Path) -> tuple[Pauses, float, str]:
    """The pauses of one work, how long it took, and what came of it."""
    store = Store(path)
    await store.open()
    engine = Engine(Settings(), store, {"forward": SCRIPT, "backward": SCRIPT})
    pauses = Pauses()
    gc.freeze()  # as the server does
    try:
        began = time.perf_counter()
        came = await WORKS[name](engine, pauses)
        return pauses, time.perf_counter() - began, str(came)
    finally:
        await engine.close()


def line(name: str, folder: Path) -> str:
    """One line of the table."""
    runs = []
    for number in range(RUNS):
        path = folder / f"{abs(hash(name))}-{number}.db"
        runs.append(asyncio.run(measured(name, path)))
        path.unlink()
    longest, used = (min(getattr(run[0], key) for run in runs) for key in ("longest", "used"))
    took, came = min(run[1:] for run in runs)
    met = "met" if longest <= BAR else "met, computed" if used <= BAR else "**missed**"
    what = " ".join(came.split())[:70].replace("|", "/")
    return f"| {name} | {longest * 1e3:.0f} | {used * 1e3:.0f} | {met} | {took:.1f} | {what} |"


def main() -> None:
    """The table."""
    print("| work | longest pause, ms | computed, ms | bar: 50 | took, s | what came of it |")
    print("|---|---|---|---|---|---|")
    with scratch() as folder:
        for name in sys.argv[1:] or WORKS:
            print(line(name, folder), flush=True)


if __name__ == "__main__":
    main()
