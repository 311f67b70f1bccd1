"""The demo's tasks: items in three splits, a deliberately bare prompt, and a role for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

from ...schemas.errors import BadInput

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Task:
    """A prompt to improve: where it starts, what it is for, and how the optimiser is set."""

    name: str
    title: str
    prompt: str
    role: str
    batch_size: int
    candidates: int
    steps: int
    validation: int

    def rows(self, split: str) -> list[dict[str, str]]:
        """The items of a split that the demo uses, with the fields input and answer."""
        text = files(__package__).joinpath("data", f"{self.name}.{split}.jsonl")
        rows = [json.loads(line) for line in text.read_text(encoding="utf-8").splitlines()]
        return rows[: self.validation] if split == "validation" else rows


TASKS = {
    "dates": Task(
        "dates",
        "find the date in a sentence and write it in the house format",
        "Find the date.",
        "system prompt of a program that reads dates",
        batch_size=4,
        candidates=3,
        steps=6,
        validation=16,
    ),
    "tickets": Task(
        "tickets",
        "sort support tickets into the codes that this company uses",
        "Which department should handle this ticket?",
        "system prompt of a program that sorts support tickets",
        batch_size=8,
        candidates=3,
        steps=8,
        validation=20,
    ),
}


def task(name: str) -> Task:
    """A task by name. Raises BadInput."""
    if name not in TASKS:
        raise BadInput(f"There is no demo task {name!r}.", f"Choose one of {', '.join(TASKS)}.")
    return TASKS[name]
