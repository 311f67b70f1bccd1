"""What a run has saved, read back: checked, or refused in words.

A run may have been saved by another version, or its row be damaged; nothing that rests on it may
then crash, each time it is resumed.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...schemas.errors import Outdated
from ...schemas.graph import STATE_VERSION, Run

M = TypeVar("M", bound=BaseModel)


class _Args(BaseModel):
    """What the body of a tool takes for granted in its arguments."""

    model_config = ConfigDict(strict=True, defer_build=True)

    notes: list[str] = []
    made: dict[str, str] = {}


class _Forward(_Args):
    targets: list[str]


class _Backward(_Args):
    losses: list[str]
    places: list[int]


class _Step(_Args):
    accept: str
    candidates: int
    bound: dict[str, int]
    memory: int = 0
    repeats: int = Field(1, ge=1)


class _Evaluate(_Args):
    loss: str
    split: str
    votes: int = 1
    repeats: int = Field(1, ge=1)


class _Optimize(_Args):
    losses: list[str]
    variables: list[str] | None
    steps: int
    batch_size: int
    candidates: int
    strategy: str
    parents: str
    goal: float
    patience: int
    budget: dict[str, float]
    seed: int
    memory: int = 0
    repeats: int = Field(1, ge=1)


_ARGS: dict[str, type[_Args]] = {
    "forward": _Forward,
    "compute_loss": _Forward,
    "backward": _Backward,
    "step": _Step,
    "evaluate": _Evaluate,
    "optimize": _Optimize,
}


def check(run: Run) -> None:
    """Raises Outdated for a run that cannot go on from what it has saved."""
    if run.tool not in _ARGS:
        raise refused(run, f"is a call of {run.tool}, which this version does not know")
    damaged = [name for name in run.damaged if name != "result"]
    if damaged:
        raise refused(run, f"is damaged in the database ({', '.join(damaged)})")
    try:
        _ARGS[run.tool].model_validate(run.args)
    except ValidationError as error:
        where = sorted({str(e["loc"][0]) for e in error.errors()})
        raise refused(run, f"is damaged in the database (args: {', '.join(where)})") from None
    version = run.state.get("version", 0)
    if not isinstance(version, int) or not 0 <= version <= STATE_VERSION:
        raise refused(run, f"was saved by a newer version of textgrad-mcp (state {version!r:.20})")


def state_of(run: Run, kind: type[M], key: str = "") -> M | None:
    """A run's state, or its part `key`, as `kind`; None if there is none yet.

    Raises Outdated when it cannot be read.
    """
    found = run.state.get(key) if key else run.state
    if found is None:
        return None
    try:
        return kind.model_validate(found)
    except ValidationError:
        raise refused(run, f"is damaged in the database (state: {key or 'loop'})") from None


def refused(run: Run, why: str) -> Outdated:
    """The error for a run that cannot go on, with `why`, and how to begin anew."""
    return Outdated(
        f"Run {run.id} ({run.tool}) {why}, so it cannot go on.",
        f"Begin anew: make the call again, {run.tool}(session_id='{run.session_id}', ...). What "
        "was answered is kept and not asked again.",
    )
