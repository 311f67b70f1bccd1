"""What a rewrite has taken over of the request that asked for it.

Evidence counts, not the words of a domain: a literal piece of our own request (its fences, its
headings, its sentences, the form of its reply) which neither the text before had nor the material.
What is reported are sentences for the model that writes the next try.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...schemas.words import runs, words
from ..prompts import sentence

SENTENCE = 8
"""So many words in a row of what we ask with count as a quotation: fewer are anybody's."""
HEADING = 6
"""So many words of a heading do. A shorter heading counts as the first line, or beside another."""
KINDS = (
    *("text", "context", "tried", "earlier-feedback", "feedback", "input", "prompt", "output"),
    *("before", "expected", "said"),
)
"""What we fence."""
ALLOWED = sentence("problems", "request_allowed")

_FENCE = re.compile(rf"</?(?:{'|'.join(KINDS)})(?:-[\w-]{{1,64}})?-[0-9a-f]{{6}}\b")
_TAG = re.compile(r"\s*<(value|text|improved[\w-]*)>", re.IGNORECASE)
_JSON = re.compile(r'\s*\{\s*("value")\s*:')
_CODE = re.compile(r"\s*(```)(?=[^`]*```\s*\Z)")


def _tag(text: str) -> str:
    """The tag that stands around all of a text, if one does."""
    found = _TAG.match(text)
    end = f"</{found[1]}>" if found else ""
    return f"<{found[1]}>" if found and text.rstrip().endswith(end) and text.count(end) == 1 else ""


def _json(text: str) -> str:
    return found[1] if (found := _JSON.match(text)) else ""


def _code(text: str) -> str:
    return found[1] if (found := _CODE.match(text)) else ""


_WRAPPERS = {
    "json_wrapper": _json,
    "tag_wrapper": _tag,
    "fence_wrapper": _code,
}
"""What wraps a text, and what of it shows that others have spoken of it."""


def leaked(
    new: str, old: str, material: Iterable[str], headings: Sequence[str], sentences: Sequence[str]
) -> list[str]:
    """What `new` has copied from the request that asked for it, as sentences for its writer; empty
    if nothing.

    What the text before (`old`) or the `material` that was shown has too is no copy. `headings` and
    `sentences` are the words that all requests of this kind contain.
    """
    said = list(material)
    known = [old, *said]
    found = [
        *_wrapped(new, old, said),
        *_fenced(new, known),
        *_quoted(new, known, headings, sentences),
    ]
    return [*found, ALLOWED] if found else []


def _wrapped(new: str, old: str, material: Sequence[str]) -> list[str]:
    return [
        sentence("problems", what)
        for what, wrapper in _WRAPPERS.items()
        if (mark := wrapper(new))
        and not wrapper(old)
        and not any(mark in text for text in material)
    ]


def _fenced(new: str, known: Sequence[str]) -> list[str]:
    tags = dict.fromkeys(match[0] for match in _FENCE.finditer(new))
    ours = next((tag for tag in tags if not any(tag in text for text in known)), None)
    return [sentence("problems", "tag", tag=repr(ours))] if ours else []


def _quoted(
    new: str, known: Sequence[str], headings: Sequence[str], sentences: Sequence[str]
) -> list[str]:
    said, had = words(new), [words(text) for text in known]
    for length, ours in ((HEADING, headings), (SENTENCE, sentences)):
        added = set(runs(said, length)).difference(*(runs(text, length) for text in had))
        pieces = (run for text in ours for run in runs(words(text), length))
        found = next((run for run in pieces if run in added), None)
        if found:
            return [_sentence(" ".join(found))]
    lines = [line.strip() for line in new.split("\n") if line.strip()]
    own = [h for h in headings if h in lines and not any(h in text for text in known)]
    return [_sentence(own[0])] if own and (len(own) > 1 or own[0] == lines[0]) else []


def _sentence(piece: str) -> str:
    return sentence("problems", "quoted", piece=repr(piece))
