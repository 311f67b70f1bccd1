"""A session's report in Markdown: what was proposed, what was won, and the price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..schemas.graph import Fate, Proposal, Session, Variable
from .markdown import block, inline, paragraph
from .paint import one_line

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ..engine.store import Store

SHOWN = 20


async def report(store: Store, one: Session) -> str:
    """The report of everything this session has done so far."""
    from ..engine.report import report as facts

    proposals = await store.proposals(one.pk, limit=SHOWN)
    parameters = await store.parameters(one.pk)
    sizes = await store.split_sizes(one.pk)
    found = await facts(store, one)
    lines = [f"# Session {one.id}", "", *(block(one_line(one.title)) if one.title else []), ""]
    total = sum(found["proposals"].values())
    lines += _won(await store.progress(one.pk), total)
    lines += _scores(found["scores"])
    lines += _texts(parameters)
    lines += _lineage(found["parameters"], found.get("left_out", []))
    lines += _verdicts(proposals, found["proposals"])
    lines += ["## Data", ""]
    lines += [f"- {split}: {n} examples" for split, n in sizes.items() if n] or ["No examples."]
    lines += ["", f"The test split was evaluated {one.test_reads} times.", ""]
    lines += _price(one, await store.usage(one.pk))
    return "\n".join(lines)


def _won(progress: dict[str, Any], proposals: int) -> list[str]:
    gated = progress["gated"]
    lines = [
        "## Result",
        "",
        f"{progress['steps']} steps, {progress['accepted']} accepted; {proposals} proposals.",
    ]
    if gated:
        lines.append(
            f"Score before the first step {gated['before']:.3f}, after the last accepted one "
            f"{gated['after']:.3f}, each on the examples its step was gated on; "
            "evaluate(split='test') gives a held-out figure."
        )
    else:
        lines.append("No step was gated on a score.")
    return [*lines, ""]


def _scores(scores: list[dict[str, Any]]) -> list[str]:
    if not scores:
        return []
    lines = ["## Scores", "", "Means with their standard errors, first and latest.", ""]
    lines += ["| loss | split | examples | first | latest |", "|---|---|---|---|---|"]
    for s in scores:
        cells = (s["loss"], s["split"], str(s["examples"]), s["first"], s["latest"])
        lines.append(f"| {' | '.join(map(inline, cells))} |")
    return [*lines, ""]


def _lineage(parameters: list[dict[str, Any]], left_out: list[str]) -> list[str]:
    """How each parameter came to its text, with the feedback that led to each version."""
    lines: list[str] = []
    for p in parameters:
        for one in p["lineage"]:
            how = inline(str(one.get("gate") or ""))
            made = f"by {one['step']}" if one.get("step") else f"by {one['origin']}"
            lines += [
                f"- {p['id']} version {one['version']}, {made}{f': {how}' if how else ''}",
                "",
            ]
            for said in one.get("feedback", []):
                lines += [*paragraph(said, indent=2), ""]
    said_too = [x for line in left_out for x in (line, "")]
    return ["## Lineage", "", *lines, *said_too] if lines else []


def _texts(parameters: list[Variable]) -> list[str]:
    lines = ["## Parameters", ""]
    for v in parameters:
        if v.value is not None:
            lines += [f"### {v.id}, version {v.version}", "", f"{inline(v.name or v.role)}:", ""]
            lines += [*block(v.value), ""]
    return lines


def _verdicts(proposals: list[Proposal], fates: dict[str, int]) -> list[str]:
    """The newest proposals, beneath how many there were of all."""
    if not proposals:
        return []
    total, accepted = sum(fates.values()), fates.get(Fate.ACCEPTED, 0)
    shown = f"the {SHOWN} newest are listed" if total > SHOWN else "the newest first"
    lines = [
        "## Proposals",
        "",
        f"{accepted} accepted, {total - accepted} refused; {shown}.",
        "",
        "| proposal | step | variable | verdict | score | parent | reason |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in proposals:
        cells = (p.id, p.step, p.variable, p.verdict, _score(p.score), _score(p.parent_score))
        lines.append(f"| {' | '.join(map(inline, [*cells, p.reason]))} |")
    return [*lines, ""]


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"


def _price(one: Session, usage: dict[str, dict[str, float]]) -> list[str]:
    lines = ["## Price", "", "| purpose | calls | prompt tokens | completion tokens | cost |"]
    lines.append("|---|---|---|---|---|")
    for purpose, used in usage.items():
        tokens = (int(used.get(k, 0)) for k in ("calls", "prompt_tokens", "completion_tokens"))
        cost = f"{used['cost']:.4f}" if used.get("cost") else ""
        lines.append(f"| {purpose} | {' | '.join(str(n) for n in tokens)} | {cost} |")
    total = f"{one.used_calls} calls, {one.used_tokens} tokens"
    total += f", {one.used_cost:.4f} dollars" if one.used_cost else ""
    return [*lines, "", f"In all: {total}.", ""]
