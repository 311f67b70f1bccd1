"""The errors, one small tree.

TextGradError               what went wrong, and what to do next; safe to show to anyone
├── BadInput                an argument cannot be used as it is
├── NotFound                no such session, variable, run, ... (or not the caller's)
├── Conflict                the state does not allow it now: another run, stale, spent
│   ├── Outdated            ... because a run stands on what is no longer so: begin anew
│   └── QuotaExceeded       ... because the operator lets one owner have no more
├── BudgetExhausted         the next call would cost more than is left
├── AnswererError           no completion could be had
│   ├── EndpointDown        ... now; the same call later may succeed
│   └── EndpointRefused     ... with this key, model or request; change something first
├── ReplyError              a model replied, twice, with something that cannot be used
└── StoreError              the database cannot be used; nothing was overwritten
    └── StoreBusy           ... now: another process holds it, and did not let go for long
"""

from __future__ import annotations


class TextGradError(Exception):
    """Anything we can explain. `next` is one sentence on what to do about it."""

    def __init__(self, message: str, next: str = "") -> None:  # noqa: A002 - the word the results use
        super().__init__(message)
        self.message = message
        self.next = next

    def __str__(self) -> str:
        return f"{self.message} {self.next}".strip()


class BadInput(TextGradError):
    """An argument cannot be used as it is."""


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


class ReplyError(TextGradError):
    """A model's reply was empty, cut off, refused or not in the form asked for, twice."""


class StoreError(TextGradError):
    """The database cannot be used. It was not overwritten."""


class StoreBusy(StoreError):
    """Another process holds the database; the same call later may succeed."""
