"""What each strategy really gains, with a real model, under equal call budgets.

    python benchmarks/quality.py --base-url http://127.0.0.1:8080/v1 --model NAME --out FILE

One line of JSON for each task, strategy and seed: scores on validation (what the search saw) and on
examples it never saw, calls, tokens, seconds. `--table FILE` prints the table of a finished run.
Tasks: tickets (ours, server/demo/data), and with --data DIR word_sorting and machine_learning from
files of BIG-Bench Hard and MMLU (rows with `question` and `answer`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from mcp import Client
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.app import build

VALIDATION, TEST = 16, 24
DEMO = Path(__file__).parent.parent / "server" / "demo" / "data"
STRATEGIES: dict[str, dict[str, Any]] = {
    "plain rewrite": {"strategy": "rewrite", "parents": "newest"},
    "TGD as in the paper": {"strategy": "exact", "parents": "newest", "candidates": 1},
    "ours (default)": {},
}
STARTS = {
    "tickets": ("Which department should handle this ticket?", "exact_match"),
    "dates": ("Find the date.", "exact_match"),
    "word_sorting": ("Answer the question.", "exact_match"),
    "machine_learning": ("Answer the question.", "multiple_choice"),
}


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows with the fields input and answer."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{"input": r.get("input") or r["question"], "answer": r["answer"]} for r in found]


def splits_of(task: str, data: Path | None) -> dict[str, list[dict[str, str]]]:
    """train, validation and test, the same for all seeds and strategies."""
    if (DEMO / f"{task}.train.jsonl").exists():
        found = {s: rows_of(DEMO / f"{task}.{s}.jsonl") for s in ("train", "validation", "test")}
        return found | {
            "validation": found["validation"][:VALIDATION],
            "test": found["test"][:TEST],
        }
    if data is None:
        raise SystemExit(f"{task} needs --data DIR")
    if task == "word_sorting":
        train = rows_of(data / "bbh_word_sorting.train.jsonl")
        rest = rows_of(data / "bbh_word_sorting.validation.jsonl")
    else:
        every = rows_of(data / "mmlu_machine_learning.train.jsonl")
        random.Random(0).shuffle(every)
        train, rest = every[:16], every[16:]
    test = rest[VALIDATION : VALIDATION + TEST]
    return {"train": train, "validation": rest[:VALIDATION], "test": test}


async def one(
    task: str, strategy: str, seed: int, settings: Settings, data: Path | None, budget: int
) -> dict[str, Any]:
    """Optimise once from scratch; the figures of that run."""
    prompt, metric = STARTS[task]
    with tempfile.TemporaryDirectory() as folder:
        settings = settings.model_copy(update={"database": Path(folder) / "quality.db"})
        async with Client(build(settings)) as client:

            async def call(tool: str, **arguments: Any) -> dict[str, Any]:
                result = await client.call_tool(tool, arguments)
                found = result.structured_content or {}
                while found.get("status") == "running":
                    again = await client.call_tool("resume", {"session_id": session})
                    found = again.structured_content or {}
                if found.get("status") != "done":
                    raise SystemExit(f"{tool}: {found.get('error')} {found.get('next')}")
                return found

            session = (await call("create_variable", role="system prompt", value=prompt))[
                "session_id"
            ]
            for field, reference in (("input", False), ("answer", True)):
                await call(
                    "create_variable",
                    session_id=session,
                    role=field,
                    example_field=field,
                    reference=reference,
                )
            for split, examples in splits_of(task, data).items():
                await call("add_examples", session_id=session, split=split, examples=examples)
            await call(
                "forward",
                session_id=session,
                operation="llm",
                system="v1",
                inputs={"input": "v2"},
                examples=["e1"],
            )
            await call(
                "compute_loss",
                session_id=session,
                kind="metric",
                metric=metric,
                inputs={"output": "v4", "answer": "v3"},
                examples=["e1"],
            )
            before = await call("evaluate", session_id=session, split="test")
            began = time.monotonic()
            found = await call(
                "optimize",
                session_id=session,
                steps=50,
                patience=50,
                seed=seed,
                budget={"calls": budget},
                **STRATEGIES[strategy],
            )
            seconds = time.monotonic() - began
            after = await call("evaluate", session_id=session, split="test")
            text = await call("inspect", session_id=session, id="v1")
    return {
        "task": task,
        "strategy": strategy,
        "seed": seed,
        "validation_before": found["score_before"],
        "validation_after": found["score_after"],
        "test_before": before["mean_score"],
        "test_after": after["mean_score"],
        "steps": found.get("steps", 0),
        "accepted": found.get("accepted", 0),
        "stopped": found.get("stopped"),
        "calls": found["calls"],
        "tokens": found["tokens"],
        "seconds": round(seconds),
        "prompt": text["view"]["text"],
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Mean and spread (standard deviation over seeds) for each task and strategy, in Markdown."""
    out = [
        "| task | strategy | seeds | validation before → after | held-out before → after "
        "| calls | tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(line["task"] for line in lines):
        for strategy in STRATEGIES:
            found = [x for x in lines if x["task"] == task and x["strategy"] == strategy]
            if found:
                cells = [_span(found, "validation"), _span(found, "test")]
                calls = statistics.mean(x["calls"] for x in found)
                tokens = statistics.mean(x["tokens"] for x in found)
                row = [task, strategy, str(len(found)), *cells, f"{calls:.0f}", f"{tokens:,.0f}"]
                out.append(f"| {' | '.join(row)} |")
    return "\n".join(out)


def _span(found: list[dict[str, Any]], split: str) -> str:
    before = statistics.mean(x[f"{split}_before"] for x in found)
    after = [x[f"{split}_after"] for x in found]
    spread = statistics.stdev(after) if len(after) > 1 else 0.0
    return f"{before:.2f} → {statistics.mean(after):.2f} ± {spread:.2f}"


async def run(arguments: argparse.Namespace) -> None:
    """Run what is not in the output file yet, one after another."""
    role = RoleSettings(
        base_url=arguments.base_url,
        model=arguments.model,
        params={"temperature": 0.0, "max_tokens": arguments.max_tokens},
        concurrency=4,
        timeout=600,
    )
    backward = role.model_copy(
        update={
            "params": {"temperature": 0.0, "max_tokens": 300},
            "update_params": {"temperature": 0.8},
        }
    )
    settings = Settings(forward=role, backward=backward, soft_deadline=600)
    out: Path = arguments.out
    text = out.read_text(encoding="utf-8") if out.exists() else ""
    done = {(x["task"], x["strategy"], x["seed"]) for x in map(json.loads, text.splitlines())}
    for seed in range(arguments.seeds):
        for task in arguments.tasks:
            for strategy in STRATEGIES:
                if (task, strategy, seed) in done:
                    continue
                line = await one(task, strategy, seed, settings, arguments.data, arguments.budget)
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                print(json.dumps(line, ensure_ascii=False), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--out", type=Path, default=Path("quality.jsonl"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["tickets"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=110)
    parser.add_argument("--max-tokens", type=int, default=120)
    parser.add_argument("--table", type=Path, help="print the table of this file and do nothing")
    arguments = parser.parse_args()
    if arguments.table:
        text = arguments.table.read_text(encoding="utf-8")
        print(table([json.loads(line) for line in text.splitlines()]))
    else:
        asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
