"""textgrad-mcp beside GEPA and TextGrad: the same task model, critic, rows, score and feedback.

    python benchmarks/head_to_head.py run --task-url http://127.0.0.1:8080/v1 \\
        --critic-queue QUEUE --source tasks.py --tasks orders recipe --out FILE
    python benchmarks/head_to_head.py rescore FILE --held-out 200 --source tasks.py > MORE
    python benchmarks/head_to_head.py table MORE

A run has a budget of calls, task and critic together. What each system would hand out after 40, 80,
120 and 240 of them is measured on held-out rows, outside the budget. With --critic-queue the
critic's requests wait in a folder (critic.py), one for each run; with --critic-url an endpoint
answers. One line of JSON for each run; begun again, it goes on after the last line.
GEPA and TextGrad run in environments of their own: `make bench-rivals`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import fmean
from typing import Any

import critic
from mcp import Client
from openai import AsyncOpenAI
from pydantic import SecretStr
from rivals import tasks
from textgrad_mcp.schemas.settings import EvaluatorSettings, RoleSettings, Settings
from textgrad_mcp.server.protocol.app import build

HERE = Path(__file__).resolve().parent
BUDGETS = (40, 80, 120, 240)
GOOD = 0.95
"""The calls until validation first reaches this are part of the table."""
SECONDS = 4 * 3600
Line = dict[str, Any]
Asked = argparse.Namespace
"""The command line's arguments."""
OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, 1 candidate": {"candidates": 1},
    "ours, 3 candidates": {"candidates": 3},
    "ours, reflect": {"strategy": "reflect"},
    "ours, reflect, 1 candidate": {"strategy": "reflect", "candidates": 1},
    "ours, reflect, pareto": {"strategy": "reflect", "parents": "pareto"},
    "ours, gradient": {"strategy": "gradient"},
    "ours, gradient, 1 candidate": {"strategy": "gradient", "candidates": 1},
}
RIVALS = {"gepa": (".venv-gepa", "gepa_side.py"), "textgrad": (".venv-bench", "textgrad_side.py")}


def run_name(task: str, system: str, seed: int) -> str:
    """A run's name, as it stands in paths: it tells whoever answers nothing."""
    named = f"{task}-{system}-{seed}"
    return "".join(c if c.isalnum() else "-" for c in named)


