"""Edits of a long text: a few pieces found and put otherwise, and all the rest as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..replies.reply import Malformed, object_schema

MOST = 8
"""So many edits at once: more are a rewrite."""
EDITS = {
    "type": "array",
    "items": object_schema({"find": {"type": "string"}, "put": {"type": "string"}}),
}


def edited(text: str, edits: Sequence[Mapping[str, str]]) -> str:
    """`text` after the edits, one after the other: each puts something in the place of a piece.

    An empty piece adds at the end. Raises Malformed for too many edits, and for a piece that does
    not stand in the text exactly once.
    """
    if len(edits) > MOST:
        raise Malformed(f"There are {len(edits)} edits; at most {MOST} are possible.")
    for edit in edits:
        piece, put = edit["find"], edit["put"]
        if not piece:
            text += put
            continue
        if (times := text.count(piece)) != 1:
            how = "is not in the text" if not times else f"stands in it {times} times"
            raise Malformed(
                f"The piece to find {_shown(piece)} {how}: copy one that stands there exactly once."
            )
        text = text.replace(piece, put)
    return text


def _shown(piece: str) -> str:
    flat = " ".join(piece.split())
    return repr(flat if len(flat) <= 80 else f"{flat[:79]}…")
