"""Edits of a long text: a few pieces found and put otherwise, and all the rest as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..prompts import sentence
from ..replies.reply import Malformed, object_schema

MOST = 8
"""So many edits at once: more are a rewrite."""
EDITS = {
    "type": "array",
    "items": object_schema({"find": {"type": "string"}, "put": {"type": "string"}}),
}


def edited(text: str, edits: Sequence[Mapping[str, str]]) -> str:
    """`text` after the edits, made one after the other: each replaces the piece `find` by `put`; an
    empty `find` adds `put` at the end.

    Raises Malformed for too many edits, and for a piece that does not stand in the text exactly
    once.
    """
    if len(edits) > MOST:
        raise Malformed(sentence("problems", "edits", count=str(len(edits)), most=str(MOST)))
    for edit in edits:
        piece, put = edit["find"], edit["put"]
        if not piece:
            text += put
            continue
        if (times := text.count(piece)) != 1:
            what = "edit_often" if times else "edit_nowhere"
            found = {"piece": _shown(piece), "times": str(times)}
            raise Malformed(sentence("problems", what, **found))
        text = text.replace(piece, put)
    return text


def _shown(piece: str) -> str:
    flat = " ".join(piece.split())
    return repr(flat if len(flat) <= 80 else f"{flat[:79]}…")
