"""The demo's closing report: what was won on unseen items, what was tried, what it cost."""

from __future__ import annotations

import difflib
import textwrap
from dataclasses import dataclass
from typing import Any

from ..paint import Paint, Style, cleaned
from .tasks import Task


@dataclass(frozen=True)
class Outcome:
    """What a demo came to: the tools' results before, of and after the search, the session's
    report, and how many seconds it all took."""

    task: Task
    before: dict[str, Any]
    found: dict[str, Any]
    after: dict[str, Any]
    session: dict[str, Any]
    seconds: float

    def facts(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "task": self.task.name,
            "before": self.before,
            "optimize": self.found,
            "after": self.after,
            "report": self.session,
            "seconds": round(self.seconds, 1),
        }


def report(outcome: Outcome, paint: Paint) -> str:
    """The report as text. Scores are means with their standard errors."""
    before, found, after = map(cleaned, (outcome.before, outcome.found, outcome.after))
    session = cleaned(outcome.session)
    parameter = session["parameters"][0]
    parts = [
        "",
        f"The task: {outcome.task.title}.",
        "",
        _scores(before, found, after),
        "",
        paint(*_verdict(before, after)),
        "",
        paint("What was tried:", "bold"),
        *(f"  {count:3} {fate}" for fate, count in session["proposals"].items()),
        *_proposals(found),
        "",
        _price(session["price"], outcome.seconds, found),
        "",
        paint("The prompt:", "bold"),
        *_diff(parameter["first_text"], parameter["text"], paint),
    ]
    return "\n".join(parts)


def _scores(before: dict[str, Any], found: dict[str, Any], after: dict[str, Any]) -> str:
    rows = [
        ("items the optimiser never saw", before["examples"], _figure(before), _figure(after)),
        (
            "validation items (each step was checked on them)",
            "",
            f"{found['score_before']:.2f}",
            f"{found['score_after']:.2f}",
        ),
    ]
    lines = [f"{'score (1 is best)':50} {'items':>5}  {'before':>13}  {'after':>13}"]
    lines += [f"{what:50} {n!s:>5}  {b:>13}  {a:>13}" for what, n, b, a in rows]
    return "\n".join(lines)


def _figure(evaluation: dict[str, Any]) -> str:
    error = evaluation.get("standard_error")
    return f"{evaluation['mean_score']:.2f}" + (f" ± {error:.2f}" if error is not None else "")


def _verdict(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, Style]:
    gain = after["mean_score"] - before["mean_score"]
    noise = (before.get("standard_error") or 0) ** 2 + (after.get("standard_error") or 0) ** 2
    if gain > 2 * noise**0.5:
        return f"Gained {gain:+.2f} on unseen items, well beyond noise.", "green"
    if gain > 0:
        return f"Gained {gain:+.2f} on unseen items, which may be noise.", "yellow"
    return f"Nothing was gained on unseen items ({gain:+.2f}). Try another seed: --seed 1.", "red"


def _proposals(found: dict[str, Any]) -> list[str]:
    lines = []
    for p in found.get("proposals", []):
        text = textwrap.shorten(p.get("text", "") or "(no usable text)", 68)
        lines += [f"  {p['id']:>4} {p['verdict']:8} {text}", f"       {'':8} {p['reason']}"]
    return lines


def _price(price: dict[str, Any], seconds: float, found: dict[str, Any]) -> str:
    return (
        f"Price: {price['calls']} model calls, {price['tokens']:,} tokens, {seconds:.0f} s in all; "
        f"stopped because of: {found.get('stopped')}."
    )


def _diff(old: str, new: str, paint: Paint) -> list[str]:
    if old == new:
        return ["  unchanged: " + old]
    wrapped = [
        [line for part in text.splitlines() for line in textwrap.wrap(part, 88) or [""]]
        for text in (old, new)
    ]
    lines = list(difflib.unified_diff(wrapped[0], wrapped[1], "before", "after", lineterm="", n=1))
    return [f"  {paint.changed(line)}" for line in lines]
