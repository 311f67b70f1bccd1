"""Scores of a program over examples, with the parameters as they are or with others in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..schemas.errors import BadInput, ReplyError
from ..schemas.graph import HERE
from .forward import Evaluation, evaluate, load
from .ledger import Work


@dataclass
class Scored:
    """Scores by place, in order; `evaluation` holds the values behind them.

    An example whose program gave no usable reply counts as 0; it is in `unusable`.
    """

    evaluation: Evaluation
    scores: dict[int, float]
    unusable: dict[int, ReplyError]

    @property
    def mean(self) -> float:
        """The mean score."""
        return sum(self.scores.values()) / len(self.scores)


async def score(
    work: Work,
    losses: Sequence[str],
    places: Sequence[int],
    overrides: Mapping[str, str] | None = None,
) -> Scored:
    """The mean of the losses' scores at each place.

    Raises BadInput when a loss gives no score.
    """
    evaluation = await load(work, losses, places, overrides=overrides)
    await evaluate(work, evaluation, places, tolerant=True)
    scores: dict[int, float] = {}
    unusable: dict[int, ReplyError] = {}
    for place in places:
        if all(evaluation.has(loss, place) for loss in losses):
            scores[place] = sum(_score(evaluation, x, place) for x in losses) / len(losses)
        else:
            scores[place] = 0.0
            unusable[place] = _reason(evaluation, place)
    return Scored(evaluation, scores, unusable)


def _score(evaluation: Evaluation, loss: str, place: int) -> float:
    value = evaluation.value(loss, place)
    if value.score is None:
        raise BadInput(
            f"{loss} gives feedback but no score, so nothing can be compared by it.",
            "Use a loss with a score: a metric, a judge with graded=true, or feedback with score.",
        )
    return value.score


def _reason(evaluation: Evaluation, place: int) -> ReplyError:
    here = [e for (_, p), e in evaluation.unusable.items() if p in (place, HERE)]
    return here[0] if here else ReplyError("No usable reply.")
