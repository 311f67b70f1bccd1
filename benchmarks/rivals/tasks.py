"""The tasks of the head-to-head: rows, a score with feedback, and the prompt to start from.

Only the standard library is used, since each system runs this in an environment of its own. Run as
a program (`tasks.py FILE TASK`) it is the evaluator that textgrad-mcp calls.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAIN, VALIDATION, HELD_OUT = 24, 10, 20
Row = dict[str, str]
Score = Callable[[str, Row], tuple[float, str]]


@dataclass(frozen=True)
class Task:
    """`score` gives 0..1 and words on an output; `tokens` is the longest answer."""

    name: str
    prompt: str
    score: Score
    tokens: int
    splits: dict[str, list[Row]]


def load(source: Path, name: str, held_out: int = HELD_OUT) -> Task:
    """A task of a Python file with TASKS (rows, score, start, ...), or of a folder of data sets.

    `held_out` is how many rows its test split has, as far as there are so many.
    """
    if source.is_dir():
        return _of_folder(source, name, held_out)
    return _of_file(source, name, held_out)


def _of_file(source: Path, name: str, held_out: int) -> Task:
    spec = importlib.util.spec_from_file_location("tasks_of_file", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows, score, start, *_, tokens = module.TASKS[name]
    # The first rows of a seed are the same however many are asked for.
    found = _distinct(rows(4 * (TRAIN + VALIDATION + held_out), 0))
    return Task(name, start, score, tokens, _split(found, held_out))


def _of_folder(source: Path, name: str, held_out: int) -> Task:
    files = sorted(source.glob(f"{name}.*.jsonl"))
    lines = [json.loads(x) for file in files for x in file.read_text("utf-8").splitlines()]
    found = [{"input": x["question"], "answer": str(x["answer"])} for x in lines]
    score = exact if "sorting" in name else number
    return Task(name, "Answer the question.", score, 200, _split(_distinct(found), held_out))


def _distinct(rows: list[Row]) -> list[Row]:
    return list({row["input"]: row for row in rows}.values())


def _split(rows: list[Row], held_out: int) -> dict[str, list[Row]]:
    train, rest = rows[:TRAIN], rows[TRAIN:]
    return {
        "train": train,
        "validation": rest[:VALIDATION],
        "test": rest[VALIDATION : VALIDATION + held_out],
    }


def exact(output: str, row: Row) -> tuple[float, str]:
    """Whether the output is the right answer, to the letter."""
    right = output.strip() == row["answer"].strip()
    return float(right), "Right." if right else f"Expected exactly: {row['answer']}"


def number(output: str, row: Row) -> tuple[float, str]:
    """Whether the last number of the output is that of the right answer."""
    wanted, got = (re.findall(r"-?\d[\d,]*\.?\d*", x) for x in (row["answer"], output))
    right = bool(got) and bool(wanted) and _value(got[-1]) == _value(wanted[-1])
    last = wanted[-1] if wanted else row["answer"]
    return float(right), "Right." if right else f"Expected the number {last} at the end."


def _value(digits: str) -> float:
    return float(digits.replace(",", "").rstrip("."))


def main() -> None:
    """Score the output on stdin against the answer there."""
    given: dict[str, Any] = json.load(sys.stdin)["inputs"]
    task = load(Path(sys.argv[1]), sys.argv[2])
    score, feedback = task.score(given["output"], {"answer": given["answer"]})
    print(json.dumps({"score": score, "feedback": feedback}))


if __name__ == "__main__":
    main()
