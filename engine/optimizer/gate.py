"""The gate: a candidate is installed only when it is better beyond noise, and the proof is shown.

First on the minibatch its gradients came from, then on the validation split, each time against
the present texts on the same examples (paired). Where validation cannot decide, referees do:
training examples that no writer was shown so far, or else further runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...schemas.errors import BudgetExhausted, ExampleError
from ...schemas.graph import Fate, Session
from ..evaluation.scoring import Scored, Texts
from ..evaluation.statistics import Gain, verdict
from ..program.missing_fields import left_out
from ..prompts import sentence
from ..runs.context import RunContext
from . import again, reasons
from .candidate import Candidate, Reason
from .minibatch_check import best_on_minibatch
from .trial import (
    ROUNDING,
    Trial,
    added,
    in_order,
    is_exact,
    is_reported,
    may_waver,
    score_all,
    still_in,
)

Z = 1.0
"""A gain must exceed this many standard errors of the paired differences (docs/gate.md: why)."""
Z_REFEREED = 0.5
"""The same where validation and the referees are taken together."""


@dataclass
class GateResult:
    """What the gate found. Candidates are named by their index in the list that was given.

    `winner` is the candidate to install, or None; `summary` says why, in a sentence. They were
    compared on `examples` (a count) of the `split`: there the installed texts have the mean score
    `before` and the scores `present` by example, candidates the mean `scores` and, in order of the
    examples, `by_example`. `gains` has the statistics, `trial` what became of each candidate on the
    way, `unusable` by candidate why examples gave no usable reply, by their ids; `notes` are for
    the caller. `models` are the mean scores by line-up of models, of candidates and (None) of the
    installed texts. `again`: further runs were made; `steady`: they had the same scores.
    """

    winner: int | None
    summary: str
    split: str
    examples: int
    before: float
    present: dict[int, float] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    by_example: dict[int, list[float]] = field(default_factory=dict)
    gains: dict[int, Gain] = field(default_factory=dict)
    trial: Trial = field(default_factory=lambda: Trial({}))
    notes: list[str] = field(default_factory=list)
    unusable: dict[int, dict[str, str]] = field(default_factory=dict)
    models: dict[int | None, dict[str, float]] = field(default_factory=dict)
    again: bool = False
    steady: bool = False

    @property
    def reasons(self) -> dict[int, Reason]:
        """Why each candidate was taken or refused."""
        return self.trial.reasons

    @property
    def by_model(self) -> dict[str, tuple[float, float]] | None:
        """The score by model before and after, where several are asked and a candidate won."""
        before, after = self.models.get(None, {}), self.models.get(self.winner, {})
        return {m: (before[m], after[m]) for m in before if m in after} or None

    @property
    def gain(self) -> Gain | None:
        """The gain of the winner; without one the largest, None where none was measured."""
        if self.winner is not None:
            return self.gains.get(self.winner)
        return max(self.gains.values(), key=lambda g: g.gain, default=None)


async def decide(
    work: RunContext,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    minibatch: Sequence[int],
    examples: Sequence[int],
    split: str,
    parent: Texts | None = None,
    referees: Sequence[int] = (),
    *,
    repeat: bool = False,
) -> GateResult:
    """Decide which candidate, if any, is better than the present texts, or as good and shorter.

    `minibatch`, `examples` (those of the `split`) and `referees` are numbers of examples, or
    NO_EXAMPLE in a program without. On the minibatch a candidate must beat the texts it was made
    from (the `parent`; empty for those installed), on the examples that it does not quote. The best
    that does is compared with the installed texts on the split; where that does not decide, on the
    `referees` as well, or without any in further runs, if it may `repeat` them.

    Raises NotYet while replies are missing, ExampleError when no example can be scored,
    BudgetExhausted, AnswererError.
    """
    trial = Trial({i: c.refused for i, c in enumerate(candidates) if c.refused})
    standing = [i for i in range(len(candidates)) if i not in trial.reasons]
    standing = _distinct(candidates, standing, trial)
    if minibatch and set(minibatch) != set(examples):
        work.phase = "checking candidates on the minibatch"
        common = work, candidates, losses, minibatch
        standing = await best_on_minibatch(*common, standing, trial, parent or {})
    work.phase = f"scoring on {split}"
    present, _ = await score_all(work, candidates, losses, examples, [], {})
    standing = await still_in(work, candidates, losses, present, standing, trial)
    present, scored = await score_all(work, candidates, losses, examples, standing, {})
    result = GateResult(None, "", split, len(present.scores), present.mean, trial=trial)
    result.present, result.models[None] = dict(present.scores), present.by_model
    result.notes += left_out(present.left_out)
    gains = result.gains
    for index, one in scored.items():
        gains[index] = await again.gained(work, present, one)
        _note(result, index, one, examples)
    passed = _passed(result, candidates, present, scored, gains)
    if not passed and referees and not is_exact(present.evaluation.program):
        work.phase = "scoring on more training examples"
        common = work, candidates, losses, referees
        passed = await _refereed(*common, result, present, scored)
    elif not passed and repeat and may_waver(work, present.evaluation.program):
        work.phase = f"scoring on {split} again"
        passed = await _in_more_runs(work, candidates, losses, result, present, scored)
    for index, why in result.unusable.items():
        if why:
            result.notes.append(
                f"Candidate {index + 1} had no usable reply on {len(why)} examples, "
                "which counts as 0."
            )
    if passed:
        _choose(result, passed, gains)
    else:
        result.summary = _best_refusal(gains, result.reasons, len(candidates))
    return result


def _note(result: GateResult, index: int, one: Scored, examples: Sequence[int]) -> None:
    """Keep a candidate's scores."""
    result.scores[index] = one.mean
    result.by_example[index] = in_order(one, examples)
    result.unusable[index], result.models[index] = one.why_unusable, one.by_model
    result.trial.higher = result.trial.higher or one.mean > result.before


