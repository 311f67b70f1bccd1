"""The stages of learning, shared by the single tools and by `optimize`: gradients, then a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..schemas.errors import Conflict
from ..schemas.graph import HERE, Gradient, Kind, Proposal, Session, Variable
from . import gate
from .backward import Plan, backward, requires_grad
from .complete import complete, left_out, named
from .core import Core
from .demonstrations import demonstrations
from .forward import Evaluation, evaluate, load
from .ledger import Work
from .step import Candidate
from .store import StepRecord


@dataclass
class Learnt:
    """What a backward pass found at `places`, the examples that gave usable replies.

    `notes` are on examples that were left out.
    """

    evaluation: Evaluation
    gradients: list[Gradient]
    places: list[int]
    notes: list[str]


async def gradients_on(
    work: Work,
    losses: Sequence[str],
    places: Sequence[int],
    *,
    exact: bool = False,
    direct: bool = False,
    texts: Mapping[str, str] | None = None,
) -> Learnt:
    """Compute the losses at `places`, with other `texts` for some parameters, and their gradients.

    Raises Conflict when no parameter is upstream, ReplyError when no example gave a usable reply,
    ExampleError when none can be scored.
    """
    work.phase = "computing losses"
    full, notes = await complete(work.store, work.session.pk, losses, places)
    places = full or places
    evaluation = await load(work, losses, places, overrides=texts)
    if not requires_grad(evaluation.program) & set(losses):
        raise Conflict(
            "No parameter is upstream of these losses, so there is nothing to give feedback on.",
            "Create a variable with a value and requires_grad=true and use it in forward.",
        )
    await evaluate(work, evaluation, places, tolerant=True)
    usable = [p for p in places if all(evaluation.has(loss, p) for loss in losses)]
    if not usable:
        raise next(iter(evaluation.unusable.values()))
    work.phase = "writing feedback"
    plan = Plan(work.settings.group_size, work.settings.prompt_budget, exact, direct)
    found = await backward(work, evaluation, list(losses), usable, plan)
    stored = await work.store.add_gradients(work.session.pk, found, work.fence, work.chain)
    return Learnt(evaluation, stored, usable, [*notes, *left_out(evaluation.reasons)])


async def choose(
    work: Work,
    variables: Sequence[Variable],
    losses: Sequence[str],
    avoid: Sequence[int],
    count: int,
) -> list[Candidate]:
    """Candidates that show other training examples in one demonstrations variable each."""
    turn = await work.store.last_step(work.session.pk)
    candidates = []
    for v in variables:
        texts = await demonstrations(work, v, losses, avoid, count, turn)
        candidates += [Candidate(texts={v.id: t}) for t in texts if t != v.value]
    return candidates


async def gate_places(core: Core, session: Session, losses: Sequence[str]) -> tuple[list[int], str]:
    """Where candidates are compared: the validation split, or the program itself without examples.

    Raises Conflict when there should be validation examples and are none.
    """
    named = [await core.one_variable(session, i) for i in losses]
    if not any(v.per_example for v in named):
        return [HERE], "the program's own loss"
    places = await core.store.split(session.pk, "validation")
    if not places:
        raise Conflict(
            "Candidates are compared on the validation split, which is empty.",
            f"Call add_examples(session_id='{session.id}', split='validation', ...), or step with "
            "accept='always'.",
        )
    full, _ = await complete(core.store, session.pk, losses, places)
    return full or places, "validation"


def record_of(
    parameters: Sequence[Variable],
    gradients: Mapping[str, Sequence[Gradient]],
    candidates: Sequence[Candidate],
    judged: gate.Judged,
    led: Mapping[str, Sequence[str]] | None = None,
) -> StepRecord:
    """The step to be stored: every proposal with its verdict, reason and scores.

    `led` are gradients of earlier steps that led to the text which was rewritten now.
    """
    before = led or {}
    compared = bool(judged.split)
    proposals = [
        Proposal(
            step="",
            variable=p.id,
            parent=p.version,
            text=candidate.texts.get(p.id, ""),
            verdict="accepted" if index == judged.winner else "refused",
            fate=judged.reasons[index].fate,
            reason=judged.reasons[index].words + _quoting(candidate),
            gradients=[*before.get(p.id, []), *(g.id for g in gradients.get(p.id, []))],
            **_scores(judged, index),
        )
        for index, candidate in enumerate(candidates)
        for p in parameters
        if _is_proposal(candidate, p)
    ]
    return StepRecord(
        accepted=judged.winner is not None,
        gate=judged.summary,
        before=judged.before if compared else None,
        after=judged.scores.get(judged.winner) if judged.winner is not None else None,
        split=judged.split or None,
        examples=judged.places,
        proposals=proposals,
    )


def _quoting(candidate: Candidate) -> str:
    """A note on the training examples that a proposal quotes."""
    quotes = candidate.quotes
    return f" (quotes training examples: {named(quotes)})" if quotes else ""


def _is_proposal(candidate: Candidate, p: Variable) -> bool:
    if candidate.refused:
        return p.kind is Kind.PARAMETER
    return p.id in candidate.texts and candidate.texts[p.id] != p.value


def _scores(judged: gate.Judged, index: int) -> dict[str, Any]:
    """A proposal's scores, where it got as far as being compared."""
    if index not in judged.scores:
        return {}
    return {
        "score": judged.scores[index],
        "parent_score": judged.before,
        "split": judged.split,
        "examples": judged.places,
    }
