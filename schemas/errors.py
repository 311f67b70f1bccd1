"""The errors, one small tree.

TextGradError               what went wrong, and what to do next; safe to show to anyone
├── BadInput                an argument cannot be used as it is
│   ├── TooLong             ... because the work on it took too much time, memory or room
│   └── ExtensionFailed     ... because what an installed package adds for it cannot be used
├── NotFound                no such session, variable, run, ... (or not the caller's)
├── Conflict                the state does not allow it now: another run, stale, spent
│   ├── Outdated            ... because a run stands on what is no longer so: begin anew
│   └── QuotaExceeded       ... because the operator lets one owner have no more
├── BudgetExhausted         the next call would cost more than is left
├── AnswererError           no completion could be had
│   ├── EndpointDown        ... now; the same call later may succeed
│   └── EndpointRefused     ... with this key, model or request; change something first
│       └── PromptRefused   ... for this prompt alone: too long, or filtered for what it says
├── ExampleError            one example cannot be used, whatever the texts: the others go on
│   └── ExampleRefused      ... by an endpoint, which refuses what the program makes of it
├── ReplyError              a model replied, twice, with something that cannot be used
├── ProgramFailed           an evaluator's program failed on what it was given
├── StoreError              the database cannot be used; nothing was overwritten
│   └── StoreBusy           ... now: another process holds it, and did not let go for long
└── InternalError           a fault of this program, which its log has under an id
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from .text import storable


class TextGradError(Exception):
    """Anything we can explain. `next` is one sentence on what to do about it.

    Both may quote somebody, so that what could neither be stored nor sent is replaced in them.
    """

    def __init__(self, message: str, next: str = "") -> None:  # noqa: A002 - the word the results use
        self.message, self.next = storable(message), storable(next)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.next}".strip()


class BadInput(TextGradError):
    """An argument cannot be used as it is."""


class TooLong(BadInput):
    """Work on it took, or would take, more time, memory or room than there is."""


class ExtensionFailed(BadInput):
    """What an installed package adds cannot be loaded, is of the wrong kind, or failed."""


class NotFound(TextGradError):
    """No such thing, or not the caller's: both get the same answer."""


class Conflict(TextGradError):
    """The session's state does not allow it now."""


class Outdated(Conflict):
    """A run stands on what is no longer so, or cannot be read: it can only be begun anew."""


class QuotaExceeded(Conflict):
    """The owner has, or has used, as much as the operator allows."""


class BudgetExhausted(TextGradError):
    """The next call would cost more than is left of the budget."""


class AnswererError(TextGradError):
    """No completion could be had."""


class EndpointDown(AnswererError):
    """The endpoint did not answer, or said to come back later."""


class EndpointRefused(AnswererError):
    """The endpoint will never answer this as it is: key, model, quota or request."""


class PromptRefused(EndpointRefused):
    """The endpoint will not answer this prompt: it is too long, or filtered for what it says."""


class ExampleError(TextGradError):
    """One example cannot be used, whatever the texts are: it is left out, the others go on.

    `reasons` are those of all examples, by id, where none is left.
    """

    def __init__(
        self,
        message: str,
        next: str = "",  # noqa: A002 - as above
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, next)
        self.reasons = dict(reasons or {})


class ReplyError(TextGradError):
    """A model's reply was empty, cut off, refused or not in the form asked for, twice."""

    @property
    def why(self) -> str:
        """What was wrong, and what cures the cause where that is known."""
        cause = self.__cause__
        cure = cause.next if isinstance(cause, TextGradError) else ""
        return f"{self.message} {cure}".strip()


class CutOff(ReplyError):
    """A program's answer was cut off at the token limit: `said` is as much as there is of it, after
    so many `tokens` (0: not known)."""

    def __init__(self, message: str, next: str, said: str, tokens: int) -> None:  # noqa: A002
        super().__init__(message, next)
        self.said = said
        self.tokens = tokens


class ExampleRefused(ExampleError, ReplyError):
    """An endpoint refuses what the program makes of one example: too long, or filtered.

    Where texts are measured it is a reply that cannot be used, and counts as 0: another text may
    be answered. Else the example is left out.
    """


class ProgramFailed(TextGradError):
    """An evaluator's program failed on the texts it was given: theirs may be the fault, or its."""


class StoreError(TextGradError):
    """The database cannot be used. It was not overwritten."""


class StoreBusy(StoreError):
    """Another process holds the database; the same call later may succeed."""


class InternalError(TextGradError):
    """A fault of this program. Its log says more, under the id in the message."""


def fault(doing: str) -> InternalError:
    """What is told of a fault while `doing` something; whoever makes it logs what it was."""
    name = secrets.token_hex(4)
    return InternalError(
        f"{doing} failed by a fault of the server (error {name}).",
        f"Call it again with simpler arguments, if these are unusual; the log has it under {name}.",
    )
