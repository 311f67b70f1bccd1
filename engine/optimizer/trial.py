"""Candidates on trial: the minibatch's best goes on to validation, which is read in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ...schemas.graph import NO_EXAMPLE, Fate, Kind
from ..answerers import OUTSIDE
from ..evaluation.scoring import Scored, Texts, compare
from ..program.forward import Evaluation, made_from
from ..program.lineups import asked
from ..program.missing_fields import named
from ..program.operations import find
from ..runs.context import RunContext
from ..store import Program
from .candidate import Candidate, Reason

PART = 5
"""So many examples at least are read before it is looked whether a candidate can still win."""
PARTS = 4
"""A split is read in so many parts at most."""


@dataclass
class Trial:
    """What candidates did: why some are out, and the scores of all on the minibatch, by example.

    `parent` are the scores of the texts they were made from; `higher` says whether any candidate
    scored higher anywhere.
    """

    reasons: dict[int, Reason]
    parent: dict[int, float] = field(default_factory=dict)
    scores: dict[int, dict[int, float]] = field(default_factory=dict)
    higher: bool = False


async def score_all(
    work: RunContext,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    examples: Sequence[int],
    standing: Sequence[int],
    present: Texts,
) -> tuple[Scored, dict[int, Scored]]:
    """The present texts' scores and the candidates', all at once."""
    texts = [candidates[i].texts for i in standing]
    before, after = await compare(work, losses, examples, present, texts)
    return before, dict(zip(standing, after, strict=True))


async def best_on_minibatch(
    work: RunContext,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    minibatch: Sequence[int],
    standing: Sequence[int],
    trial: Trial,
    parent: Texts,
) -> list[int]:
    """The candidate that gained most over its `parent`, or did as well and is shorter; or none.

    Examples that a candidate quotes do not count for it; where it quotes all, it may go on.
    """
    present, scored = await score_all(work, candidates, losses, minibatch, standing, parent)
    trial.parent = dict(present.scores)
    ranks: dict[int, tuple[float, int, int]] = {}
    for index, one in scored.items():
        trial.scores[index] = dict(one.scores)
        fair = [n for n in present.scores if n not in candidates[index].quotes]
        before, after = in_order(present, fair), in_order(one, fair)
        longer = added(present.evaluation, candidates[index].texts, parent)
        gain = fmean(after) - fmean(before) if fair else 0.0
        trial.higher = trial.higher or gain > 0
        if not fair or gain > 0 or (before == after and longer < 0 and any(after)):
            ranks[index] = gain, -longer, -index
        else:
            trial.reasons[index] = _no_gain(fair, before, after, failures(one))
    if not ranks:
        return []
    best = max(ranks, key=lambda i: ranks[i])
    for index in ranks.keys() - {best}:
        trial.reasons[index] = _behind(best, ranks[best], ranks[index])
    return [best]


def _behind(best: int, first: tuple[float, int, int], other: tuple[float, int, int]) -> Reason:
    """Why a candidate that gained is not scored on validation."""
    which = "gained more" if first[0] > other[0] else "gained as much and is not longer"
    gains = f"gains of {first[0]:.2f} and {other[0]:.2f}"
    words = f"candidate {best + 1} {which} on the minibatch: {gains}"
    return Reason(Fate.BEATEN, words)


def _no_gain(
    examples: Sequence[int], before: Sequence[float], after: Sequence[float], failed: str
) -> Reason:
    """Why a candidate is out after the minibatch, and on which examples it did worse."""
    on = f"on {len(examples)} examples"
    if list(before) == list(after):
        words = f"a tie on the minibatch: {fmean(after):.2f} {on}, and no shorter"
        return Reason(Fate.MINIBATCH, words + failed)
    lost = [n for n, b, a in zip(examples, before, after, strict=True) if a < b]
    worse = f"; worse on {named(lost)}" if lost and NO_EXAMPLE not in lost else ""
    words = f"no gain on the minibatch: {fmean(before):.2f} -> {fmean(after):.2f} {on}{worse}"
    return Reason(Fate.MINIBATCH, words + failed)


async def still_in(
    work: RunContext,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    present: Scored,
    standing: Sequence[int],
    trial: Trial,
) -> list[int]:
    """Those that may still win when all parts of a split but the last have been read.

    Out is one that even 1.00 on each example left would bring to less than the `present` texts
    have. No verdict is another for it: what is read is on record when the whole split is scored.
    """
    standing, examples, total = list(standing), list(present.scores), sum(present.scores.values())
    for end in _ends(work, present.evaluation.program, len(examples)):
        _, scored = await score_all(work, candidates, losses, examples[:end], standing, {})
        for index, one in scored.items():
            if sum(one.scores.values()) + len(examples) - end < total - _ROUNDING:
                trial.reasons[index] = _dropped(present, one, end)
        standing = [i for i in standing if i not in trial.reasons]
    return standing


_ROUNDING = 1e-9


def _ends(work: RunContext, program: Program, count: int) -> list[int]:
    """After how many of `count` examples it is looked who is out.

    Nowhere where somebody outside answers: each part is a round of calls for them.
    """
    outside = any(work.ledger.named(model).name in OUTSIDE for model in asked(program))
    parts = 1 if outside else max(1, min(PARTS, count // PART))
    return [count * part // parts for part in range(1, parts)]


def _dropped(present: Scored, one: Scored, read: int) -> Reason:
    examples = list(present.scores)
    before, after = (fmean(in_order(s, examples[:read])) for s in (present, one))
    return Reason(
        Fate.NOISE,
        f"dropped after {read} of {len(examples)} examples: {before:.2f} -> {after:.2f}, which "
        f"1.00 on all the others would not make up for",
    )


def in_order(scored: Scored, examples: Sequence[int]) -> list[float]:
    """The scores on these examples; 0 where there is none."""
    return [scored.scores.get(n, 0.0) for n in examples]


def failures(scored: Scored) -> str:
    """What to add where an evaluator failed on a candidate: how often, and how the first time."""
    failed = scored.failed
    if not failed:
        return ""
    how = " ".join(next(iter(failed.values())).split())
    zero = "have a run that counts as 0" if scored.runs else "count as 0"
    return f"; {len(failed)} of {len(scored.scores)} {zero}. {how}"


def added(evaluation: Evaluation, texts: Texts, before: Texts | None = None) -> int:
    """How many characters `texts` are longer than those `before`, or else those installed."""
    variables = evaluation.program.variables
    old = {v: (before or {}).get(v, variables[v].value or "") for v in texts if v in variables}
    return sum(len(texts[v]) - len(old[v]) for v in old)


def is_exact(program: Program) -> bool:
    """Whether no model and no judge stands between the parameters and the score."""
    return _asked(program) <= {None, "caller"}


def is_reported(program: Program) -> bool:
    """Whether somebody measures, and tells the score."""
    return "caller" in _asked(program)


def _asked(program: Program) -> set[str | None]:
    """Who is asked between the parameters and the score; None is code."""
    changing = (Kind.PARAMETER, Kind.DEMONSTRATIONS)
    affected = made_from(program, [v.id for v in program.variables.values() if v.kind in changing])
    kinds = {o.kind for o in program.operations.values() if o.output in affected}
    return {find(kind).asks for kind in kinds}
