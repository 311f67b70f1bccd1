"""What a session won, as one model that every drawing of it reads: page, Markdown, terminal."""

from __future__ import annotations

from pydantic import BaseModel, Field

OWN_LOSS = "the program's own loss"
"""Where texts are compared that no example depends on; it stands where a split is named."""


class Measured(BaseModel):
    """A split's mean score with its standard error (None for one example), and the versions of
    the parameters that had it; `by_model` are the means of several models."""

    mean: float
    error: float | None
    examples: int
    versions: dict[str, int]
    by_model: dict[str, float] = Field(default_factory=dict, exclude_if=lambda found: not found)

    @property
    def said(self) -> str:
        """The mean with its standard error, where it has one, and those of several models."""
        each = ", ".join(f"{name} {mean:.3f}" for name, mean in self.by_model.items())
        error = "" if self.error is None else f" ± {self.error:.3f}"
        return f"{self.mean:.3f}{error}" + (f" ({each})" if each else "")


class Change(BaseModel):
    """The first and the latest score of a loss on a split, or of a program without examples.

    `gain` is the mean difference, `error` its standard error: of the paired differences where the
    scores of the same examples were kept (`paired`), else of two independent means. `better`,
    `worse` and `same` count examples, where they were kept.
    """

    loss: str
    split: str
    first: Measured
    latest: Measured
    evaluations: int
    texts: int
    gain: float | None = None
    error: float | None = None
    paired: bool = False
    better: int | None = None
    worse: int | None = None
    same: int | None = None

    @property
    def said(self) -> str:
        """The gain with its sign and standard error; nothing where there is one reading alone."""
        if self.gain is None:
            return ""
        return f"{self.gain:+.3f}" + ("" if self.error is None else f" ± {self.error:.3f}")


class Gated(BaseModel):
    """Of the steps that were compared on a split: the score before the first, after the last that
    was accepted, and how many there were and were accepted."""

    split: str | None
    before: float
    after: float
    steps: int
    accepted: int


class Funnel(BaseModel):
    """How far proposals came: usable texts, compared on the split, taken."""

    proposed: int = 0
    usable: int = 0
    compared: int = 0
    accepted: int = 0


class Price(BaseModel):
    """What was used. `cost` is in dollars; `by_purpose` has calls, tokens, seconds and cost."""

    calls: int
    tokens: int
    cost: float
    by_purpose: dict[str, dict[str, float]] = Field(default_factory=dict)


class Made(BaseModel):
    """A version of a text: what made it, the gate's words, and the feedback that led to it."""

    version: int
    origin: str
    step: str | None
    gate: str
    feedback: list[str]
    created: str


class Parameter(BaseModel):
    """A text that is being improved, and the version it is at.

    Where the report was asked for texts: its `text`, and of those it tells of, the first text and
    how it came to be, the newest version first.
    """

    id: str
    role: str
    name: str = ""
    kind: str
    version: int
    file: str | None = None
    first_text: str | None = None
    text: str | None = None
    lineage: list[Made] = Field(default_factory=list)


class SessionReport(BaseModel):
    """What was tried, what was won, and what it cost.

    `headline` says in one honest sentence what the figures prove, and what they do not.
    `proposals` counts them by what became of them; `left_out` says what is not told.
    """

    session_id: str
    title: str
    owner: str
    created: str
    updated: str
    headline: str
    scores: list[Change]
    steps: int
    accepted: int
    gated: Gated | None
    proposals: dict[str, int]
    funnel: Funnel
    test_reads: int
    examples: dict[str, int]
    parameters: list[Parameter]
    price: Price
    left_out: list[str] = Field(default_factory=list)
