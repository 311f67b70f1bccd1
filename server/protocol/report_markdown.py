"""A session's report in Markdown: what was proposed, what was won, and the price."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ...schemas.graph import Fate, Proposal, Session
from ...schemas.report import Change, Measured, Parameter, Price, SessionReport
from ..terminal import one_line
from .markdown import block, inline, paragraph

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.store import Store

SHOWN = 20


async def report(store: Store, one: Session) -> str:
    """The report of everything this session has done so far."""
    from ...engine.views.session_report import session_report

    proposals = await store.history.proposals(one.pk, limit=SHOWN)
    return drawn(await session_report(store, one, texts=True), proposals)


def drawn(found: SessionReport, proposals: list[Proposal]) -> str:
    """A report with texts in Markdown, and the newest proposals."""
    lines = [f"# Session {found.session_id}", ""]
    lines += [*(block(one_line(found.title)) if found.title else []), ""]
    lines += _won(found)
    lines += _scores(found.scores)
    lines += _texts(found.parameters)
    lines += _lineage(found)
    lines += _verdicts(proposals, found.proposals)
    lines += ["## Data", ""]
    lines += [f"- {split}: {n} examples" for split, n in found.examples.items() if n] or [
        "No examples."
    ]
    lines += ["", f"The test split was evaluated {found.test_reads} times.", ""]
    lines += _price(found.price)
    return "\n".join(lines)


def _won(found: SessionReport) -> list[str]:
    total = sum(found.proposals.values())
    lines = [
        "## Result",
        "",
        found.headline,
        "",
        f"{found.steps} steps, {found.accepted} accepted; {total} proposals.",
    ]
    gated = found.gated
    if gated:
        lines.append(
            f"Score before the first step {gated.before:.3f}, after the last accepted one "
            f"{gated.after:.3f}, each on the examples its step was gated on."
        )
    else:
        lines.append("No step was gated on a score.")
    return [*lines, ""]


def _scores(scores: list[Change]) -> list[str]:
    if not scores:
        return []
    lines = ["## Scores", "", "Means with their standard errors, first and latest.", ""]
    lines += ["| loss | split | examples | first | latest | gain |", "|---|---|---|---|---|---|"]
    for s in scores:
        gain = f"{s.said}{' (paired)' if s.paired else ''}"
        cells = (s.loss, s.split, str(s.latest.examples), _at(s.first), _at(s.latest), gain)
        lines.append(f"| {' | '.join(map(inline, cells))} |")
    return [*lines, ""]


def _at(one: Measured) -> str:
    return f"{one.said} at {json.dumps(one.versions, separators=(',', ':'))}"


def _lineage(found: SessionReport) -> list[str]:
    """How each parameter came to its text, with the feedback that led to each version."""
    lines: list[str] = []
    for p in found.parameters:
        for one in p.lineage:
            how = inline(one.gate)
            made = f"by {one.step or one.origin}"
            lines += [f"- {p.id} version {one.version}, {made}{f': {how}' if how else ''}", ""]
            for said in one.feedback:
                lines += [*paragraph(said, indent=2), ""]
    said_too = [x for line in found.left_out for x in (line, "")]
    return ["## Lineage", "", *lines, *said_too] if lines else []


def _texts(parameters: list[Parameter]) -> list[str]:
    lines = ["## Parameters", ""]
    for p in parameters:
        if p.text is not None:
            lines += [f"### {p.id}, version {p.version}", "", f"{inline(p.name or p.role)}:", ""]
            lines += [*block(p.text), ""]
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


def _price(price: Price) -> list[str]:
    lines = ["## Price", "", "| purpose | calls | prompt tokens | completion tokens | cost |"]
    lines.append("|---|---|---|---|---|")
    for purpose, used in price.by_purpose.items():
        tokens = (int(used.get(k) or 0) for k in ("calls", "prompt_tokens", "completion_tokens"))
        cost = f"{used['cost']:.4f}" if used.get("cost") else ""
        lines.append(f"| {purpose} | {' | '.join(str(n) for n in tokens)} | {cost} |")
    total = f"{price.calls} calls, {price.tokens} tokens"
    total += f", {price.cost:.4f} dollars" if price.cost else ""
    return [*lines, "", f"In all: {total}.", ""]
