"""Who remembers what they have read: to them a page of prompts names it, and does not repeat it.

Kept in this process alone. Whoever is not known here gets pages that stand for themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...schemas.results import Result

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.engine import Engine
    from ...engine.runs.runner import Caller

MOST = 10_000
"""Sessions that are remembered."""


class Readers:
    """The sessions whose caller has said that it remembers earlier pages of prompts."""

    def __init__(self) -> None:
        self._remembering: dict[tuple[str, str], None] = {}

    async def known(
        self, engine: Engine, caller: Caller, result: Result, *, brief: bool | None, lasting: bool
    ) -> list[tuple[str, str]]:
        """What the prompts in `result` may refer to: texts with what they are called.

        `brief` says whether this caller remembers, None that it is as said before; `lasting` that
        it holds from now on.
        """
        who = (caller.owner, result.session_id or "")
        if lasting:
            self._remembering.pop(who, None)
            if brief:
                self._remembering[who] = None
            for oldest in list(self._remembering)[:-MOST]:
                del self._remembering[oldest]
        remembers = who in self._remembering if brief is None else brief
        if not (remembers and result.pending and result.session_id):
            return []
        return await engine.read_before(caller, session_id=result.session_id)
