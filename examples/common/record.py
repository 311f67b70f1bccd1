"""What is kept of a run, and what can be read from it: reports and pictures come from this alone.

A record holds sessions as the server exports them (each with its whole ledger: every prompt, reply
and evaluation) and what the baseline scored. So a replay reads the same things as the run itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from examples.common.tools import Facts

FORMAT = "textgrad-mcp example"
_INPUT = re.compile(r'<(input-\w+) name="(\w+)">\n(.*?)\n?</\1>', re.DOTALL)


class NoRecord(Exception):
    """A file is no record of the example; the text says why."""


@dataclass(frozen=True)
class Evaluated:
    """One run of an evaluator: the texts it was given, its score (0 to 1) and feedback."""

    inputs: dict[str, str]
    score: float
    feedback: str
    at: str = ""


@dataclass(frozen=True)
class Record:
    """A run of an example. `sessions` are exports by name; `baseline` is in the order tried;
    `options` are those of the command."""

    example: str
    task: str
    answered_by: str
    sessions: dict[str, Facts]
    baseline: list[Evaluated] = field(default_factory=list)
    options: Facts = field(default_factory=dict)
    replayed: bool = False

    def ledger(self, name: str) -> Ledger:
        """A session by its name. Raises NoRecord."""
        if name not in self.sessions:
            held = ", ".join(self.sessions) or "none"
            raise NoRecord(
                f"The record has no session {name!r}, which the report needs; it has {held}."
            )
        return Ledger(self.sessions[name])

    def only(self) -> Ledger:
        """The session that the record begins with. Raises NoRecord."""
        return self.ledger(next(iter(self.sessions), self.task))

    def save(self, path: Path) -> None:
        """Write it to a file."""
        facts = asdict(self) | {"format": FORMAT}
        del facts["replayed"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", "utf-8")


def load(path: Path, example: str, default_session: str) -> Record:
    """A record from a file, or from a session that an assistant ran and `textgrad-mcp sessions
    export` wrote; that becomes `default_session`. Raises NoRecord."""
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise NoRecord(f"{path} cannot be read: {error}.") from None
    if not isinstance(facts, dict):
        raise NoRecord(f"{path} holds no record.")
    if facts.get("format") == "textgrad-mcp session":
        return Record(example, "", "an assistant", {default_session: facts}, replayed=True)
    if facts.pop("format", None) != FORMAT or facts.get("example") != example:
        raise NoRecord(f"{path} is no record of the example {example}.")
    try:
        facts["baseline"] = [Evaluated(**one) for one in facts["baseline"]]
        return Record(**facts, replayed=True)
    except (KeyError, TypeError) as error:
        raise NoRecord(f"{path} is no whole record: {error}.") from None


class Ledger:
    """What an exported session tells."""

    def __init__(self, session: Facts) -> None:
        self.session = session
        self.calls: list[Facts] = [c for c in session["calls"] if c["status"] != "pending"]
        self.replies = [c for c in self.calls if not c["answerer"].startswith("evaluator ")]
        self.tokens = sum(c["prompt_tokens"] + c["completion_tokens"] for c in self.replies)

    def evaluated(self) -> list[Evaluated]:
        """What evaluators scored, in the order they did."""
        found = [c for c in self.calls if c["answerer"].startswith("evaluator ")]
        return [_evaluated(call) for call in sorted(found, key=lambda c: str(c["answered"]))]

    def texts(self, variable: str) -> list[str]:
        """All versions of a variable's text."""
        n = int(variable[1:])
        rows = [row for row in self.session["versions"] if row["variable"] == n]
        return [row["text"] for row in sorted(rows, key=lambda row: int(row["version"]))]

    def text(self, variable: str) -> str:
        """A variable's present text."""
        n = int(variable[1:])
        return next(str(row["value"]) for row in self.session["variables"] if row["n"] == n)

    def split_scores(self, split: str) -> list[Facts]:
        """The evaluations of a split, in order: mean, error (None for one example), examples."""
        return [row for row in self.session["evaluations"] if row["split"] == split]

    def steps(self) -> list[tuple[int, float]]:
        """The best validation score after each step, by the number of replies it had taken."""
        found: list[tuple[int, float]] = []
        for step in self.session["steps"]:
            if step["before"] is not None:
                replies = sum(str(c["answered"]) <= step["created"] for c in self.replies)
                found.append((replies, step["after"] if step["accepted"] else step["before"]))
        return found

    def validated(self) -> list[tuple[int, float]]:
        """The best validation score by the number of replies, from the start on."""
        checked = self.split_scores("validation")
        begun = [(0, float(checked[0]["mean"]))] if checked else []
        return begun + self.steps()

    def characters(self) -> int:
        """Of all prompts and replies; tells of the price where nobody counted tokens."""
        return sum(len(c["text"]) + _length(c["request"]["messages"]) for c in self.replies)


def seconds(ledgers: Sequence[Ledger]) -> float:
    """From the first call of sessions that ran side by side to their last answer."""
    calls = [call for one in ledgers for call in one.calls]
    if not calls:
        return 0.0
    first = min(str(c["created"]) for c in calls)
    last = max(str(c["answered"]) for c in calls)
    return (_time(last) - _time(first)).total_seconds()


def _length(messages: Sequence[Facts]) -> int:
    return sum(len(str(one["content"])) for one in messages)


def _evaluated(call: Facts) -> Evaluated:
    said = json.loads(call["text"])
    content = call["request"]["messages"][0]["content"]
    inputs = {name: text for _, name, text in _INPUT.findall(content)}
    return Evaluated(inputs, said["score"], said["feedback"], str(call["answered"]))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def scored(found: Sequence[Evaluated], name: str, text: str) -> Evaluated:
    """What the evaluator said of a text that it was given as `name`. Raises NoRecord."""
    for one in found:
        if one.inputs.get(name, "").strip() == text.strip():
            return one
    raise NoRecord(f"The record has no score of the text that it ends with: {text[:200]!r}.")


def best_so_far(scores: Sequence[float]) -> list[float]:
    """The best score up to each one."""
    return list(accumulate(scores, max))


def best(found: Sequence[Evaluated]) -> Evaluated:
    """The first of those with the highest score."""
    return max(found, key=lambda one: one.score)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of these values."""
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values)
    return float((spread / max(1, len(values) - 1) / len(values)) ** 0.5)