def _passed(
    result: GateResult,
    candidates: Sequence[Candidate],
    present: Scored,
    scored: Mapping[int, Scored],
    gains: Mapping[int, Gain],
) -> dict[int, int]:
    """Those that pass, with how much longer each is, after the reasons of all are noted."""
    passed: dict[int, int] = {}
    program = present.evaluation.program
    of = {"exact": is_exact(program), "reported": is_reported(program)}
    for index, gain in gains.items():
        longer = added(present.evaluation, candidates[index].texts)
        better, words = verdict(gain, Z, result.split, **of)
        if gain.tie and gain.after > 0:
            better = longer < 0
            key = "shorter" if better else "no_shorter"
            words += sentence("reasons", key, count=str(-longer))
        fate = Fate.ACCEPTED if better else Fate.TIE if gain.tie else Fate.NOISE
        result.reasons[index] = Reason(fate, words + reasons.failures(scored[index]))
        if better:
            passed[index] = longer
    return passed


async def _refereed(
    work: RunContext,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    referees: Sequence[int],
    result: GateResult,
    present: Scored,
    scored: Mapping[int, Scored],
) -> dict[int, int]:
    """The best on the split, if it is still open and passes when the referees are counted in."""
    index = _most_gained(result.gains)
    if index is None or not _is_open(result.gains[index]):
        return {}
    try:
        more, theirs = await score_all(work, candidates, losses, referees, [index], {})
    except (ExampleError, BudgetExhausted):  # no more is to be had: the verdict stands
        return {}
    both = list(present.scores), list(more.scores)
    before = [*in_order(present, both[0]), *in_order(more, both[1])]
    after = [*in_order(scored[index], both[0]), *in_order(theirs[index], both[1])]
    alone = result.gains[index]
    gain = await again.measured(work.workers, work.session.owner, before, after)
    both_splits = sentence("reasons", "with_training", split=result.split)
    better, words = verdict(gain, Z_REFEREED, both_splits)
    words = reasons.refereed(alone, result.split, len(more.scores), words)
    _settle(result, index, gain, words + reasons.failures(scored[index]), better=better)
    return {index: added(present.evaluation, candidates[index].texts)} if better else {}


