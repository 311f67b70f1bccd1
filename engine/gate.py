"""The gate: a candidate is installed only when it is better beyond noise, and the proof is shown.

First on the minibatch its gradients came from, then on the validation split, each time against
the present texts on the same examples (paired).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ..schemas.graph import Fate
from .complete import left_out
from .ledger import Work
from .scoring import Scored, Texts, compare
from .stats import Gain, gain_of, is_quick, paired_gain, verdict
from .step import Candidate, Reason
from .workers import Job, Workers

Z = 1.0
"""A gain must exceed this many standard errors of the paired differences (docs/gate.md: why)."""


@dataclass
class Judged:
    """What the gate found. `winner` is an index into the candidates, or None.

    `unusable` says of each why examples gave no usable reply, by their ids.
    """

    winner: int | None
    summary: str
    split: str
    places: int
    before: float
    scores: dict[int, float] = field(default_factory=dict)
    by_place: dict[int, list[float]] = field(default_factory=dict)
    reasons: dict[int, Reason] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unusable: dict[int, dict[str, str]] = field(default_factory=dict)


async def judge(
    work: Work,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    minibatch: Sequence[int],
    places: Sequence[int],
    split: str,
    parent: Texts | None = None,
) -> Judged:
    """Decide which candidate, if any, is better than the present texts.

    On the minibatch a candidate must beat the `parent` it was made from, where it quotes none of
    it; on the split the texts that are installed.
    """
    standing = [i for i, c in enumerate(candidates) if not c.refused]
    reasons = {i: c.refused for i, c in enumerate(candidates) if c.refused}
    standing = _distinct(candidates, standing, reasons)
    if minibatch and set(minibatch) != set(places):
        work.phase = "checking candidates on the minibatch"
        standing = await _on_minibatch(
            work, candidates, losses, minibatch, standing, reasons, parent or {}
        )
    work.phase = f"scoring on {split}"
    present, scored = await _score_all(work, candidates, losses, places, standing, {})
    both = list(present.scores)
    result = Judged(None, "", split, len(both), present.mean, reasons=reasons)
    result.notes += left_out(present.left_out)
    gains: dict[int, Gain] = {}
    for index, one in scored.items():
        gains[index] = await measured(
            work.workers, work.session.owner, _in_order(present, both), _in_order(one, both)
        )
        result.scores[index] = one.mean
        result.by_place[index] = _in_order(one, places)
        result.unusable[index] = one.why_unusable
        if one.unusable:
            result.notes.append(
                f"Candidate {index + 1} had no usable reply on {len(one.unusable)} examples; "
                "they count as 0."
            )
    passed = []
    for index, gain in gains.items():
        better, words = verdict(gain, Z, split)
        words += _failures(scored[index])
        result.reasons[index] = Reason(Fate.ACCEPTED if better else Fate.NOISE, words)
        if better:
            passed.append(index)
    if passed:
        result.winner = max(passed, key=lambda i: (gains[i].gain, -i))
        result.summary = result.reasons[result.winner].words
        for index in passed:
            if index != result.winner:
                as_much = gains[index].gain == gains[result.winner].gain
                why = "gained as much and came first" if as_much else "gained more"
                taken = f"Candidate {result.winner + 1} was taken, which {why}"
                words = f"{taken}: {result.reasons[index].words}"
                result.reasons[index] = Reason(Fate.BEATEN, words)
    else:
        result.summary = _best_refusal(gains, result.reasons, len(candidates))
    return result


def _distinct(
    candidates: Sequence[Candidate], standing: list[int], reasons: dict[int, Reason]
) -> list[int]:
    first: dict[tuple[tuple[str, str], ...], int] = {}
    for index in standing:
        same = first.setdefault(tuple(sorted(candidates[index].texts.items())), index)
        if same != index:
            reasons[index] = Reason(Fate.TWICE, f"the same text as candidate {same + 1}")
    return list(first.values())


async def _on_minibatch(
    work: Work,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    minibatch: Sequence[int],
    standing: list[int],
    reasons: dict[int, Reason],
    parent: Texts,
) -> list[int]:
    present, scored = await _score_all(work, candidates, losses, minibatch, standing, parent)
    passed = []
    for index, one in scored.items():
        fair = [p for p in present.scores if p not in candidates[index].quotes]
        before, after = (fmean(_in_order(s, fair)) if fair else 0.0 for s in (present, one))
        if after > before or not fair:
            passed.append(index)
        else:
            reasons[index] = Reason(
                Fate.MINIBATCH,
                f"no gain on the minibatch: {before:.2f} -> {after:.2f} on {len(fair)} examples"
                f"{_failures(one)}",
            )
    return passed


async def _score_all(
    work: Work,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    places: Sequence[int],
    standing: Sequence[int],
    present: Texts,
) -> tuple[Scored, dict[int, Scored]]:
    """The present texts' scores and the candidates', all at once."""
    texts = [candidates[i].texts for i in standing]
    before, after = await compare(work, losses, places, present, texts)
    return before, dict(zip(standing, after, strict=True))


def _failures(scored: Scored) -> str:
    """What to add where an evaluator failed on a candidate: how often, and how the first time."""
    failed = scored.failed
    if not failed:
        return ""
    how = " ".join(next(iter(failed.values())).split())
    return f"; {len(failed)} of {len(scored.scores)} count as 0. {how}"


async def measured(workers: Workers, owner: str, before: list[float], after: list[float]) -> Gain:
    """`paired_gain`, in a worker where it is long."""
    if is_quick(before, after):
        return paired_gain(before, after)
    what = f"Comparing scores on {len(before):,} examples"
    job = Job(owner, what, "Use fewer validation examples.")
    return Gain(*await workers.run(job, gain_of, before, after))


def _in_order(scored: Scored, places: Sequence[int]) -> list[float]:
    return [scored.scores.get(p, 0.0) for p in places]


def _best_refusal(gains: dict[int, Gain], reasons: dict[int, Reason], count: int) -> str:
    if gains:
        best = max(gains, key=lambda i: gains[i].gain)
        return reasons[best].words
    return f"none of {count} candidates got as far as validation: " + "; ".join(
        reasons[i].words for i in sorted(reasons)
    )
