"""One session as a person reads it: what was won, what was tried, how each text came to be."""

from __future__ import annotations

import difflib
from typing import Any

from ...engine.store import Store
from ...engine.views.session_report import session_report
from ...schemas.graph import Session
from ...schemas.report import Change, Measured, Parameter, Price, SessionReport
from ..terminal import Cell, Style, Styles, cleaned, one_line

REASON = 160
COUNTED = ("calls", "prompt_tokens", "completion_tokens")


async def facts(store: Store, session: Session) -> dict[str, Any]:
    """The report with all texts, fit for JSON."""
    found = await session_report(store, session, texts=True)
    return found.model_dump(mode="json")


def words(found: dict[str, Any], paint: Styles) -> str:
    """What `facts` found, as text."""
    report = SessionReport.model_validate(cleaned(found))
    title = one_line(report.title) or "untitled"
    sizes = ", ".join(f"{split} {n}" for split, n in report.examples.items() if n)
    parts = [
        [
            f"{paint(report.session_id, 'bold')}  {title}",
            f"{report.owner}, {report.created[:16]} to {report.updated[:16]}; "
            f"examples: {sizes or 'none'}; the test split was read {report.test_reads} times",
        ],
        [report.headline],
        _scores(report, paint),
        _tried(report.proposals, paint),
        *(_parameter(one, paint) for one in report.parameters if one.lineage),
        [paint(said, "dim") for said in report.left_out],
        _price(report.price, paint),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _scores(report: SessionReport, paint: Styles) -> list[str]:
    """Before and after, with standard errors; only `test` has not steered the search."""
    lines = [paint("Scores (mean ± standard error, 1 is best)", "bold")]
    head = ("loss", "split", "examples", "first", "latest", "change", "texts")
    rows: list[list[Cell]] = [[(name, "dim") for name in head]]
    rows += [_change_of(one) for one in report.scores]
    if len(rows) > 1:
        lines += paint.table(rows, "  ")
    else:
        lines.append("  Nothing was evaluated.")
    gated = report.gated
    if gated:
        lines.append(
            f"  gate on {gated.split}: {gated.before:.3f} -> {gated.after:.3f}, "
            f"{gated.accepted} of {gated.steps} compared steps accepted"
        )
    return lines


def _change_of(one: Change) -> list[Cell]:
    begun: list[Cell] = [one.loss, one.split, str(one.latest.examples), one.first.said]
    if one.gain is None:
        return [*begun, "", "", _texts(one.first)]
    style: Style = "green" if one.gain > 0 else "red" if one.gain < 0 else "dim"
    texts = f"{_texts(one.first)} -> {_texts(one.latest)}"
    return [*begun, one.latest.said, (f"{one.gain:+.3f}", style), texts]


def _texts(one: Measured) -> str:
    return ", ".join(f"{variable}@{version}" for variable, version in one.versions.items())


def _tried(proposals: dict[str, int], paint: Styles) -> list[str]:
    lines = [paint("Proposals", "bold")]
    for fate, count in proposals.items():
        lines.append(f"  {count:4} {paint(fate, 'green') if fate == 'accepted' else fate}")
    return lines if proposals else [*lines, "  None."]


def _parameter(one: Parameter, paint: Styles) -> list[str]:
    name = paint(f"{one.id}, version {one.version}", "bold")
    lines = [f"{name}  {one_line(one.role)}"]
    for made in one.lineage:
        origin = f"{made.origin} {made.step or ''}".rstrip()
        why = one_line(made.gate, REASON)
        lines.append(f"  {paint(f'version {made.version}', 'cyan')}  {origin}  {why}".rstrip())
        lines += [f"    {paint(one_line(said, REASON), 'dim')}" for said in made.feedback]
    return [*lines, *_change(one.first_text or "", one.text or "", paint)]


def _change(first: str, last: str, paint: Styles) -> list[str]:
    old, new = first.split("\n"), last.split("\n")
    if old == new:
        return [f"  | {line}" for line in new]
    found = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    return [f"  {paint.changed(line)}" for line in found]


def _price(price: Price, paint: Styles) -> list[str]:
    head = ("purpose", "calls", "prompt tokens", "completion tokens", "dollars")
    rows: list[list[Cell]] = [[(name, "dim") for name in head]]
    for purpose, used in price.by_purpose.items():
        counts = [str(int(used.get(key) or 0)) for key in COUNTED]
        rows.append([purpose, *counts, f"{used['cost']:.4f}" if used.get("cost") else ""])
    total = f"{price.calls} calls, {price.tokens:,} tokens"
    total += f", {price.cost:.4f} dollars" if price.cost else ""
    table = paint.table(rows, "  ") if len(rows) > 1 else []
    return [f"{paint('Price', 'bold')}  {total}", *table]
