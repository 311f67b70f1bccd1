"""Code against tests: hard programming tasks, each solved by tests, feedback and rewrites."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from examples.code.evaluate import code_in, solves, tasks
from examples.common.main import Arguments, Example, loop, main
from examples.common.record import Ledger, NoRecord, Record, best, standard_error
from examples.common.report import Report, row
from examples.common.tools import Tools

ROLE = "a Python program that defines the function {name} for the task {task}, right and fast"
TEMPLATE = (
    "{task}\n\nWrite this function in Python, right and fast enough for the largest inputs. Reply "
    "with the whole program in one code block. (Attempt {attempt}.)"
)
BASELINE = "baseline "
AT_ONCE = 4
"""Tasks that are worked on at the same time."""


def chosen(limit: int) -> list[str]:
    """The ids of the tasks to work on."""
    return list(tasks())[: limit or None]


async def run(tools: Tools, args: Arguments) -> None:
    """A session for each task, and one for its baseline with as many calls; some at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def both(task_id: str) -> None:
        async with free:
            own = tools.another()
            calls = await improve(own, task_id, args)
            if calls:
                await best_of(own, task_id, calls)

    async with asyncio.TaskGroup() as group:
        for task_id in chosen(args.limit):
            group.create_task(both(task_id))


async def improve(tools: Tools, task_id: str, args: Arguments) -> int:
    """Rewrite one program until its shown tests pass; gives the number of model calls."""
    task = tasks()[task_id]
    tools.begin(task_id)
    role = ROLE.format(name=task["entry_point"], task=task_id)
    value, rules = task["first_attempt"], ["parses=python"]
    await tools("create_variable", role=role, value=value, constraints=rules)
    await tools("create_variable", role="the task's id", value=task_id, requires_grad=False)
    inputs = {"code": "v1", "task": "v2"}
    await tools("compute_loss", kind="evaluator", evaluator="tests", inputs=inputs)
    found = await tools("optimize", **loop(args))
    tools.say(f"{task_id}: {found['score_before']:.2f} -> {found['score_after']:.2f}")
    price = (await tools("inspect", what="report"))["view"]["price"]
    judged = price["by_purpose"].get("judge", {})  # here only the evaluator's runs
    return int(price["calls"] - judged.get("calls", 0))


async def best_of(tools: Tools, task_id: str, calls: int) -> None:
    """The baseline: so many programs written from the task alone."""
    tools.begin(BASELINE + task_id)
    prompt = tasks()[task_id]["prompt"]
    await tools("create_variable", role="the task", value=prompt, requires_grad=False)
    await tools("create_variable", role="number of the attempt", example_field="attempt")
    await tools("create_variable", role="the task's id", value=task_id, requires_grad=False)
    rows = [{"attempt": str(n)} for n in range(1, calls + 1)]
    await tools("add_examples", split="test", examples=rows)
    first = {"examples": ["e1"]}
    inputs = {"task": "v1", "attempt": "v2"}
    await tools("forward", operation="llm", inputs=inputs, template=TEMPLATE, **first)
    inputs = {"code": "v4", "task": "v3"}
    await tools("compute_loss", kind="evaluator", evaluator="tests", inputs=inputs, **first)
    await tools("evaluate", split="test")


@cache
def solved(code: str, task_id: str) -> bool:
    """Whether the hidden tests pass, too."""
    return solves(code, task_id)


def outcomes(record: Record) -> dict[str, tuple[bool, bool, bool]]:
    """By task whether it is solved before, after, and by the baseline, hidden tests included."""
    found = {}
    for task_id in tasks():
        if task_id in record.sessions:
            first, last = ends(record.ledger(task_id))
            drawn = record.sessions.get(BASELINE + task_id)
            theirs = best_drawn(first, Ledger(drawn)) if drawn else first
            found[task_id] = (
                solved(first, task_id), solved(last, task_id), solved(theirs, task_id),
            )  # fmt: skip
    return found


def ends(ledger: Ledger) -> tuple[str, str]:
    """The first program of a session and the present one."""
    return ledger.texts("v1")[0], ledger.text("v1")


def best_drawn(first: str, ledger: Ledger) -> str:
    """The program that the baseline would hand in: the best by the shown tests, or the start."""
    from examples.code.evaluate import score

    tries = ledger.evaluated()
    task_id = tries[0].inputs["task"]
    top = best(tries)
    begun, _ = score({"code": first, "task": task_id})
    return code_in(top.inputs["code"]) if top.score > begun else first


def report(record: Record) -> Report:
    """The share of tasks that are solved, with its standard error."""
    found = outcomes(record)
    if not found:
        return _own(record)
    rates = [share([one[i] for one in found.values()]) for i in range(3)]
    changed = [task for task, one in found.items() if one[1] and not one[0]]
    shown = changed[0] if changed else next(iter(found))
    before, after = ends(record.ledger(shown))
    ours, theirs = (sum(one[i] for one in found.values()) for i in (1, 2))
    return Report(
        title=f"Code against tests, LeetCode Hard, tasks: {len(found)}",
        rows=[row("solved, hidden tests included", rates, "26 % to 36 %")],
        baseline="best of n: as many programs written from the task alone as the run made model "
        "calls, the best by the shown tests handed in.",
        differs="the start here is an older model's program, the hidden tests are ours (LeetCode's "
        "own judge there), 39 tasks and gpt-4o there.",
        verdict=verdict(ours, theirs, changed),
        before=before,
        after=after,
    )


def verdict(ours: int, theirs: int, changed: Sequence[str]) -> str:
    """Who won, said plainly."""
    solved_now = f"Newly solved: {', '.join(changed) or 'none'}."
    if ours > theirs:
        return f"The optimiser solves {ours}, best of n {theirs}. {solved_now}"
    word = "AS MANY" if ours == theirs else "MORE"
    return f"THE BASELINE SOLVES {word}: {theirs}, the optimiser {ours}. {solved_now}"


def share(values: Sequence[bool]) -> str:
    """The percentage that is true, with its standard error."""
    mean = sum(values) / len(values)
    return f"{mean * 100:.0f} ± {standard_error(values) * 100:.0f} %"


def _own(record: Record) -> Report:
    """The report of a session that somebody's assistant ran on a task of this example."""
    tries = record.only().evaluated()
    if not tries or tries[0].inputs.get("task") not in tasks():
        raise NoRecord("In this session no program was tested on a task of this example.")
    renamed = {tries[0].inputs["task"]: record.only().session}
    return report(Record(record.example, record.task, record.answered_by, renamed, replayed=True))


def picture(record: Record, out: Path) -> list[Path]:
    """The share solved, and each task's shown tests before and after."""
    from examples.code.picture import draw

    found = outcomes(record)
    if not found:
        return []
    path = out / "code.png"
    scores = {
        task: (tries[0].score, best(tries).score)
        for task in found
        for tries in [record.ledger(task).evaluated()]
    }
    draw(path, found, scores)
    return [path]


EXAMPLE = Example(
    name="code",
    title="Code against tests: hard tasks, each test in a process of its own with limits.",
    tasks=("leetcode_hard",),
    steps=3,
    run=run,
    report=report,
    picture=picture,
    local=("forward", "backward"),
    params={
        "forward": {"temperature": 0.7, "max_tokens": 900},
        "backward": {"temperature": 0.2, "max_tokens": 900},
    },
)

if __name__ == "__main__":
    sys.exit(main(EXAMPLE))
