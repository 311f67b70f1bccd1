"""What whoever answers prompts by hand has read and written in a session already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from ..runs.runner import Caller
from .lookup import Parts

REMEMBERED = 200_000
"""Characters of the latest calls: those before may be forgotten."""


@dataclass(frozen=True)
class ReadBefore:
    """Texts that a page of prompts can name instead of repeating them."""

    parts: Parts

    async def __call__(self, caller: Caller, *, session_id: str) -> list[tuple[str, str]]:
        """The prompts that the assistant has answered, and its answers, each with what it is called
        (`c7's prompt`, `c7's answer`, `c7's value_2`), in the order they were asked. Raises
        NotFound."""
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        read = await self.parts.store.calls.read_by(session.pk, "assistant", REMEMBERED)
        return [
            named
            for n, request, reply in read
            for named in (
                (f"c{n}'s system", request.system or ""),
                (f"c{n}'s prompt", request.prompt),
                *((f"c{n}'s {name}", text) for name, text in _texts(reply)),
            )
        ]


def _texts(reply: str) -> Iterator[tuple[str, str]]:
    """A reply, or the texts in one that is an object, with their names."""
    try:
        found = json.loads(reply)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        yield from ((name, value) for name, value in found.items() if isinstance(value, str))
    else:
        yield "answer", reply
