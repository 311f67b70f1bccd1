"""Where an optimisation stands: what it has tried, what it has won, and why it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, model_validator

from ...schemas.graph import NO_EXAMPLE, STATE_VERSION, Fate, Proposal, Run
from ..evaluation.statistics import figures
from ..runs import saved_state as saved
from ..runs.basis import Stands
from ..store import StepRecord
from . import gate
from .candidate import Candidate
from .pool import CandidatePool, PoolEntry

HOPELESS = 3
"""So many times without usable feedback, or without a usable rewrite, leave no hope."""
NO_FEEDBACK = "no usable feedback on the training examples"
NO_REWRITE = "no usable rewrite"
NOTHING_MOVES = "no rewrite moves the score"
NO_MORE = "the last training examples gave nothing to improve on"
HEADROOM = 8
"""After so many different texts of which none scored higher anywhere, none is expected to."""


class SearchState(BaseModel):
    """Where an optimisation stands. Saved with each step.

    `before` are the scores it began with; `start` is what it took to have them (calls, tokens,
    cost). `left_out` says why examples could not be scored, by their ids, and `unusable` why they
    gave no usable reply with the installed texts. `unread` counts the minibatches since the last
    step on which there was no usable feedback, `unwritten` the steps in a row that brought no
    usable text, and `problem` says what was wrong with the last.
    `scores` are those of training examples, by text and example, `shown` those that a writer saw;
    `tried` counts the texts that were measured, and `moved` says whether one of them scored higher
    anywhere.
    `plain`: reflections cannot be read, so feedback and rewrites are asked for one by one.
    `again` counts the steps in which validation was read again; `steady`: those runs had the same
    scores, so that none is repeated any more.
    `paired`: there are no scores but preferences over the installed texts, which are at 0.
    `stands`: what the scores stand on; unknown in what earlier versions saved. `notes` are for the
    result. `by_model`: by line-up of models, the mean score it began with and that of the installed
    texts.
    """

    pool: CandidatePool
    before: list[float]
    iteration: int = 0
    steps: int = 0
    accepted: int = 0
    refused: int = 0
    idle: int = 0
    without_gain: int = 0
    paired: bool = False
    start: dict[str, float] = {}
    left_out: dict[str, str] = {}
    unusable: dict[str, str] = {}
    unread: int = 0
    unwritten: int = 0
    problem: str = ""
    stands: Stands | None = None
    notes: list[str] = []
    scores: dict[str, dict[str, float]] = {}
    shown: list[int] = []
    tried: int = 0
    moved: bool = False
    plain: bool = False
    again: int = 0
    steady: bool = False
    by_model: dict[str, tuple[float, float]] = {}

    @model_validator(mode="after")
    def _hangs_together(self) -> SearchState:
        lengths = {len(self.before), *(len(member.scores) for member in self.pool.members)}
        if len(lengths) != 1 or 0 in lengths or not 0 <= self.pool.current < len(self.pool.members):
            raise ValueError("scores and texts do not fit")
        return self

    @property
    def current(self) -> PoolEntry:
        """The texts that are installed, with their scores."""
        return self.pool.members[self.pool.current]

    def scored(self, examples: Sequence[int]) -> list[int]:
        """`examples` without those that could not be scored at the start."""
        return [n for n in examples if f"e{n}" not in self.left_out]

    def dump(self) -> dict[str, Any]:
        """The state as JSON values, with its format's version, as it is saved with the run."""
        return {"version": STATE_VERSION, **self.model_dump(mode="json")}

    def standing(self) -> str:
        """How far the search has come, in a few words for progress notifications."""
        if self.paired:
            return f"step {self.steps + 1}, {self.accepted} accepted so far"
        start = sum(self.before) / len(self.before)
        before, now = figures(start, self.current.mean)
        return f"step {self.steps + 1}, score {before} -> {now} so far"

    def take(
        self,
        step: str,
        candidates: Sequence[Candidate],
        decision: gate.GateResult,
        record: StepRecord,
    ) -> None:
        """Take in the outcome of `step`: what was scored may be a parent from now on."""
        self.steps += 1
        self.unread = 0
        self._note_unusable(decision)
        if decision.winner is not None:
            self.unusable = decision.unusable.get(decision.winner, {})
            now = decision.models.get(decision.winner, {})
            self.by_model = {m: (was, now.get(m, now_)) for m, (was, now_) in self.by_model.items()}
        self.accepted += record.accepted
        if self.stands is not None and decision.winner is not None:
            self.stands.install(candidates[decision.winner].texts)
        self.refused += sum(p.verdict == "refused" for p in record.proposals)
        gained = record.accepted and (record.gain or 0) > 0
        self.without_gain = 0 if gained else self.without_gain + 1
        self.tried += len(decision.trial.scores.keys() | decision.scores.keys())
        self.moved = self.moved or decision.trial.higher
        self.again += decision.again
        self.steady = self.steady or decision.steady
        for index, scores in decision.by_example.items():
            installed = index == decision.winner
            texts = candidates[index].texts
            member = PoolEntry(
                name=f"candidate {index + 1} of {step}",
                texts=texts,
                scores=scores,
                led={} if installed else _lineage(record.proposals, texts),
            )
            self.pool.add(member, installed=installed)
            self.note(member.name, decision.trial.scores.get(index, {}))
        if self.paired and record.accepted:
            self.pool.restart()  # preferences over another text say nothing about these

    def note(self, text: str, scores: Mapping[int, float]) -> None:
        """Remember a text's scores on training examples, by its name in the pool."""
        if scores and NO_EXAMPLE not in scores:
            self.scores.setdefault(text, {}).update({str(n): s for n, s in scores.items()})

    def elsewhere(self, text: str, examples: Iterable[int]) -> dict[int, list[float]]:
        """By example, the scores that other texts than this one (by its name) had on it."""
        rest = [by for name, by in self.scores.items() if name != text]
        return {n: [by[str(n)] for by in rest if str(n) in by] for n in examples}

    def show(self, examples: Iterable[int]) -> None:
        """Remember that these examples (by number) were shown to a writer: they cannot be
        referees."""
        self.shown = sorted({*self.shown, *examples} - {NO_EXAMPLE})

    def fall_back(self) -> None:
        """From now on ask for feedback and single rewrites, not for reflections: a small model
        manages those more easily."""
        self.plain = True
        self.unwritten = 0

    def _note_unusable(self, decision: gate.GateResult) -> None:
        """Count a step none of whose candidates could be read at all."""
        reasons = list(decision.reasons.values())
        if reasons and all(reason.fate is Fate.UNUSABLE for reason in reasons):
            self.unwritten += 1
            self.problem = reasons[-1].words
        else:
            self.unwritten = 0


def load(run: Run) -> SearchState | None:
    """The search that a run has saved; None if it has saved none yet. Raises Outdated if it cannot
    be read."""
    return saved.state_of(run, SearchState) if "pool" in run.state else None


def stopped(loop: SearchState, args: Mapping[str, Any]) -> str:
    """Why the search is over, as a phrase for the result; empty while it goes on."""
    if loop.current.mean >= args["goal"] and any(loop.current.scores):
        return "goal"
    if loop.steps >= args["steps"] or loop.iteration >= 4 * args["steps"]:
        return "steps"
    if args.get("early") and not loop.moved and loop.tried >= HEADROOM:
        return NOTHING_MOVES
    if loop.without_gain >= args["patience"]:
        return "patience"
    idle = loop.idle >= args["patience"]
    if loop.unread >= HOPELESS or (idle and loop.unread):
        return NO_FEEDBACK
    if loop.unwritten >= HOPELESS:
        return NO_REWRITE
    return NO_MORE if idle else ""


def _lineage(proposals: Sequence[Proposal], texts: Mapping[str, str]) -> dict[str, list[str]]:
    """The gradients that led to these texts, by variable."""
    return {p.variable: p.gradients for p in proposals if texts.get(p.variable) == p.text}
