"""Where an optimisation stands: what it has tried, what it has won, and why it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..schemas.graph import Fate, Proposal
from . import gate
from .parents import Parent, Pool, load_pool
from .step import Candidate
from .store import StepRecord

HOPELESS = 3
"""So many times without usable feedback, or without a usable rewrite, leave no hope."""
NO_FEEDBACK = "no usable feedback on the training examples"
NO_REWRITE = "no usable rewrite"


@dataclass
class Loop:
    """Where an optimisation stands. Saved with each step.

    `before` are the scores it began with; `start` is what it took to have them (calls, tokens,
    cost). `left_out` says why examples could not be scored, by their ids, and `unusable` why they
    gave no usable reply with the installed texts. `unread` counts the minibatches since the last
    step on which there was no usable feedback, `unwritten` the steps in a row that brought no
    usable text, and `problem` says what was wrong with the last.
    `paired`: there are no scores but preferences over the installed texts, which are at 0.
    """

    pool: Pool
    before: list[float]
    iteration: int = 0
    steps: int = 0
    accepted: int = 0
    refused: int = 0
    idle: int = 0
    without_gain: int = 0
    paired: bool = False
    start: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    unread: int = 0
    unwritten: int = 0
    problem: str = ""

    @property
    def current(self) -> Parent:
        """The texts that are installed, with their scores."""
        return self.pool.members[self.pool.current]

    def dump(self) -> dict[str, Any]:
        """As it is saved."""
        return self.__dict__ | {"pool": self.pool.model_dump()}

    def standing(self) -> str:
        """How far it has come, for whoever watches."""
        if self.paired:
            return f"step {self.steps + 1}, {self.accepted} accepted so far"
        start = sum(self.before) / len(self.before)
        return f"step {self.steps + 1}, score {start:.2f} -> {self.current.mean:.2f} so far"

    def take(
        self, step: str, candidates: Sequence[Candidate], judged: gate.Judged, record: StepRecord
    ) -> None:
        """Take in the outcome of `step`: what was scored may be a parent from now on."""
        self.steps += 1
        self.unread = 0
        self._note_unusable(judged)
        if judged.winner is not None:
            self.unusable = judged.unusable.get(judged.winner, {})
        self.accepted += record.accepted
        self.refused += sum(p.verdict == "refused" for p in record.proposals)
        self.without_gain = 0 if record.accepted else self.without_gain + 1
        for index, scores in judged.by_place.items():
            installed = index == judged.winner
            texts = candidates[index].texts
            member = Parent(
                name=f"candidate {index + 1} of {step}",
                texts=texts,
                scores=scores,
                led={} if installed else _led(record.proposals, texts),
            )
            self.pool.add(member, installed=installed)
        if self.paired and record.accepted:
            self.pool.restart()  # preferences over another text say nothing about these

    def _note_unusable(self, judged: gate.Judged) -> None:
        """Count a step none of whose candidates could be read at all."""
        reasons = list(judged.reasons.values())
        if reasons and all(reason.fate is Fate.UNUSABLE for reason in reasons):
            self.unwritten += 1
            self.problem = reasons[-1].words
        else:
            self.unwritten = 0


def load(state: Mapping[str, Any]) -> Loop | None:
    """The loop in a run's state, if it has got that far."""
    pool = load_pool(dict(state))
    return Loop(**(dict(state) | {"pool": pool})) if pool else None


def stopped(loop: Loop, args: Mapping[str, Any]) -> str:
    """Why the loop is over, or an empty text."""
    if loop.current.mean >= args["goal"] and any(loop.current.scores):
        return "goal"
    if loop.steps >= args["steps"] or loop.iteration >= 4 * args["steps"]:
        return "steps"
    if loop.without_gain >= args["patience"]:
        return "patience"
    idle = loop.idle >= args["patience"]
    if loop.unread >= HOPELESS or (idle and loop.unread):
        return NO_FEEDBACK
    if loop.unwritten >= HOPELESS:
        return NO_REWRITE
    return "nothing left to improve on the training examples" if idle else ""


def _led(proposals: Sequence[Proposal], texts: Mapping[str, str]) -> dict[str, list[str]]:
    """The gradients that led to these texts, by variable."""
    return {p.variable: p.gradients for p in proposals if texts.get(p.variable) == p.text}
