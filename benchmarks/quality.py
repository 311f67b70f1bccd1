"""What each strategy really gains, with a real model, under equal call budgets.

    python benchmarks/quality.py --base-url http://127.0.0.1:8080/v1 --model NAME --out FILE

One line of JSON for each task, strategy and seed: scores on validation (what the search saw) and on
examples it never saw, calls, tokens, seconds. A run that is started again goes on after the last
line. `--table FILE` prints the table. With `--steps N` shared batches are compared with one call an
example, over the same number of steps.
Tasks: tickets (with a bare prompt, or with one that names the codes) and dates (ours,
server/demo/data), and with --data DIR word_sorting and object_counting from files of BIG-Bench Hard
(bbh_TASK.train.jsonl, bbh_TASK.validation.jsonl, rows with `question` and `answer`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from mcp import Client
from pydantic import SecretStr
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.protocol.app import build

VALIDATION, TEST = 16, 48
DEMO = Path(__file__).parent.parent / "server" / "demo" / "data"
START = "start"
Line = dict[str, Any]
Asked = argparse.Namespace
"""The command line's arguments."""
SHOTS = 3
WITH_SHOTS = "ours, with demonstrations"
"""The default with worked examples before the question, chosen by the same gate."""
STRATEGIES: dict[str, dict[str, Any]] = {
    "plain rewrite": {"strategy": "rewrite", "parents": "newest"},
    "TGD as in the paper": {"strategy": "exact", "parents": "newest", "candidates": 1},
    "ours (default)": {},
    "ours, gradient": {"strategy": "gradient"},
    WITH_SHOTS: {},
}
GROUPS: dict[str, dict[str, Any]] = {
    "shared batches": {"strategy": "gradient"},
    "exact (one call an example)": {"strategy": "exact"},
}
"""With --steps: the same number of steps each, whatever they cost."""
STARTS: dict[str, tuple[str, str, int]] = {
    "tickets": ("Which department should handle this ticket?", "exact_match", 24),
    "tickets+codes": (
        "Which department should handle this ticket: FIN, SEC, ENG or GEN? "
        "Answer with the code only.",
        "exact_match",
        24,
    ),
    "dates": ("Find the date.", "exact_match", 48),
    "word_sorting": ("Answer the question.", "exact_match", 110),
    "object_counting": ("Answer the question.", "numeric", 80),
}
"""The prompt at the start, the metric, and the most tokens of an answer. What follows a + in a name
says how that start differs on the same examples."""


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows with the fields input and answer."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{"input": r.get("input") or r["question"], "answer": r["answer"]} for r in found]


def splits_of(task: str, data: Path | None) -> dict[str, list[dict[str, str]]]:
    """train, validation and test, the same for all seeds and strategies."""
    task = task.partition("+")[0]
    if (DEMO / f"{task}.train.jsonl").exists():
        found = {s: rows_of(DEMO / f"{task}.{s}.jsonl") for s in ("train", "validation", "test")}
        return found | {
            "validation": found["validation"][:VALIDATION],
            "test": found["test"][:TEST],
        }
    if data is None:
        raise SystemExit(f"{task} needs --data DIR")
    train, rest = (rows_of(data / f"bbh_{task}.{split}.jsonl") for split in ("train", "validation"))
    test = rest[VALIDATION : VALIDATION + TEST]
    return {"train": train, "validation": rest[:VALIDATION], "test": test}


