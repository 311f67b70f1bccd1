"""Answerers: who writes a completion. The ledger knows them only as this protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ...schemas.completions import Completion, CompletionRequest
from ...schemas.errors import AnswererError

OUTSIDE = ("assistant", "sampling", "caller")
"""The names of those who are not asked by the server itself: it waits for what they hand in."""


@dataclass(frozen=True)
class Attempt:
    """One try at a completion, and what it `brought`, if anything. `latency` is in seconds.

    `ends` is what the call is about to raise, if this was its last try.
    """

    outcome: str
    latency: float = 0.0
    detail: str = ""
    ends: AnswererError | None = None
    brought: Completion | None = None


RecordAttempt = Callable[[Attempt], Awaitable[None]]
Go = Callable[[], None]
"""Called just before each attempt goes out; raises when the run has been cancelled."""


class Answerer(Protocol):
    """Supplies completions. `model` and `params` become part of each request's key."""

    name: str
    model: str

    @property
    def params(self) -> dict[str, object]:
        """Sampling parameters sent with every call."""
        ...

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """The completion, or None where somebody outside must supply it.

        Every attempt made is passed to `record` as soon as its outcome is known.
        Raises EndpointDown or EndpointRefused.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Assistant:
    """The calling assistant answers: every completion is left pending for `resume`."""

    name = "assistant"
    model = ""

    @property
    def params(self) -> dict[str, object]:
        """None: the assistant decides how it answers."""
        return {}

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """Always None."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""
