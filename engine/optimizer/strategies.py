"""Strategies: how a minibatch becomes proposals, one table of them by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ...schemas.graph import Gradient, Variable
from ..extensions.table import Table
from ..runs.context import RunContext
from .candidate import Candidate, Check
from .proposer import propose


class Propose(Protocol):
    """Writes candidates from gradients."""

    async def __call__(
        self,
        work: RunContext,
        parameters: Sequence[Variable],
        gradients: dict[str, list[Gradient]],
        *,
        count: int,
        check: Check,
        memory: int = 0,
    ) -> list[Candidate]:
        """`count` candidates, each with a text for every parameter, by its id.

        `gradients` are by parameter; `check` says what else is wrong with a text; `memory` is how
        many gradients of earlier steps may be shown. A candidate that is out of the running says
        why. Raises NotYet, AnswererError.
        """
        ...


@dataclass(frozen=True)
class Strategy:
    """One strategy. `exact` asks for feedback on each edge and example by itself; `direct` asks
    for none: what was criticised is the feedback. `reflects`: one request sees what a text did and
    brings all candidates, else `propose` writes them from the gradients."""

    name: str
    exact: bool = False
    direct: bool = False
    reflects: bool = False
    propose: Propose = propose

    def critiques(self, batch: int) -> int:
        """Requests for feedback through one operation on `batch` examples that share calls."""
        return batch if self.exact else 0 if self.direct or self.reflects else 1


STRATEGIES: Table[Strategy] = Table(
    "strategy",
    "strategies",
    {
        "gradient": Strategy("gradient"),
        "reflect": Strategy("reflect", reflects=True),
        "rewrite": Strategy("rewrite", direct=True),
        "exact": Strategy("exact", exact=True),
    },
    Strategy,
    {"propose": (list,)},
)