class Session:
    """One session over an in-memory client: the program of a task, ready to be optimised."""

    def __init__(self, client: Client) -> None:
        self.client, self.id = client, ""

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured result of a tool call that is done; anything else ends the benchmark."""
        if self.id:
            arguments["session_id"] = self.id
        result = await self.client.call_tool(tool, arguments)
        found = result.structured_content or {}
        while found.get("status") == "running":
            again = await self.client.call_tool("resume", {"session_id": self.id})
            found = again.structured_content or {}
        if found.get("status") != "done":
            raise SystemExit(f"{tool}: {found.get('error')} {found.get('next')} {result.content}")
        self.id = found["session_id"]
        return found

    async def build(self, task: str, data: Path | None, *, shots: bool) -> None:
        """The prompt v1, the fields v2 and v3, with `shots` demonstrations, and the metric."""
        prompt, metric, _ = STARTS[task]
        await self.call("create_variable", role="system prompt", value=prompt)
        await self.call("create_variable", role="input", example_field="input")
        await self.call("create_variable", role="answer", example_field="answer", reference=True)
        template = {}
        inputs = {"input": "v2"}
        if shots:
            made = await self.call("create_variable", role="worked examples", demonstrations=SHOTS)
            inputs["shots"] = made["variable"]
            template = {"template": "{shots}\n\ninput: {input}\nanswer:"}
        output = await self.call("forward", operation="llm", system="v1", inputs=inputs, **template)
        await self.call(
            "compute_loss",
            kind="metric",
            metric=metric,
            inputs={"output": output["variable"], "answer": "v3"},
        )
        for split, examples in splits_of(task, data).items():
            await self.call("add_examples", split=split, examples=examples)

    async def test_score(self) -> float:
        """The mean score on the examples that the search never sees."""
        return float((await self.call("evaluate", split="test"))["mean_score"])


def _for(task: str, settings: Settings, folder: str) -> Settings:
    params = settings.forward.params | {"max_tokens": STARTS[task][2]}
    forward = settings.forward.model_copy(update={"params": params})
    return settings.model_copy(update={"database": Path(folder) / "quality.db", "forward": forward})


async def one(task: str, strategy: str, seed: int, settings: Settings, asked: Asked) -> Line:
    """Optimise once from scratch; the figures of that run."""
    with tempfile.TemporaryDirectory() as folder:
        settings = _for(task, settings, folder)
        async with Client(build(settings)) as client:
            session = Session(client)
            await session.build(task, asked.data, shots=strategy == WITH_SHOTS)
            began = time.monotonic()
            limits: dict[str, Any] = {"steps": asked.steps or 50, "patience": 50}
            if not asked.steps:
                limits["budget"] = {"calls": asked.budget}
            found = await session.call(
                "optimize", seed=seed, **limits, **(STRATEGIES | GROUPS)[strategy]
            )
            seconds = time.monotonic() - began
            after = await session.test_score() if found.get("accepted") else None
            text = await session.call("inspect", id="v1")
    return {
        "task": task,
        "strategy": strategy,
        "seed": seed,
        "validation_before": found["score_before"],
        "validation_after": found["score_after"],
        "test_after": after,
        "steps": found.get("steps", 0),
        "accepted": found.get("accepted", 0),
        "stopped": found.get("stopped"),
        "calls": found["calls"],
        "tokens": found["tokens"],
        "seconds": round(seconds),
        "prompt": text["view"]["text"],
    }


async def start(task: str, settings: Settings, data: Path | None) -> Line:
    """The held-out score of the prompt every run of this task starts from."""
    with tempfile.TemporaryDirectory() as folder:
        settings = _for(task, settings, folder)
        async with Client(build(settings)) as client:
            session = Session(client)
            await session.build(task, data, shots=False)
            return {"task": task, "strategy": START, "seed": 0, "test": await session.test_score()}


def table(lines: list[Line]) -> str:
    """Mean and spread (standard deviation over seeds) for each task and strategy, in Markdown."""
    out = [
        "| task | strategy | seeds | validation before → after | held-out before → after "
        "| runs that gained | calls | tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    before = {line["task"]: line["test"] for line in lines if line["strategy"] == START}
    for task in before:
        for strategy in STRATEGIES | GROUPS:
            found = [x for x in lines if x["task"] == task and x["strategy"] == strategy]
            if found:
                out.append(
                    f"| {task} | {strategy} | {len(found)} | {_cells(found, before[task])} |"
                )
    return "\n".join(out)


def _cells(found: list[Line], before: float) -> str:
    test = [before if x["test_after"] is None else x["test_after"] for x in found]
    validation = [x["validation_after"] for x in found]
    first = statistics.mean(x["validation_before"] for x in found)
    cells = [
        f"{first:.2f} → {_spread(validation)}",
        f"{before:.2f} → {_spread(test)}",
        f"{sum(bool(x['accepted']) for x in found)} of {len(found)}",
        f"{statistics.mean(x['calls'] for x in found):.0f}",
        f"{statistics.mean(x['tokens'] for x in found):,.0f}",
    ]
    return " | ".join(cells)


def _spread(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {spread:.2f}"


async def run(asked: Asked) -> None:
    """Run what is not in the output file yet, one after another."""
    role = RoleSettings(
        base_url=asked.base_url,
        model=asked.model,
        api_key=SecretStr("forward"),
        params={"temperature": 0.0},
        concurrency=4,
        timeout=600,
    )
    backward = role.model_copy(  # one at a time, with a limit of its own: see server/demo/main.py
        update={
            "base_url": asked.backward_url or asked.base_url,
            "model": asked.backward_model or asked.model,
            "api_key": SecretStr(os.environ.get("BACKWARD_API_KEY", "backward")),
            "concurrency": 1,
            "params": {"temperature": 0.0, "max_tokens": 200},
            "update_params": {"temperature": 0.8},
        }
    )
    settings = Settings(forward=role, backward=backward, soft_deadline=600)
    text = asked.out.read_text(encoding="utf-8") if asked.out.exists() else ""
    done = {(x["task"], x["strategy"], x["seed"]) for x in map(json.loads, text.splitlines())}

    def keep(line: Line) -> None:
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(json.dumps(line, ensure_ascii=False), flush=True)

    for task in asked.tasks:
        if (task, START, 0) not in done:
            keep(await start(task, settings, asked.data))
    strategies = GROUPS if asked.steps else asked.strategies
    for seed in range(asked.seeds):
        for task in asked.tasks:
            for strategy in strategies:
                if (task, strategy, seed) not in done:
                    keep(await one(task, strategy, seed, settings, asked))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--backward-url", help="another endpoint for feedback and rewrites")
    parser.add_argument("--backward-model", help="and the model there; key: BACKWARD_API_KEY")
    parser.add_argument("--out", type=Path, default=Path("quality.jsonl"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["tickets"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--strategies", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES)
    )
    parser.add_argument("--budget", type=int, default=60, help="calls of each run")
    parser.add_argument("--steps", type=int, help="compare groups by steps instead of by calls")
    parser.add_argument("--table", type=Path, help="print the table of this file and do nothing")
    arguments = parser.parse_args()
    if arguments.table:
        text = arguments.table.read_text(encoding="utf-8")
        print(table([json.loads(line) for line in text.splitlines()]))
    else:
        asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
