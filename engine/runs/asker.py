"""Whom the ledger answers: what it needs to know of a run, whatever else the run may be."""

from __future__ import annotations

from typing import Any, Protocol

from ...schemas.completions import Completion, CompletionRequest
from ...schemas.errors import TextGradError
from ...schemas.graph import Run, Session
from ...schemas.settings import Settings
from ..store import Chain, RunFence, Store


class Asker(Protocol):
    """A run that asks. The ledger counts what is `asked` and `answered`, adds `notes`, and leaves
    in `fatal` what keeps the run from asking more."""

    session: Session
    store: Store
    settings: Settings
    chain: Chain
    notes: list[str]
    asked: int
    answered: int
    fatal: TextGradError | None

    @property
    def args(self) -> dict[str, Any]:
        """What the tool was called with."""

    @property
    def fence(self) -> RunFence | None:
        """What guards this run's writes."""

    @property
    def measures(self) -> bool:
        """Whether the program's outputs are taken as they come, for they show how good it is."""

    @property
    def overdue(self) -> bool:
        """Whether others may have taken the run over."""

    async def ensure_run(self) -> Run:
        """The durable run."""

    async def need(self, request: CompletionRequest) -> Completion:
        """The completion of an addressed request. Raises NotYet, AnswererError, StoreError."""

    def check(self) -> None:
        """Raise what stops this run from making another call, if anything does."""

    def progress(self) -> None:
        """Tell whoever watches."""
