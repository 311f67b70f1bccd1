"""What an id names, and which view of `inspect` shows it."""

from __future__ import annotations

import re
from typing import get_args

from ...schemas.errors import BadInput, NotFound
from ...schemas.graph import Split

_KINDS = {
    "v": "variable",
    "op": "graph",
    "e": "examples",
    "g": "gradients",
    "c": "call",
    "p": "steps",
    "s": "steps",
    "r": "runs",
}


def kind_of(id: str) -> str | None:  # noqa: A002
    """The view that ids of this form belong to, or None for what is no id."""
    found = re.match(r"(op|[a-z])\d+(@.*)?$", id, re.ASCII)
    return "examples" if id in get_args(Split) else _KINDS.get(found[1]) if found else None


def shown_by(id: str) -> str:  # noqa: A002
    """The view that shows what has this id. Raises NotFound, BadInput."""
    kind = kind_of(id)
    if kind is None:
        raise NotFound(
            f"{id!r} is no id.",
            "Ids look like v3, v3@2, v3@1..4, op1, e5, g2, p4 or c7; inspect(session_id) without "
            "id shows what there is.",
        )
    if id[0] in "sr":
        raise BadInput(f"{id!r} is not shown alone.", f"what={kind!r} without id lists all {kind}.")
    return kind
