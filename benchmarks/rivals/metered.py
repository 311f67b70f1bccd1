"""What the rivals' sides share: calls that are counted, and what they would hand out by then.

Only the standard library is used. A side reads its order from stdin and prints a line of JSON
whenever the text it would hand out has changed.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import tasks

SECONDS = 4 * 3600.0


class Spent(BaseException):
    """The budget is used up. No Exception: the systems' own handlers must not swallow it."""


class Meter:
    """The two endpoints, and the calls made so far out of `budget`."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.budget = int(order["budget"])
        self.calls = {"task": 0, "critic": 0}
        self.task = tasks.load(Path(order["source"]), order["task"])

    def ask(self, role: str, messages: list[dict[str, str]]) -> str:
        """The reply of `role` (task or critic). Raises Spent."""
        if sum(self.calls.values()) >= self.budget:
            raise Spent
        self.calls[role] += 1
        body: dict[str, Any] = {"model": self.order[f"{role}_model"], "messages": messages}
        if role == "task":
            body |= {"temperature": 0, "max_tokens": self.task.tokens}
        request = urllib.request.Request(
            self.order[f"{role}_url"] + "/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": "Bearer none"},
        )
        with urllib.request.urlopen(request, timeout=SECONDS) as reply:
            return str(json.load(reply)["choices"][0]["message"]["content"] or "")

    def hand_out(self, text: str, validation: float) -> None:
        """Say that from now on `text` would be handed out."""
        found = {"text": text, "validation": validation, **self.calls}
        print(json.dumps(found | {"calls": sum(self.calls.values())}), flush=True)

    def end(self) -> None:
        """Say what was spent in all."""
        print(json.dumps({"ended": True, "calls": sum(self.calls.values()), **self.calls}))


def meter() -> Meter:
    """The meter of the order on stdin."""
    return Meter(json.load(sys.stdin))
