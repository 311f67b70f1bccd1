"""Answerers: who writes a completion. The ledger knows them only as this protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Protocol

from ...schemas.completions import Completion, CompletionRequest
from ...schemas.errors import AnswererError, BadInput, ExtensionFailed
from ...schemas.near import did_you_mean
from ...schemas.settings import RoleSettings
from ..extensions.table import Table

if TYPE_CHECKING:
    from .limiter import Limiters

PROGRAM = "evaluator "
"""What the name of an answerer begins with that is a program of the operator: no model is asked."""
OUTSIDE = ("assistant", "sampling", "caller")
"""The names of those who are not asked by the server itself: it waits for what they hand in."""


_UNCOUNTED = {
    "assistant": "not counted: the assistant answers",
    "sampling": "not counted: the client's model answers",
}


def uncounted(names: Collection[str]) -> str:
    """Why tokens and cost are not known where these answer; empty where they are."""
    known = [_UNCOUNTED[name] for name in names if name in _UNCOUNTED]
    return known[0] if len(known) == len(names) > 0 else ""


@dataclass(frozen=True)
class Attempt:
    """One try to get a completion, as it is recorded.

    `outcome` is one word on how it went, `detail` a sentence on what went wrong, `latency` is in
    seconds. `brought` is the completion, if there is one; `ends` is the error that the call is
    about to raise, if this was its last try.
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


class Maker(Protocol):
    """Makes the answerer of a role."""

    def __call__(self, settings: RoleSettings, limiters: Limiters) -> Answerer:
        """The answerer that `settings` ask for; it opens nothing yet. `limiters` are shared by all
        that call one address. Raises BadInput."""
        ...


def _assistant(settings: RoleSettings, limiters: Limiters) -> Answerer:
    return Assistant()


_TOLD = 1_000  # characters of what is told of an answerer's error
ANSWERERS: Table[Maker] = Table(
    "answerer",
    "answerers",
    {"openai": "engine.answerers.openai:OpenAIAnswerer", "assistant": _assistant},
)
"""Who can answer, by the name that settings give."""


def _without_secrets(settings: RoleSettings) -> Callable[[str], str]:
    """Takes out of a text what settings keep secret."""
    from .faults import Endpoint

    key = settings.api_key.get_secret_value() if settings.api_key else ""
    headers = tuple(value.get_secret_value() for value in settings.headers.values())
    endpoint = Endpoint(settings.base_url or "", key, "", headers)
    return lambda text: endpoint.scrub(text, _TOLD)


def made(name: str, settings: RoleSettings, limiters: Limiters) -> Answerer:
    """The answerer of that name. Raises BadInput where there is none, or settings do not fit."""
    clean = str if name in ANSWERERS.own else _without_secrets(settings)
    answerer = ANSWERERS.guard(name, ANSWERERS.find(name), {}, clean)(settings, limiters)
    lacks = [a for a in ("name", "model", "params", "answer", "close") if not hasattr(answerer, a)]
    if lacks or answerer.name != name:
        why = f"it has no {', '.join(lacks)}" if lacks else f"it is named {answerer.name!r}"
        said = f"The answerer {name!r} is of no use: {why}."
        raise ExtensionFailed(said, "Mend its package, or use another answerer.")
    return ANSWERERS.guard(name, answerer, {"answer": (Completion, NoneType)}, clean)


def no_model(name: str, configured: Collection[str]) -> BadInput:
    """The error for a model that is not configured (any more): which are, and how to add one."""
    return BadInput(
        f"There is no model {name[:60]!r}; configured: {', '.join(configured)}."
        f"{did_you_mean(name, configured)}",
        "The server's operator adds one: [models.NAME] with model and base_url in its settings "
        "file, or TEXTGRAD_MCP_MODELS_NAME_MODEL and ..._BASE_URL; what is left out is as for "
        "forward.",
    )
