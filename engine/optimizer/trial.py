"""Candidates on trial: the minibatch's best goes on to validation, which is read in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ...schemas.graph import STEPPED
from ...schemas.settings import FORWARD
from ..answerers import OUTSIDE, Answerer
from ..evaluation.scoring import Scored, Texts, compare
from ..program.forward import Evaluation, made_from
from ..program.lineups import asked
from ..program.operations import find
from ..runs.context import RunContext
from ..store import Program
from . import reasons
from .candidate import Candidate, Reason

PART = 5
"""So many examples at least are read before it is looked whether a candidate can still win."""
PARTS = 4
"""A split is read in so many parts at most."""
ROUNDING = 1e-9
"""Sums of scores that differ by no more are the same."""


@dataclass
class Trial:
    """What became of candidates on their way through the gate, by their index.

    `reasons` says why some are out of the running. `scores` are theirs on the minibatch, by
    example, `parent` those of the texts they were made from. `higher` says whether any candidate
    scored higher than what it was compared with, on the minibatch or on the split.
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
    *,
    part: bool = False,
) -> tuple[Scored, dict[int, Scored]]:
    """The scores on `examples` of the `present` texts (empty for those installed), and of the
    candidates that are still `standing`, by their index. All are asked for at once.

    The examples are all that is compared on, or a `part` of it.
    """
    texts = [candidates[i].texts for i in standing]
    before, after = await compare(work, losses, examples, present, texts, part=part)
    return before, dict(zip(standing, after, strict=True))


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
    for end in _ends(work, present):
        where = losses, examples[:end], standing
        _, scored = await score_all(work, candidates, *where, {}, part=True)
        for index, one in scored.items():
            if sum(one.scores.values()) + len(examples) - end < total - ROUNDING:
                trial.reasons[index] = _dropped(present, one, end)
        standing = [i for i in standing if i not in trial.reasons]
    return standing


def in_one_round(work: RunContext, program: Program) -> bool:
    """Whether texts are scored on all examples at once, for somebody outside answers: each part
    would be a round of calls for them."""
    names = {one.name for one in _answerers(work, program)}
    return is_reported(program) or not names.isdisjoint(OUTSIDE)


def may_waver(work: RunContext, program: Program) -> bool:
    """Whether a model that the server asks may score the same texts otherwise another time; at
    temperature 0 none is expected to."""
    warm = any(one.params.get("temperature") != 0 for one in _answerers(work, program))
    return warm and not in_one_round(work, program)


def _answerers(work: RunContext, program: Program) -> list[Answerer]:
    """Those who are asked between the parameters and the score."""
    roles = _asked(program) - {None, "caller"}
    models = asked(program) if FORWARD in roles else []
    return [work.ledger.named(name) for name in [*models, *(roles - {FORWARD})] if name]


def _ends(work: RunContext, present: Scored) -> list[int]:
    """After how many examples it is looked who is out."""
    count = len(present.scores)
    at_once = in_one_round(work, present.evaluation.program)
    parts = 1 if at_once else max(1, min(PARTS, count // PART))
    return [count * part // parts for part in range(1, parts)]


def _dropped(present: Scored, one: Scored, read: int) -> Reason:
    examples = list(present.scores)
    before, after = (fmean(in_order(s, examples[:read])) for s in (present, one))
    return reasons.dropped(read, len(examples), before, after)


def in_order(scored: Scored, examples: Sequence[int]) -> list[float]:
    """The scores on these examples; 0 where there is none."""
    return [scored.scores.get(n, 0.0) for n in examples]


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
    affected = made_from(program, [v.id for v in program.variables.values() if v.kind in STEPPED])
    kinds = {o.kind for o in program.operations.values() if o.output in affected}
    return {find(kind).asks for kind in kinds}
