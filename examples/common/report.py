"""The report that every example ends with."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.common.record import Ledger, Record, seconds

WIDTH = 100
CHARACTERS = 4


@dataclass(frozen=True)
class Row:
    """One figure: where it began, where it ended, the baseline's, and the paper's."""

    what: str
    before: str
    after: str
    baseline: str
    paper: str


def row(what: str, figures: Sequence[str], paper: str = "") -> Row:
    """A row from the figures before, after and of the baseline; those at the end may be missing."""
    before, after, baseline = [*figures, "", "", ""][:3]
    return Row(what, before, after, baseline, paper)


@dataclass(frozen=True)
class Report:
    """What a run came to. `baseline` says what the baseline is, `differs` what keeps the paper's
    figures from being comparable, `verdict` who won; `before` and `after` are the text itself."""

    title: str
    rows: Sequence[Row]
    baseline: str
    differs: str
    verdict: str
    before: str
    after: str


def outcome(ours: float, theirs: float | None, baseline: str) -> str:
    """Who won, said plainly, where one score of each is compared."""
    if theirs is None:
        return "No baseline was run."
    if ours > theirs:
        return f"The optimiser ends {ours - theirs:.3f} above {baseline}."
    if ours == theirs:
        return f"THE BASELINE IS AS GOOD: {baseline} has the same score."
    return f"THE BASELINE WINS: {baseline} ends {theirs - ours:.3f} above the optimiser."


def words(report: Report, record: Record, pictures: Sequence[Path]) -> str:
    """The report as text."""
    kind = "REPLAY of a recorded run" if record.replayed else "This run"
    parts = [
        "",
        report.title,
        f"{kind}; answered by {record.answered_by}.",
        "",
        *_table(report.rows),
        "",
        *_wrapped(f"Baseline: {report.baseline}"),
        *_wrapped(f"Beside the paper: {report.differs}"),
        *_wrapped(report.verdict),
        *_wrapped(price(record)),
        "",
        "The text, before and after:",
        *_diff(report.before, report.after),
        "",
        *(f"Picture: {path}" for path in pictures),
    ]
    return "\n".join(parts)


def price(record: Record) -> str:
    """What it took, sessions of the baseline apart."""
    ours = [Ledger(s) for name, s in record.sessions.items() if not is_baseline(name)]
    theirs = [Ledger(s) for name, s in record.sessions.items() if is_baseline(name)]
    said = f"Price: {_price(ours)}"
    if theirs:
        said += f"; the baseline's: {_price(theirs)}"
    return f"{said}."


def is_baseline(name: str) -> bool:
    """Whether a session belongs to the baseline."""
    return name.startswith("baseline")


def _price(ledgers: Sequence[Ledger]) -> str:
    replies = sum(len(one.replies) for one in ledgers)
    tokens = sum(one.tokens for one in ledgers)
    programs = sum(len(one.evaluated()) for one in ledgers)
    minutes = seconds(ledgers) / 60
    if tokens:
        counted = f"{tokens:,} tokens"
    else:
        about = sum(one.characters() for one in ledgers) // CHARACTERS
        counted = f"about {about:,} tokens (not counted; a token for {CHARACTERS} characters)"
    scored = f", {programs} evaluator runs" if programs else ""
    return f"{replies} model calls, {counted}{scored}, {minutes:.1f} minutes"


def _table(rows: Sequence[Row]) -> list[str]:
    head = Row("", "before", "after", "baseline", "paper")
    cells = [[r.what, r.before, r.after, r.baseline, r.paper] for r in (head, *rows)]
    wide = [max(len(line[i]) for line in cells) for i in range(5)]
    return [
        "  ".join(cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(pairs))
        for pairs in (list(zip(line, wide, strict=True)) for line in cells)
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _diff(before: str, after: str) -> list[str]:
    if before == after:
        return ["  unchanged", *(f"  {line}" for line in after.splitlines())]
    old, new = (
        [piece for line in text.splitlines() for piece in textwrap.wrap(line, WIDTH - 4) or [""]]
        for text in (before, after)
    )
    return [f"  {line}" for line in list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]]
