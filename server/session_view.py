"""One session as a person reads it: what was won, what was tried, how each text came to be."""

from __future__ import annotations

import difflib
from typing import Any

from ..engine.report import figure, report
from ..engine.store import Store
from ..schemas.graph import Session
from .paint import Cell, Paint, Style, cleaned, one_line

REASON = 160
COUNTED = ("calls", "prompt_tokens", "completion_tokens")


async def facts(store: Store, session: Session) -> dict[str, Any]:
    """The report with figures as numbers and texts in full, fit for JSON."""
    found = await report(store, session)
    for one in found["parameters"]:
        first = await store.version(session.pk, one["id"], 1)
        last = await store.version(session.pk, one["id"], one["version"])
        one["first_text"], one["text"] = (v.text if v else "" for v in (first, last))
    return {
        "session_id": session.id,
        "title": session.title,
        "owner": session.owner,
        "created": session.created,
        "updated": session.updated,
        **found,
        "scores": await store.spans(session.pk),
        "examples": await store.split_sizes(session.pk),
    }


def words(found: dict[str, Any], paint: Paint) -> str:
    """What `facts` found, as text."""
    found = cleaned(found)
    title = one_line(found["title"]) or "untitled"
    sizes = ", ".join(f"{split} {n}" for split, n in found["examples"].items() if n)
    parts = [
        [
            f"{paint(found['session_id'], 'bold')}  {title}",
            f"{found['owner']}, {found['created'][:16]} to {found['updated'][:16]}; "
            f"examples: {sizes or 'none'}; the test split was read {found['test_reads']} times",
        ],
        _scores(found, paint),
        _tried(found, paint),
        *(_parameter(one, paint) for one in found["parameters"]),
        [paint(said, "dim") for said in found.get("left_out", [])],
        _price(found["price"], paint),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _scores(found: dict[str, Any], paint: Paint) -> list[str]:
    """Before and after, with standard errors; only `test` has not steered the search."""
    lines = [paint("Scores (mean ± standard error, 1 is best)", "bold")]
    head = ("loss", "split", "examples", "first", "latest", "change", "texts")
    rows: list[list[Cell]] = [[(name, "dim") for name in head]]
    rows += [_span(one) for one in found["scores"]]
    if len(rows) > 1:
        lines += paint.table(rows, "  ")
    else:
        lines.append("  Nothing was evaluated.")
    gated = found["gated"]
    if gated:
        lines.append(
            f"  gate on {gated['split']}: {gated['before']:.3f} -> {gated['after']:.3f}, "
            f"{gated['accepted']} of {gated['steps']} compared steps accepted"
        )
    return lines


def _span(one: dict[str, Any]) -> list[Cell]:
    first, latest = one["first"], one["latest"]
    begun: list[Cell] = [one["loss"], one["split"], str(latest["examples"]), figure(first)]
    if one["evaluations"] == 1:
        return [*begun, "", "", _texts(first)]
    gain = latest["mean"] - first["mean"]
    style: Style = "green" if gain > 0 else "red" if gain < 0 else "dim"
    change = f"{_texts(first)} -> {_texts(latest)}"
    return [*begun, figure(latest), (f"{gain:+.3f}", style), change]


def _texts(one: dict[str, Any]) -> str:
    return ", ".join(f"{variable}@{version}" for variable, version in one["versions"].items())


def _tried(found: dict[str, Any], paint: Paint) -> list[str]:
    proposals = found["proposals"]
    lines = [paint("Proposals", "bold")]
    for fate, count in proposals.items():
        lines.append(f"  {count:4} {paint(fate, 'green') if fate == 'accepted' else fate}")
    return lines if proposals else [*lines, "  None."]


def _parameter(one: dict[str, Any], paint: Paint) -> list[str]:
    name = paint(f"{one['id']}, version {one['version']}", "bold")
    lines = [f"{name}  {one_line(one['role'])}"]
    for step in one["lineage"]:
        origin = " ".join(str(step[key]) for key in ("origin", "step") if step.get(key))
        why = one_line(step.get("gate") or "", REASON)
        lines.append(
            f"  {paint('version ' + str(step['version']), 'cyan')}  {origin}  {why}".rstrip()
        )
        lines += [
            f"    {paint(one_line(said, REASON), 'dim')}" for said in step.get("feedback", [])
        ]
    return [*lines, *_change(one["first_text"], one["text"], paint)]


def _change(first: str, last: str, paint: Paint) -> list[str]:
    old, new = first.split("\n"), last.split("\n")
    if old == new:
        return [f"  | {line}" for line in new]
    found = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    return [f"  {paint.changed(line)}" for line in found]


def _price(price: dict[str, Any], paint: Paint) -> list[str]:
    head = ("purpose", "calls", "prompt tokens", "completion tokens", "dollars")
    rows: list[list[Cell]] = [[(name, "dim") for name in head]]
    for purpose, used in price["by_purpose"].items():
        counts = [str(int(used.get(key) or 0)) for key in COUNTED]
        rows.append([purpose, *counts, f"{used['cost']:.4f}" if used.get("cost") else ""])
    total = f"{price['calls']} calls, {price['tokens']:,} tokens"
    total += f", {price['cost']:.4f} dollars" if price["cost"] else ""
    table = paint.table(rows, "  ") if len(rows) > 1 else []
    return [f"{paint('Price', 'bold')}  {total}", *table]
