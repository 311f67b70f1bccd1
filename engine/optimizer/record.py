"""What a step did, as it is stored: every proposal with its verdict, reason and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...schemas.graph import Gradient, Kind, Proposal, Variable
from ..program.missing_fields import named
from ..store import StepRecord
from . import gate
from .candidate import Candidate
from .reflect_prompt import HYPOTHESIS


def record_of(
    parameters: Sequence[Variable],
    gradients: Mapping[str, Sequence[Gradient]],
    candidates: Sequence[Candidate],
    decision: gate.GateResult,
    lineage: Mapping[str, Sequence[str]] | None = None,
) -> StepRecord:
    """The step to be stored: every proposal with its verdict, reason and scores.

    `lineage` are the gradients of earlier steps that led to the text which was rewritten now.
    """
    before = lineage or {}
    compared = bool(decision.split)
    gain = decision.gain
    proposals = [
        Proposal(
            step="",
            variable=p.id,
            parent=p.version,
            text=candidate.texts.get(p.id, ""),
            verdict="accepted" if index == decision.winner else "refused",
            fate=decision.reasons[index].fate,
            reason=decision.reasons[index].words + _quoting(candidate),
            gradients=[*before.get(p.id, []), *(g.id for g in gradients.get(p.id, []))],
            **_scores(decision, index),
        )
        for index, candidate in enumerate(candidates)
        for p in parameters
        if _is_proposal(candidate, p)
    ]
    return StepRecord(
        accepted=decision.winner is not None,
        gate=decision.summary,
        before=decision.before if compared else None,
        after=decision.scores.get(decision.winner) if decision.winner is not None else None,
        gain=gain.gain if gain else None,
        error=gain.standard_error if gain else None,
        p=gain.p if gain else None,
        split=decision.split or None,
        examples=decision.examples,
        proposals=proposals,
    )


def _quoting(candidate: Candidate) -> str:
    """Notes on the training examples that a proposal quotes, and on the hypothesis behind it."""
    quotes = candidate.quotes
    said = f" (quotes training examples: {named(quotes)})" if quotes else ""
    return said + (f"{HYPOTHESIS}{candidate.idea})" if candidate.idea else "")


def _is_proposal(candidate: Candidate, p: Variable) -> bool:
    if candidate.refused:
        return p.kind is Kind.PARAMETER
    return p.id in candidate.texts and candidate.texts[p.id] != p.value


def _scores(decision: gate.GateResult, index: int) -> dict[str, Any]:
    """A proposal's scores, where it got as far as being compared."""
    if index not in decision.scores:
        return {}
    gain = decision.gains[index]
    return {
        "score": decision.scores[index],
        "parent_score": decision.before,
        "gain": gain.gain,
        "error": gain.standard_error,
        "p": gain.p,
        "split": decision.split,
        "examples": decision.examples,
    }
