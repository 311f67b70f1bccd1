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
from .reflect import reflect
from .seen import Seen


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


class Reflect(Protocol):
    """Writes candidates from what a text did, without gradients."""

    async def __call__(
        self, work: RunContext, parameter: Variable, seen: Seen, count: int, check: Check
    ) -> tuple[list[Candidate], str]:
        """Up to `count` candidates, each with a text for the parameter, whose `value` is the text
        that was seen; and what is wrong with that one, or an empty text.

        `seen` has its outputs, scores and what was said of them, by example; `check` says what
        else is wrong with a text. A candidate that is out of the running says why. Raises NotYet,
        AnswererError.
        """
        ...


@dataclass(frozen=True)
class Strategy:
    """One strategy. `exact` asks for feedback on each edge and example by itself; `direct` asks
    for none: what was criticised is the feedback. With `reflect` it sees what one parameter's text
    did and writes all candidates from that; else `propose` writes them from the gradients."""

    name: str
    exact: bool = False
    direct: bool = False
    reflect: Reflect | None = None
    propose: Propose = propose

    @property
    def reflects(self) -> bool:
        """Whether candidates are written from what a text did, one parameter at a time."""
        return self.reflect is not None

    @property
    def needs_backward(self) -> bool:
        """Whether `step` rewrites by feedback that `backward` has asked for before."""
        return not (self.direct or self.reflects)

    def critiques(self, batch: int) -> int:
        """How many requests for feedback one operation takes on `batch` examples that share
        calls."""
        return batch if self.exact else 0 if self.direct or self.reflects else 1


STRATEGIES: Table[Strategy] = Table(
    "strategy",
    "strategies",
    {
        "gradient": Strategy("gradient"),
        "reflect": Strategy("reflect", reflect=reflect),
        "rewrite": Strategy("rewrite", direct=True),
        "exact": Strategy("exact", exact=True),
    },
    Strategy,
    {"propose": (list,), "reflect": (tuple,)},
)