async def _in_more_runs(
    work: RunContext,
    candidates: Sequence[Candidate],
    losses: Sequence[str],
    result: GateResult,
    present: Scored,
    scored: Mapping[int, Scored],
) -> dict[int, int]:
    """The best on the split, if it passes by the means of more runs."""
    index = _most_gained(result.gains)
    if index is None or result.gains[index].standard_error is None:
        return {}
    start = again.Reading(present, scored[index], result.gains[index], runs=1)
    found = await again.read_again(work, losses, start, candidates[index].texts, Z)
    result.again, result.steady = found.steady or found.runs > start.runs, found.steady
    if found.runs == start.runs:
        return {}
    result.before, result.present = found.before.mean, dict(found.before.scores)
    result.models[None] = found.before.by_model
    _note(result, index, found.after, list(found.before.scores))
    better, words = verdict(found.gain, Z, result.split)
    words = reasons.read_again(start.gain, result.split, found.runs, words)
    _settle(result, index, found.gain, words + reasons.failures(found.after), better=better)
    return {index: added(present.evaluation, candidates[index].texts)} if better else {}


def _most_gained(gains: Mapping[int, Gain]) -> int | None:
    """The candidate with the largest gain, the first of equals; None where none was measured."""
    return max(gains, key=lambda i: (gains[i].gain, -i), default=None)


def _settle(result: GateResult, index: int, gain: Gain, words: str, *, better: bool) -> None:
    """Keep what more evidence says of a candidate that the split alone left open."""
    result.gains[index] = gain
    result.reasons[index] = Reason(Fate.ACCEPTED if better else Fate.NOISE, words)


def _is_open(gain: Gain) -> bool:
    """Whether validation leaves open which is better: it gained within noise, or could not gain."""
    full = gain.before * gain.n > gain.n - 1 - ROUNDING
    return gain.gain > 0 or (full and gain.gain == 0)


def _choose(result: GateResult, passed: Mapping[int, int], gains: Mapping[int, Gain]) -> None:
    """Name the winner of those that pass: the largest gain, then the shortest, then the first."""
    result.winner = winner = max(passed, key=lambda i: (gains[i].gain, -passed[i], -i))
    result.summary = result.reasons[winner].words
    for index in passed.keys() - {winner}:
        as_much = gains[index].gain == gains[winner].gain
        shorter = passed[winner] < passed[index]
        words = result.reasons[index].words
        result.reasons[index] = reasons.beaten(winner, words, as_much=as_much, shorter=shorter)


def _distinct(candidates: Sequence[Candidate], standing: Sequence[int], trial: Trial) -> list[int]:
    first: dict[tuple[tuple[str, str], ...], int] = {}
    for index in standing:
        same = first.setdefault(tuple(sorted(candidates[index].texts.items())), index)
        if same != index:
            trial.reasons[index] = reasons.twice(same)
    return list(first.values())


def saturated(scores: Sequence[float]) -> bool:
    """Whether all scores are 1, so that no text can do better."""
    return all(score >= 1 for score in scores)


def harder(session: Session) -> str:
    """What the caller can do where every validation example scores 1, as a sentence."""
    return (
        "Every validation example has the score 1.00, so no rewrite can be better there. Call "
        f"add_examples(session_id='{session.id}', split='validation', ...) with harder ones, or "
        "step with accept='always'."
    )


def _best_refusal(gains: dict[int, Gain], refused: dict[int, Reason], count: int) -> str:
    if gains:
        best = max(gains, key=lambda i: gains[i].gain)
        return refused[best].words
    return f"none of {count} candidates got as far as validation: " + "; ".join(
        refused[i].words for i in sorted(refused)
    )
