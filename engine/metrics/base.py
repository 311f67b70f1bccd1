"""What every metric is made of: its entry in the table, its options, and words for feedback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ...schemas.errors import BadInput
from ...schemas.graph import Value
from ...schemas.near import nearest

CORRECT = Value(text="Correct.", score=1.0)
SHOWN = 200
"""How many characters of a text feedback shows."""


class Options(BaseModel):
    """Options of a metric; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def names(cls) -> list[str]:
        """The options' names as a caller writes them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def read(cls, metric: str, options: Mapping[str, Any]) -> Self:
        """The options of `metric`, checked. Raises BadInput."""
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise cls._refusal(metric, error) from error

    @classmethod
    def _refusal(cls, metric: str, error: ValidationError) -> BadInput:
        first = error.errors(include_url=False)[0]
        name, names = str(first["loc"][0]) if first["loc"] else "", cls.names()
        known = f"Options of {metric}: {', '.join(names) or 'none'}."
        if first["type"] == "extra_forbidden":
            near = nearest(name, names)
            hint = f" Did you mean {near}?" if near else ""
            return BadInput(f"The metric {metric} has no option {name!r}.{hint}", known)
        if first["type"] == "missing":
            return BadInput(f"The metric {metric} needs the option {name!r}.", known)
        return BadInput(f"The option {name!r} of {metric}: {first['msg']}.", known)


O = TypeVar("O", bound=Options)  # noqa: E741 - an option set


@dataclass(frozen=True)
class Metric(Generic[O]):
    """One metric. `judge(output, answer, options)` scores; the answer is "" where none is needed.

    `check` raises BadInput for options that are well-formed but cannot work.
    """

    name: str
    summary: str
    options: type[O]
    judge: Callable[[str, str, O], Value]
    needs_answer: bool = True
    check: Callable[[O], None] = lambda options: None


def wrong(feedback: str, score: float = 0.0) -> Value:
    """Feedback with a score below 1."""
    return Value(text=feedback, score=score)


def quoted(text: str, length: int = SHOWN) -> str:
    """`text` in quotes, cut in the middle when long, so that both ends show."""
    if len(text) > length:
        head, tail = text[: length * 2 // 3], text[-(length // 3) :]
        return f"'{head}' … '{tail}' ({len(text):,} characters)"
    return f"'{text}'"


def difference(expected: str, output: str) -> str:
    """Where the texts first differ, in words. They must not be equal."""
    shared = range(min(len(expected), len(output)))
    at = next((i for i in shared if expected[i] != output[i]), len(shared))
    if at == len(output):
        return f"it stops too early, before {quoted(expected[at:], 40)}"
    if at == len(expected):
        return f"it goes on after the expected text with {quoted(output[at:], 40)}"
    here, there = quoted(output[at : at + 20]), quoted(expected[at : at + 20])
    return f"it differs first at character {at + 1}: {here} instead of {there}"
