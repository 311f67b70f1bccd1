"""What a session won, as one model that every drawing of it reads: page, Markdown, terminal."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Measured(BaseModel):
    """A split's mean score with its standard error (None for one example), and the versions of
    the parameters that had it."""

    mean: float
    error: float | None
    examples: int
    versions: dict[str, int]


class Change(BaseModel):
    """The first and the latest score of a loss on a split.

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
    p: float | None = None
    paired: bool = False
    better: int | None = None
    worse: int | None = None
    same: int | None = None


class Funnel(BaseModel):
    """How far proposals came: usable texts, compared on the split, taken."""

    proposed: int = 0
    usable: int = 0
    compared: int = 0
    accepted: int = 0


class Spent(BaseModel):
    """What was used. `cost` is in dollars; `by_purpose` has calls, tokens, seconds and cost."""

    calls: int
    tokens: int
    cost: float
    by_purpose: dict[str, dict[str, float]] = Field(default_factory=dict)


class Parameter(BaseModel):
    """A text that is being improved, and the version it is at."""

    id: str
    role: str
    name: str = ""
    kind: str
    version: int
    file: str | None = None


class SessionReport(BaseModel):
    """What was tried, what was won, and what it cost.

    `headline` says in one honest sentence what the figures prove, and what they do not.
    """

    title: str
    created: str
    updated: str
    headline: str
    scores: list[Change]
    steps: int
    accepted: int
    fates: dict[str, int]
    funnel: Funnel
    test_reads: int
    examples: dict[str, int]
    parameters: list[Parameter]
    spent: Spent
