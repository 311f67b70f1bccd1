"""The graph: variables, the operations that make them, and what is learnt about them.

Ids are short and count up within a session: v1, op1, e1, c1, g1, s1, r1.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, Field

Split = Literal["train", "validation", "test"]
NO_EXAMPLE = 0
"""The place of a value that depends on no example (example numbers start at 1)."""


class Kind(StrEnum):
    """What a variable is."""

    PARAMETER = "parameter"  # a leaf that requires a gradient: versioned, rewritten by `step`
    CONSTANT = "constant"  # a leaf that does not
    FIELD = "field"  # a leaf fed from the examples
    DEMONSTRATIONS = "demonstrations"  # a leaf made of training examples, chosen by `step`
    IMAGE = "image"  # a leaf that holds an image's data URL
    OUTPUT = "output"  # made by an operation


STEPPED = (Kind.PARAMETER, Kind.DEMONSTRATIONS)
"""Leaves whose texts `step` and `optimize` change."""


class Session(BaseModel):
    """One program, its data, budget and history. `pk` is the store's own key; `batch` are the
    numbers of the examples in use, `bytes` what it takes up, as quotas count it. `came` is when it
    was asked for, by the process's own time."""

    pk: int
    id: str
    owner: str
    title: str = ""
    batch: list[int] = Field(default_factory=list)
    budget: dict[str, float] = Field(default_factory=dict)
    test_reads: int = 0
    used_calls: int = 0
    used_tokens: int = 0
    used_cost: float = 0.0
    came: float = 0.0
    created: str = ""
    updated: str = ""
    bytes: int = 0


class FileBinding(BaseModel):
    """A file beneath the workspace that a leaf is bound to: `digest` is of the content it had
    when it was last read or written; with `write`, it follows the leaf's newest text."""

    path: str
    write: bool = False
    digest: str


class Variable(BaseModel):
    """A node. `value` is the current text of a leaf, None for an output; `version` counts a
    leaf's values from 1. `reference` marks a right answer and all that is made from one."""

    id: str
    kind: Kind
    role: str
    name: str = ""
    value: str | None = None
    version: int = 0
    requires_grad: bool = False
    reference: bool = False
    per_example: bool = False
    field: str | None = None
    constraints: list[str] = Field(default_factory=list)
    operation: str | None = None
    file: FileBinding | None = None

    @property
    def is_leaf(self) -> bool:
        """Whether nothing computes it."""
        return self.kind is not Kind.OUTPUT

    @property
    def label(self) -> str:
        """How messages name it: the id, with the name or the role."""
        words = self.name or self.role
        return f"{self.id} ({words if len(words) <= 60 else words[:57] + '...'})"


class Operation(BaseModel):
    """An edge bundle: `inputs` maps names to variable ids, in order; `spec` holds what the kind
    needs (template, function, instruction, metric, ...). The output of one that `is_loss` is
    feedback, a score, or both."""

    id: str
    kind: str
    is_loss: bool = Field(default=False, exclude=True)
    output: str
    inputs: dict[str, str] = Field(default_factory=dict)
    system: str | None = None
    spec: dict[str, Any] = Field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        """Every variable it reads, each once, in order, the system prompt first."""
        ids = ([self.system] if self.system else []) + list(self.inputs.values())
        return list(dict.fromkeys(ids))

    @property
    def models(self) -> list[str]:
        """The names of the models that answer it where it asks one; by default the role's own."""
        return self.spec.get("models") or ["forward"]

    def model_in(self, lineup: int) -> str:
        """The model that answers it in a line-up, a number from 0: the first, the second, ..."""
        return self.models[lineup % len(self.models)]


class Example(BaseModel):
    """One row of data."""

    id: str
    split: Split
    fields: dict[str, str]


class Value(BaseModel):
    """A variable's text at one place, with its score if it is a loss."""

    text: str
    score: float | None = None


class Gradient(BaseModel):
    """Feedback on one variable at one version: `examples` are those criticised, out of `batch`.

    `exact`: asked for by itself, as in the paper, and never merged with others.
    """

    id: str = ""
    variable: str
    version: int
    text: str
    examples: list[str] = Field(default_factory=list)
    batch: list[str] = Field(default_factory=list)
    operation: str = ""
    losses: list[str] = Field(default_factory=list)
    exact: bool = False
    spent_by: str | None = None


class Version(BaseModel):
    """One text a leaf has had. `origin` is `created`, `step`, `revert` or `edit`."""

    variable: str
    version: int
    text: str
    origin: str
    step: str | None = None
    created: str = ""


Verdict = Literal["accepted", "refused"]


class Fate(StrEnum):
    """What became of a proposal, as reports count it."""

    ACCEPTED = "accepted"
    UNCHANGED = "the text as it was"
    COPIED = "copied an example"
    LEAKED = "words of the optimiser"
    BROKEN = "broke a constraint"
    UNUSABLE = "no usable text"
    TWICE = "proposed twice"
    MINIBATCH = "no gain on the minibatch"
    NOISE = "no gain beyond noise"
    TIE = "a tie"
    BEATEN = "another was taken"
    NOT_COMPARED = "not compared"


class Proposal(BaseModel):
    """A proposed text for one parameter and what became of it.

    `gain` is the mean difference to the installed text on the same examples, `error` its standard
    error, and `p` the chance of such a gain if the text did nothing.
    """

    id: str = ""
    step: str
    variable: str
    parent: int
    text: str
    verdict: Verdict
    fate: Fate = Fate.NOT_COMPARED
    reason: str
    version: int | None = None
    score: float | None = None
    parent_score: float | None = None
    gain: float | None = None
    error: float | None = None
    p: float | None = None
    split: str | None = None
    examples: int = 0
    gradients: list[str] = Field(default_factory=list)


STATE_VERSION = 1
"""Of what a run saves of its state. What was saved before there were versions carries none."""


class Run(BaseModel):
    """One tool call that computes. Durable: running it again continues it.

    `digest` is of the call that began it. `process` is the one that runs it, or empty when none
    does; `lease` changes while that process lives. `answerers` says who answers its calls.
    `damaged` names what of it cannot be read.
    """

    id: str
    session_id: str
    tool: str
    args: dict[str, Any]
    status: Literal["running", "needs_completions", "done", "failed", "cancelled"]
    state: dict[str, Any] = Field(default_factory=dict)
    result: dict[str, Any] | None = None
    error: str = ""
    process: str = ""
    digest: str = ""
    lease: float = 0.0
    answerers: str = ""
    damaged: list[str] = Field(default_factory=list)


def number(id: str, prefix: str) -> int | None:  # noqa: A002
    """The number in an id such as `v12`, or None if it is not one of that kind."""
    digits = id.removeprefix(prefix)
    if digits == id or not digits.isascii() or not digits.isdigit() or len(digits) > 12:
        return None
    return int(digits)
