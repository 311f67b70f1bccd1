"""What the tools return. Each stands alone: a client shows the model either this or its text."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .completions import Pending

Status = Literal["done", "needs_completions", "running", "failed"]
ByModel = dict[str, tuple[float, float]]
"""The mean score before and after, by model, where several run a program."""
ShownVerdict = Literal["accepted", "refused", "tie", "not taken", "proposed"]


class Lazy(BaseModel):
    """A model whose validator is built when it is first used: there are many, and a start is
    to be quick."""

    model_config = ConfigDict(defer_build=True)


class Result(Lazy):
    """Common to all. `next` says in one sentence what to call now; `notes` are things to know."""

    session_id: str | None = None
    status: Status = "done"
    next: str = ""
    run: str | None = None
    error: str | None = None
    notes: list[str] = Field(default_factory=list)
    pending: list[Pending] | None = None
    pending_total: int | None = None
    answered: int | None = None


class Shown(Lazy):
    """A value as shown: cut when long (then `chars` is its full length)."""

    variable: str
    example: str | None = None
    text: str
    chars: int | None = None
    score: float | None = None


class VariableResult(Result):
    """A variable that was made or changed."""

    variable: str | None = None
    version: int | None = None


class ExamplesResult(Result):
    """Examples that were loaded. `first` and `last` are the ids of the new ones."""

    split: str = ""
    added: int = 0
    skipped: int = 0
    total: int = 0
    first: str | None = None
    last: str | None = None


class ForwardResult(Result):
    """Values that were computed, of `variable` (and `operation`) or of all that was stale; `in_use`
    says of how many of the examples, where it is a part."""

    variable: str | None = None
    operation: str | None = None
    loss: str | None = None
    recomputed: list[str] = Field(default_factory=list)
    examples: list[str] = Field(default_factory=list)
    in_use: str | None = None
    values: list[Shown] = Field(default_factory=list)
    mean_score: float | None = None


class ShownGradient(Lazy):
    """Feedback on a parameter, and the examples it came from."""

    id: str
    variable: str
    examples: list[str] = Field(default_factory=list)
    text: str
    chars: int | None = None


class BackwardResult(Result):
    """Gradients on parameters. `mean_score` is that of the losses on these examples; `in_use` says
    how many of all they are, where they are a part."""

    examples: list[str] = Field(default_factory=list)
    in_use: str | None = None
    gradients: list[ShownGradient] = Field(default_factory=list)
    mean_score: float | None = None


class ShownProposal(Lazy):
    """One proposed text and its verdict: `not taken` is one that gained, beside another that was
    taken. Scores are means over the same `examples` examples. Texts of one `candidate` belong
    together."""

    id: str
    variable: str
    candidate: int | None = None
    verdict: ShownVerdict
    reason: str
    version: int | None = None
    text: str
    chars: int | None = None
    score: float | None = None
    parent_score: float | None = None
    split: str | None = None
    examples: int | None = None


class StepResult(Result):
    """What `step` proposed and installed. `refused_higher` is the refused proposal that scored
    highest, if that is above the present texts."""

    step: str | None = None
    accepted: bool = False
    variables: list[str] = Field(default_factory=list)
    proposals: list[ShownProposal] = Field(default_factory=list)
    score_before: float | None = None
    score_after: float | None = None
    gate: str | None = None
    refused_higher: str | None = None
    by_model: ByModel | None = None


class Failure(Lazy):
    """An example the program does badly on; of several models, the `model` that did worst."""

    example: str
    score: float
    fields: dict[str, str]
    model: str | None = None
    output: str
    feedback: str


class EvaluateResult(Result):
    """A split's score: mean, standard error of the mean, and the worst examples."""

    loss: str | None = None
    split: str = ""
    mean_score: float | None = None
    standard_error: float | None = None
    examples: int = 0
    failures: list[Failure] = Field(default_factory=list)
    by_model: dict[str, float] | None = None
    reads: int | None = None


class OptimizeResult(Result):
    """What a run of `optimize` won: the state of its loop and the report's main figures.
    `refused_higher` is as in a step's result. What nobody counted (`tokens`, `cost`) is left out,
    and a note says why."""

    loss: str | None = None
    steps: int = 0
    accepted: int = 0
    refused: int = 0
    stopped: str | None = None
    score_before: float | None = None
    score_after: float | None = None
    standard_error: float | None = None
    variables: list[str] = Field(default_factory=list)
    proposals: list[ShownProposal] = Field(default_factory=list)
    refused_higher: str | None = None
    by_model: ByModel | None = None
    calls: int = 0
    tokens: int | None = None
    cost: float | None = None


class ShowResult(Result):
    """That a session is shown, or where."""

    address: str | None = None


class PromptResult(Result):
    """What `optimize_prompt` built: ids by what they are, sizes of splits; and what was measured,
    as `evaluate`, `optimize` or `compute_loss` gives it."""

    model_config = ConfigDict(extra="allow")

    program: dict[str, str] = Field(default_factory=dict)
    splits: dict[str, int] = Field(default_factory=dict)
    mean_score: float | None = None
    standard_error: float | None = None


class InspectResult(Result):
    """A view of the session; its shape depends on `what`."""

    what: str = ""
    view: dict[str, Any] = Field(default_factory=dict)
