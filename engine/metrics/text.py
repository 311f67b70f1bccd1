"""Metrics that compare texts: exact_match, contains, f1, edit_similarity."""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from ...schemas.errors import ExampleError
from ...schemas.graph import Value
from ..distance import levenshtein
from .base import (
    CORRECT,
    EXPECTED,
    FIX,
    Metric,
    Options,
    difference,
    folded,
    look_alike,
    quoted,
    skeleton,
    wrong,
)

LONGEST = 20_000
"""How many units (characters, else words, else lines) edit_similarity compares at most."""
BEGINNING = 8
"""So many characters of a text must be there for `contains` to say where it breaks off."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Lenience(Options):
    """What a comparison overlooks. White space at both ends never counts."""

    ignore_case: bool = False
    ignore_whitespace: bool = False
    ignore_punctuation: bool = False

    def normal(self, text: str) -> str:
        """`text` without what is overlooked."""
        if self.ignore_case:
            text = folded(text)
        if self.ignore_punctuation:
            text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
        return " ".join(text.split()) if self.ignore_whitespace else text.strip()


_LENIENCES = {
    "upper and lower case": Lenience(ignore_case=True),
    "white space": Lenience(ignore_whitespace=True),
    "punctuation": Lenience(ignore_punctuation=True),
}


def _exact_match(output: str, answer: str, options: Lenience) -> Value:
    if options.normal(output) == options.normal(answer):
        return CORRECT
    output, answer = output.strip(), answer.strip()
    if not output:
        return wrong(f"Expected exactly {quoted(answer, EXPECTED)} but the output was empty.")
    expected = f"Expected exactly {quoted(answer, EXPECTED)} but the output was {quoted(output)}; "
    for what, lenience in _LENIENCES.items():
        if lenience.normal(output) == lenience.normal(answer):
            return wrong(f"{expected}only {what} differs: {difference(answer, output)}.")
    if skeleton(output) == skeleton(answer):
        return wrong(f"{expected}they only look alike: {difference(answer, output)}.")
    if answer and answer in output:
        return wrong(f"{expected}the right answer is in it, but nothing else may stand around it.")
    return wrong(f"{expected}{difference(answer, output)}.")


class Contains(Options):
    """Options of `contains`."""

    ignore_case: bool = False


def _wanted(answer: str, options: Contains) -> str:
    if wanted := answer.strip():
        return wanted
    raise ExampleError("The right answer is empty: every output contains it.", FIX)


def _contains(output: str, answer: str, options: Contains) -> Value:
    wanted = _wanted(answer, options)
    if wanted in output:
        return CORRECT
    in_other_case = folded(wanted) in folded(output)
    if in_other_case and options.ignore_case:
        return CORRECT
    expected = f"The output must contain {quoted(wanted, EXPECTED)} but was {quoted(output)}."
    if in_other_case:
        return wrong(f"{expected} It is there in other upper and lower case only.")
    return wrong(expected + _nearest(wanted, output))


def _nearest(wanted: str, output: str) -> str:
    """Where a text that is not in the output comes nearest to being there, in words."""
    alike = look_alike(wanted, output)
    if alike is not None:
        return f" {quoted(alike)} only looks like it: {difference(wanted, alike)}."
    start = bisect_right(range(len(wanted)), 0, key=lambda n: wanted[: n + 1] not in output)
    if start < BEGINNING:
        return ""
    at = output.find(wanted[:start])
    there = output[at : at + len(wanted)]
    return f" Its beginning is there, but {difference(wanted, there)}."


def _tokens(text: str) -> list[str]:
    """Words as SQuAD counts them: lower case, no punctuation, no articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _f1(output: str, answer: str, options: Options) -> Value:
    got, wanted = Counter(_tokens(output)), Counter(_tokens(answer))
    common = (got & wanted).total()
    value = 2 * common / (got.total() + wanted.total()) if got or wanted else 1.0
    if value == 1.0:
        return CORRECT
    parts = [f"Word overlap (F1) with the expected {quoted(answer, EXPECTED)} is {value:.2f}."]
    if missing := wanted - got:
        parts.append(f"Missing words: {_some(list(missing.elements()))}.")
    if surplus := got - wanted:
        parts.append(f"Words too many: {_some(list(surplus.elements()))}.")
    seen = {skeleton(word): word for word in missing}
    if alike := next((word for word in surplus if skeleton(word) in seen), None):
        other = seen[skeleton(alike)]
        parts.append(f"Two of them only look alike: {difference(other, alike)}.")
    return wrong(" ".join(parts), value)


def _some(words: list[str]) -> str:
    shown = ", ".join(word[:40] for word in words[:10])
    return shown + (f" and {len(words) - 10} more" if len(words) > 10 else "")


def _units(output: str, answer: str) -> tuple[str, Sequence[str], Sequence[str]]:
    """The finest units of which neither text has more than LONGEST, and the texts in them."""
    if max(len(output), len(answer)) <= LONGEST:
        return "characters", output, answer
    words = output.split(), answer.split()
    if max(map(len, words)) <= LONGEST:
        return "words", *words
    return "lines", output.splitlines()[:LONGEST], answer.splitlines()[:LONGEST]


def _edit_similarity(output: str, answer: str, options: Options) -> Value:
    output, answer = output.strip(), answer.strip()
    if output == answer:
        return CORRECT
    unit, got, wanted = _units(output, answer)
    longest = max(len(got), len(wanted))
    edits = max(1, levenshtein(got, wanted))  # the texts differ, if only in white space
    value = max(0.0, 1 - edits / longest)
    where = difference(answer, output)
    return wrong(
        f"Similarity to the expected {quoted(answer, EXPECTED)} is {value:.2f}: {edits} edits on "
        f"{longest} {unit}. The output was {quoted(output)}; {where}.",
        value,
    )


EXACT_MATCH = Metric(
    "exact_match", "1 if the output is the right answer, outer white space aside", Lenience,
    _exact_match,
)  # fmt: skip
CONTAINS = Metric(
    "contains", "1 if the output contains the right answer", Contains, _contains,
    check_answer=_wanted,
)  # fmt: skip
F1 = Metric("f1", "overlap of words with the right answer, as in SQuAD", Options, _f1)
EDIT_SIMILARITY = Metric(
    "edit_similarity", "1 minus the edit distance as a share of the longer text", Options,
    _edit_similarity,
)  # fmt: skip
