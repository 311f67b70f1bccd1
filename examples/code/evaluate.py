"""Runs a candidate function against its tests, each in a process of its own with limits.

As an evaluator: `score({"code": ..., "task": ...})` gives the share of the shown tests (the
examples of the task's description, three small ones and a large one) that pass, and says of each
that fails what was expected and what came. `solves` asks the hidden tests, too, which are for
reports alone.
"""

from __future__ import annotations

import ast
import json
import re
import resource
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
RUNNER = Path(__file__).with_name("runner.py")
SECONDS = 5
"""Of processor time that one test may take."""
WAIT = 30  # seconds by the clock: for what sleeps, and on a busy machine
MEMORY = 512 << 20
SHOWN = 400  # characters of a value or a message that feedback shows


@dataclass(frozen=True)
class Verdict:
    """What came of one test: whether it passed, and a line that says how."""

    passed: bool
    said: str


@cache
def tasks() -> dict[str, dict[str, Any]]:
    """The tasks by id: prompt, tests, entry_point, first_attempt."""
    lines = (DATA / "tasks.jsonl").read_text("utf-8").splitlines()
    return {row["task_id"]: row for row in map(json.loads, lines)}


@cache
def more_tests() -> dict[str, dict[str, list[str]]]:
    """By task id the `shown` assertions and the `hidden` ones, made by `make_tests.py`."""
    lines = (DATA / "tests.jsonl").read_text("utf-8").splitlines()
    return {row["task_id"]: row for row in map(json.loads, lines)}


def shown_tests(task_id: str) -> list[str]:
    """What the loop may see: the description's examples, and some more."""
    return [*tasks()[task_id]["tests"], *more_tests()[task_id]["shown"]]


def code_in(text: str) -> str:
    """The program in a reply: its last code block, or all of it where there is none."""
    blocks = re.findall(r"```(?:python|py)?[ \t]*\n(.*?)```", text, re.DOTALL | re.IGNORECASE)
    return str(blocks[-1]) if blocks else text


def score(inputs: dict[str, str]) -> tuple[float, str]:
    """The share of the shown tests that `code` passes, and what went wrong, with the task's own
    description for whoever rewrites it.

    `inputs` has `code` and `task`, an id. Whatever the code is or does, there is a score.
    """
    task = tasks().get(inputs.get("task", "").strip())
    if task is None:
        return 0.0, f"There is no task {inputs.get('task', '')!r}."
    code = code_in(inputs.get("code", ""))
    fault = broken(code, task["entry_point"])
    wanted = f"\nThe task is:\n{task['prompt']}"
    if fault:
        return 0.0, fault + wanted
    verdicts = run_tests(code, shown_tests(task["task_id"]))
    passed = sum(v.passed for v in verdicts)
    failed = [v.said for v in verdicts if not v.passed]
    lines = [f"{passed} of {len(verdicts)} tests pass.", *failed]
    return passed / len(verdicts), "\n".join(lines) + (wanted if failed else "")


def solves(code: str, task_id: str) -> bool:
    """Whether `code` passes all tests of a task, the hidden ones included."""
    task = tasks()[task_id]
    if broken(code, task["entry_point"]):
        return False
    tests = [*shown_tests(task_id), *more_tests()[task_id]["hidden"]]
    return all(v.passed for v in run_tests(code, tests, stop=True))


def broken(code: str, name: str) -> str:
    """Why `code` cannot be tried, in words; empty where it can."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        return f"This is no Python: {error.__class__.__name__}{where}: {error}."[:SHOWN]
    functions = (ast.FunctionDef, ast.Assign)
    if not any(isinstance(node, functions) and name in ast.unparse(node) for node in tree.body):
        return f"It defines no function {name} at the top level, which the tests call."
    return ""


def run_tests(code: str, tests: Sequence[str], *, stop: bool = False) -> list[Verdict]:
    """What comes of each test; with `stop`, up to the first that fails."""
    verdicts = []
    for test in tests:
        verdicts.append(_run(code, test))
        if stop and not verdicts[-1].passed:
            break
    return verdicts


def _run(code: str, test: str) -> Verdict:
    """One test in a process of its own, which has nothing but the code and the test."""
    mark = secrets.token_hex(8)
    sent = json.dumps({"code": code, "test": test, "mark": mark})
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(RUNNER)],
                input=sent.encode(),
                capture_output=True,
                cwd=folder,
                env={"LANG": "C.UTF-8"},
                timeout=WAIT,
                preexec_fn=_limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Verdict(False, _line(test, f"it did not end within {WAIT} s by the clock"))
    out = done.stdout.decode("utf-8", "replace")
    _, found, said = out.rpartition(mark)
    if not found:
        return Verdict(False, _line(test, _ended(done.returncode, done.stderr)))
    answer = json.loads(said)
    return Verdict(answer["passed"], _line(test, answer["said"]))


def _limit() -> None:
    """In the child, before the interpreter starts: limits on time, memory and files."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _ended(code: int, stderr: bytes) -> str:
    if code == -24:  # SIGXCPU
        return f"it did not end within {SECONDS} s"
    tail = stderr.decode("utf-8", "replace").strip()[-SHOWN:]
    return f"its process ended (exit code {code}) {tail}".rstrip()


def _line(test: str, said: str) -> str:
    shown = test if len(test) <= SHOWN else f"{test[:SHOWN]} ..."
    return f"{shown}\n  -> {said}"
