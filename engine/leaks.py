"""What must not end up in a parameter: its training examples, and the optimiser's own words.

Both checks compare a rewrite with the text it replaces and report only what is new in it, in
sentences for the model that writes the next try.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

QUOTED = 5
"""So many words in a row, copied from our own prompts, count as a quotation."""
RUN = 8
"""So many words in a row, copied from an example, count as a copy."""
LONG_WORDS, LONG_CHARS = 4, 20
"""A shorter field counts alone if all of it is copied and it has so many words and characters."""
TOGETHER_WORDS = 3
"""Other fields count if two of one example are there and have so many words between them."""
COMMON = 0.2
"""Words that stand in this share of the examples, and in three at least, belong to the task."""
CONSTANT = 0.8
"""A short field that is the same in this share of the examples completes no copy; a label does."""
_REPORTED = 5

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")  # without spaces each character is a word
_Words = tuple[str, ...]

_OPTIMISER = {
    "a tag of the prompt that asked for it": r"</?[a-z][\w-]*-[0-9a-f]{6,}\b",
    "a tag around the text": r"</?(?:value|variable|gradients?|feedback|improved\w*)\b",
    "a JSON wrapper around the text": r"\A\s*\{\s*\"(?:value|text|v\d+)\"\s*:",
    "a code fence around the text": r"\A\s*```(?=[^`]*```\s*\Z)",
    "talk of gradients": r"\btextual gradients?\b|\bgradients? (?:says?|feedback|suggests?)\b",
    "talk of the feedback": (
        r"\bfeedback (?:says|said|states|suggests|indicates|received|above)\b"
        r"|\b(?:based on|according to|incorporat\w+|address\w*) the (?:feedback|critique|gradient)"
    ),
    "an announcement of the rewrite": (
        r"\b(?:here is|here's|below is|this is) (?:the|an|my|your) "
        r"(?:improved|revised|updated|rewritten|new|optimi[sz]ed)\b"
        r"|\b(?:improved|revised|updated|rewritten|optimi[sz]ed) "
        r"(?:version|prompt|text|variable|instructions?) ?:"
    ),
    "a remark on the rewriting": (
        r"\b(?:previous|current|original|old) (?:prompt|variable|instruction)\b"
        r"|\b(?:i have|i've) (?:improved|revised|updated|rewritten)\b"
    ),
}
_VOCABULARY = {what: re.compile(words, re.IGNORECASE) for what, words in _OPTIMISER.items()}


def optimiser_words(new: str, old: str) -> list[str]:
    """Sentences on words in `new`, and not in `old`, that belong to the optimiser's prompts.

    Bare words that honest texts need (gradient in CSS, feedback to a pupil) do not count.
    """
    sentences = []
    for what, pattern in _VOCABULARY.items():
        before = {match[0].casefold() for match in pattern.finditer(old)}
        added = [m[0].strip() for m in pattern.finditer(new) if m[0].casefold() not in before]
        if added:
            sentences.append(f"It holds {what} ({_cut(added[0])!r}): leave that out.")
    return sentences


def copied_words(new: str, old: str, ours: Sequence[str]) -> list[str]:
    """A sentence if `new` quotes what our own prompts say (`ours`) and `old` did not.

    A quotation is a run of QUOTED words, or all of a shorter heading to the letter.
    """
    for heading in ours:
        if len(_words(heading)) < QUOTED and heading in new and heading not in old:
            return [f"It quotes the request it was asked with ({heading!r}): leave that out."]
    added = _Rewrite(new, old).added(QUOTED)
    runs = [run for text in ours for run in _runs(_words(text), QUOTED)]
    found = next((run for run in runs if run in added), None)
    if found is None:
        return []
    return [f"It quotes the request it was asked with ({' '.join(found)!r}): leave that out."]


def copied_examples(
    new: str, old: str, examples: Iterable[Mapping[str, str]], split: str = "training"
) -> list[str]:
    """Sentences on examples that `new` copies and `old` did not, at most five and a count.

    `split` is what the sentences call the examples.

    A copy is a run of RUN words of a field, all of a shorter one with LONG_WORDS words and
    LONG_CHARS characters, or two still shorter fields of the same example; a label or a number
    alone is none. Case, punctuation and spacing do not matter, nor do words that many examples
    share. Time grows with the length of all examples: 10,000 of 100 words take about a second.
    """
    if new == old:
        return []
    rewrite = _Rewrite(new, old)
    found = [list(_hits(fields, rewrite)) for fields in examples]
    seen = Counter(words for hits in found for words in {hit.words for hit in hits})
    common = {words for words, times in seen.items() if times >= max(3, COMMON * len(found))}
    constant = {words for words in common if seen[words] >= CONSTANT * len(found)}
    copies = [copy for hits in found if (copy := _copy(hits, common, constant, split))]
    more = len(copies) - _REPORTED
    return copies[:_REPORTED] + ([f"It copies {more} more examples."] if more > 0 else [])


class _Rewrite:
    """The runs of words of a text, and which of them the text before it did not have."""

    def __init__(self, new: str, old: str) -> None:
        new_words, old_words = _words(new), _words(old)
        self.present = cache(lambda length: set(_runs(new_words, length)))
        self.added = cache(lambda length: self.present(length) - set(_runs(old_words, length)))


@dataclass(frozen=True)
class _Hit:
    """Words of a field that the rewrite holds. `whole`: they are a short field, all of it."""

    field: str
    words: _Words
    added: bool
    whole: bool


def _words(text: str) -> Sequence[str]:
    return _WORD.findall(text.casefold())


def _runs(words: Sequence[str], length: int) -> Iterator[_Words]:
    return zip(*(words[start:] for start in range(length)), strict=False)


def _hits(fields: Mapping[str, str], rewrite: _Rewrite) -> Iterator[_Hit]:
    for field, text in fields.items():
        words = _words(text)
        if len(words) >= RUN:
            copied = rewrite.added(RUN)
            runs = (run for run in _runs(words, RUN) if run in copied)
            yield from (_Hit(field, run, added=True, whole=False) for run in runs)
        elif words and (all_of_it := tuple(words)) in rewrite.present(len(words)):
            short = len(words) < LONG_WORDS or len(text.strip()) < LONG_CHARS
            added = all_of_it in rewrite.added(len(words))
            if short or added:
                yield _Hit(field, all_of_it, added, whole=short)


def _copy(
    hits: Sequence[_Hit], common: set[_Words], constant: set[_Words], split: str
) -> str | None:
    """The sentence on one example, or None if too little of it is there."""
    own = [hit for hit in hits if hit.added and hit.words not in common]
    alone = next((hit for hit in own if not hit.whole), None)
    if alone is not None:
        return _sentence([alone], split)
    whole = [hit for hit in hits if hit.whole and hit.words not in constant]
    enough = sum(len(hit.words) for hit in whole) >= TOGETHER_WORDS
    return _sentence(whole, split) if own and len(whole) > 1 and enough else None


def _sentence(hits: Sequence[_Hit], split: str) -> str:
    quotes = " and ".join(f"{_cut(' '.join(hit.words))!r} ({hit.field})" for hit in hits)
    return f"It copies a {split} example: {quotes}. State the general rule in other words."


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:99] + "…"