async def rival(asked: Asked, task: str, system: str, seed: int, critic_url: str) -> list[Line]:
    """What a rival would hand out, in its order, and its end."""
    environment, script = RIVALS[system]
    order = {
        "source": str(asked.source),
        "task": task,
        "budget": max(BUDGETS),
        "seed": seed,
        "task_url": asked.task_url,
        "task_model": asked.task_model,
        "critic_url": critic_url,
        "critic_model": asked.critic_model,
    }
    process = await asyncio.create_subprocess_exec(
        str(HERE.parent / environment / "bin" / "python"),
        str(HERE / "rivals" / script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=asked.home,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": "/usr/bin:/bin", "HOME": asked.home},
    )
    said, _ = await asyncio.wait_for(process.communicate(json.dumps(order).encode()), SECONDS)
    lines = [line for x in said.decode().splitlines() if (line := _told(x))]
    if process.returncode or not lines or "ended" not in lines[-1]:
        raise RuntimeError(f"{system} on {task} ended with {process.returncode}")
    return lines


def _told(line: str) -> Line:
    """A line of JSON that a rival's side prints; empty for what the rival itself prints."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "calls" in found else {}


async def ours(asked: Asked, task: str, system: str, seed: int, critic_url: str) -> list[Line]:
    """The same of our own server, driven by a client as any assistant drives it."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "run.db"
        settings = _settings(asked, task, critic_url, database)
        async with Client(build(settings), read_timeout_seconds=SECONDS) as client:
            session, loss = await _program(client, tasks.load(asked.source, task))
            arguments = {"steps": 50, "patience": 50, "seed": seed, **OURS[system]}
            result = await call(
                client,
                "optimize",
                session_id=session,
                loss=loss,
                budget={"calls": max(BUDGETS)},
                **arguments,
            )
        *handed, end = _handed_out(database)
        return [*handed, end | {"stopped": result["stopped"]}]


def _settings(asked: Asked, task: str, critic_url: str, database: Path) -> Settings:
    chosen = tasks.load(asked.source, task)
    role = RoleSettings(
        base_url=asked.task_url,
        model=asked.task_model,
        api_key=SecretStr("task"),
        params={"temperature": 0.0, "max_tokens": chosen.tokens},
        concurrency=4,
        timeout=600,
        retries=0,
    )
    backward = RoleSettings(
        base_url=critic_url,
        model=asked.critic_model,
        api_key=SecretStr("critic"),
        concurrency=8,
        timeout=3600,
        retries=0,
    )
    command = [sys.executable, str(HERE / "rivals" / "tasks.py"), str(asked.source), task]
    return Settings(
        database=database,
        forward=role,
        backward=backward,
        soft_deadline=3600,
        evaluators={"score": EvaluatorSettings(command=command, description="scores an output")},
    )


async def call(client: Client, tool: str, **arguments: Any) -> Line:
    """A tool's structured result, waited for. Anything but a done call ends the benchmark."""
    result = await client.call_tool(tool, arguments)
    found: Line = result.structured_content or {}
    while found.get("status") == "running":
        again = await client.call_tool("resume", {"session_id": arguments["session_id"]})
        found = again.structured_content or {}
    if found.get("status") != "done":
        raise RuntimeError(f"{tool}: {found.get('error')} {found.get('next')} {result.content}")
    return found


async def _program(client: Client, task: tasks.Task) -> tuple[str, str]:
    """The session and the loss: one prompt before the input, scored by the task's own program."""
    made = await call(client, "create_variable", role="system prompt", value=task.prompt)
    at = {"session_id": made["session_id"]}
    for field in ({"example_field": "input"}, {"example_field": "answer", "reference": True}):
        await call(client, "create_variable", role=str(field["example_field"]), **field, **at)
    output = await call(
        client,
        "forward",
        operation="llm",
        system="v1",
        inputs={"input": "v2"},
        template="{input}",
        **at,
    )
    loss = await call(
        client,
        "compute_loss",
        kind="evaluator",
        evaluator="score",
        inputs={"output": output["variable"], "answer": "v3"},
        **at,
    )
    for split in ("train", "validation"):
        await call(client, "add_examples", split=split, examples=task.splits[split], **at)
    return at["session_id"], loss["loss"]


def _handed_out(database: Path) -> list[Line]:
    """The versions of the prompt with the calls that had been answered when each was installed."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        calls = db.execute(
            "SELECT answered, purpose FROM calls WHERE answerer = 'openai' AND status = 'answered' "
            "ORDER BY answered"
        ).fetchall()
        versions = db.execute(
            "SELECT v.created, v.text, s.after FROM versions v LEFT JOIN steps s ON "
            "s.session = v.session AND s.n = v.step WHERE v.variable = 1 ORDER BY v.version"
        ).fetchall()
        [before] = db.execute("SELECT before FROM steps ORDER BY n LIMIT 1").fetchone() or [0.0]
    lines = []
    for created, text, score in versions:
        by_then = [purpose for answered, purpose in calls if answered <= created]
        lines.append(
            {"text": text, "validation": before if score is None else score, **_counted(by_then)}
        )
    return [*lines, {"ended": True, **_counted([purpose for _, purpose in calls])}]


def _counted(purposes: list[str]) -> dict[str, int]:
    task = sum(p == "forward" for p in purposes)
    return {"calls": len(purposes), "task": task, "critic": len(purposes) - task}


async def held_out(asked: Asked, task: str, texts: list[str]) -> dict[str, float]:
    """Each text's mean score on the held-out rows."""
    chosen = tasks.load(asked.source, task, asked.held_out)
    rows = chosen.splits["test"]
    async with AsyncOpenAI(base_url=asked.task_url, api_key="none", timeout=600) as client:

        async def score(text: str, row: tasks.Row) -> float:
            reply = await client.chat.completions.create(
                model=asked.task_model,
                messages=[
                    {"role": "system", "content": text},
                    {"role": "user", "content": row["input"]},
                ],
                temperature=0,
                max_tokens=chosen.tokens,
            )
            return chosen.score(reply.choices[0].message.content or "", row)[0]

        return {
            text: fmean(await asyncio.gather(*(score(text, row) for row in rows)))
            for text in dict.fromkeys(texts)
        }


async def curve(asked: Asked, task: str, handed: list[Line]) -> Line:
    """The held-out scores of the text to start from, and of what is handed out at each budget."""
    by_budget = {b: [h for h in handed if h["calls"] <= b] for b in BUDGETS}
    start = tasks.load(asked.source, task).prompt
    texts = {b: (found[-1]["text"] if found else start) for b, found in by_budget.items()}
    scores = await held_out(asked, task, [start, *texts.values()])
    found = {str(b): scores[text] for b, text in texts.items()}
    return {"start": scores[start], "held_out": found}


async def rescore(asked: Asked) -> None:
    """Measure the texts of a file again, on more held-out rows; the lines are printed."""
    for text in asked.file.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        line |= await curve(asked, line["task"], line["texts"])
        print(json.dumps(line, ensure_ascii=False), flush=True)


async def one(asked: Asked, task: str, system: str, seed: int) -> Line:
    """One run, from its first call to its curve."""
    name = run_name(task, system, seed)
    url = asked.critic_url or f"http://127.0.0.1:{asked.critic_port}/{name}/v1"
    side = rival if system in RIVALS else ours
    *handed, end = await side(asked, task, system, seed, url)
    if asked.critic_queue:
        (asked.critic_queue / name).mkdir(parents=True, exist_ok=True)
        (asked.critic_queue / name / critic.ENDED).touch()
    good = [h["calls"] for h in handed if (h["validation"] or 0) >= GOOD]
    return {
        "task": task,
        "system": system,
        "seed": seed,
        **await curve(asked, task, handed),
        "good_after": good[0] if good else None,
        "spent": {k: end[k] for k in ("calls", "task", "critic")},
        "stopped": end.get("stopped", "budget"),
        "texts": [{k: h[k] for k in ("calls", "validation", "text")} for h in handed],
    }


@contextlib.asynccontextmanager
async def queue(asked: Asked) -> AsyncIterator[None]:
    """The critic's queue, where one was asked for."""
    if asked.critic_queue is None:
        yield
        return
    runner = await critic.serve(asked.critic_queue, asked.critic_port)
    try:
        yield
    finally:
        await runner.cleanup()


async def run(asked: Asked) -> None:
    """Run what is not in the output file yet, some at a time."""
    text = asked.out.read_text(encoding="utf-8") if asked.out.exists() else ""
    done = {(x["task"], x["system"], x["seed"]) for x in map(json.loads, text.splitlines())}
    wanted = [(t, s, n) for n in asked.seeds for t in asked.tasks for s in asked.systems]
    slots = asyncio.Semaphore(asked.jobs)

    async def keep(task: str, system: str, seed: int) -> None:
        async with slots:
            print(f"begins: {run_name(task, system, seed)}", flush=True)
            try:
                line = await one(asked, task, system, seed)
            except RuntimeError as error:  # the others go on; begun again, this one is run again
                print(f"failed: {run_name(task, system, seed)}: {error}", flush=True)
                return
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(f"ended: {task}, {system}, {seed}: {line['held_out']}", flush=True)

    async with queue(asked):
        await asyncio.gather(*(keep(*w) for w in wanted if w not in done))


def table(lines: list[Line]) -> str:
    """Mean held-out scores by budget for each task and system, and over the tasks, in Markdown."""
    heads = ["task", "system", "seeds", "start", *map(str, BUDGETS), f"calls to {GOOD}", "task"]
    out = ["| " + " | ".join([*heads, "critic"]) + " |", "|---" * (len(heads) + 1) + "|"]
    systems = list(dict.fromkeys(line["system"] for line in lines))
    names = list(dict.fromkeys(line["task"] for line in lines))
    for task in [*names, "mean"]:
        for system in systems:
            found = [x for x in lines if x["system"] == system and task in (x["task"], "mean")]
            if found:
                out.append(f"| {task} | {system} | {len(found)} | {_cells(found)} |")
    return "\n".join(out)


def _cells(found: list[Line]) -> str:
    cells = [f"{fmean(x['start'] for x in found):.2f}"]
    cells += [f"{fmean(x['held_out'][str(b)] for x in found):.2f}" for b in BUDGETS]
    good = [x["good_after"] for x in found]
    reached = [g for g in good if g is not None]
    cells.append(f"{fmean(reached):.0f} ({len(reached)} of {len(good)})" if reached else "never")
    cells += [f"{fmean(x['spent'][k] for x in found):.0f}" for k in ("task", "critic")]
    return " | ".join(cells)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one_verb, again = verbs.add_parser("run"), verbs.add_parser("rescore")
    again.add_argument("file", type=Path)
    for verb in (one_verb, again):
        verb.add_argument("--task-url", default="http://127.0.0.1:8080/v1")
        verb.add_argument("--task-model", default="qwen2.5-coder-1.5b")
        verb.add_argument("--source", type=Path, required=True, help="tasks: a .py or a folder")
        verb.add_argument("--held-out", type=int, default=tasks.HELD_OUT, help="rows")
    one_verb.add_argument("--critic-url", help="an endpoint that criticises and rewrites")
    one_verb.add_argument("--critic-model", default="critic")
    one_verb.add_argument("--critic-queue", type=Path, help="or a folder where requests wait")
    one_verb.add_argument("--critic-port", type=int, default=9100)
    one_verb.add_argument("--tasks", nargs="+", required=True)
    every = [*OURS, *RIVALS]
    one_verb.add_argument("--systems", nargs="+", choices=every, default=["ours", *RIVALS])
    one_verb.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    one_verb.add_argument("--jobs", type=int, default=4, help="runs at a time")
    one_verb.add_argument("--out", type=Path, default=Path("head_to_head.jsonl"))
    one_verb.add_argument("--home", default=tempfile.gettempdir(), help="the rivals' HOME")
    shown = verbs.add_parser("table")
    shown.add_argument("file", type=Path)
    asked = parser.parse_args()
    if asked.verb == "table":
        lines = [json.loads(x) for x in asked.file.read_text(encoding="utf-8").splitlines()]
        print(table(lines))
        return
    if asked.verb == "rescore":
        asyncio.run(rescore(asked))
        return
    if not asked.critic_url and not asked.critic_queue:
        parser.error("name a critic: --critic-url or --critic-queue")
    asked.source = asked.source.resolve()
    asyncio.run(run(asked))


if __name__ == "__main__":
    main()
