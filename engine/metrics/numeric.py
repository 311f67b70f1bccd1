"""The metric `numeric`: the number that an output states against the right one."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import islice, pairwise

from pydantic import Field

from ...schemas.errors import ExampleError
from ...schemas.graph import Value
from .base import CORRECT, FIX, Metric, Options, quoted, wrong
from .numbers import Number, numbers, tidy
from .statements import STATEMENT, lines, statements

Reading = Number | str | None
"""The number that is stated; why there is no single one, in words; None where there is none."""
SHORT = 100
"""So many characters at most has a line that holds a number and nothing else."""
_TRIED = 50  # statements, and lines
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*|__([^_\n]+)__|<(?:b|strong)>([^<\n]+)</")
_ALONE = re.compile(r"\W*(?:[^\W\d]+\W+){0,2}")
_BRACKETS = re.compile(r"(?<=\s)\([^()]*\)|(?<=\s)\[[^\[\]]*\]|\[\d{1,3}\]")
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])")
_NOT = re.compile(
    r"(?:\b(?:not|never|rather than|instead of|nicht|kein\w*|pas|no es|не)|n't|不是)\W+"
    r"(?:\w+\W+)?\Z",
    re.IGNORECASE,
)
_SURE = re.compile(r"\b(?:confiden(?:ce|t)|sure|certain(?:ty)?)\b", re.IGNORECASE)
_REASON = re.compile(
    r"(?:\A|,)\W*(?:since|because|as|so|which|where|with|for|given|due|if|when|weil|da|denn|car|"
    r"parce|porque|perché|потому|因为|由于)\b",
    re.IGNORECASE,
)
_OR = re.compile(r"(?<!\w)(?:or|oder|ou|o|или|或|又は|または)(?!\w)", re.IGNORECASE)
_AND = re.compile(
    r"(?<!\w)(?:and|to|through|until|plus|minus|times|divided by|multiplied by|over|of|out of|per|"
    r"by|vs|versus|und|bis|mal|et|à|y|e|и|до|和|到|至)(?!\w)|[+×÷*]|(?<!\w)[x·-](?!\w)",
    re.IGNORECASE,
)
_EQUAL = re.compile(
    r"[=≈→⇒≃≅]|\b(?:is|are|equals?|makes?|gives?|yields?|leaves?|ist|sind|ergibt|est|es|è)\b"
    r"(?:\W+(?:about|around|approximately|exactly|only|just|a total of))?\W*\Z",
    re.IGNORECASE,
)
_LINKED_WORDS = 3  # more words between two numbers do not tie them together


def number_stated(text: str) -> Reading:
    """The number that `text` gives as its answer: where it is stated, else the last one."""
    for said in islice(statements(text), _TRIED):
        reading = _chosen(said, first=True)
        if reading is not None:
            return reading
    return _unstated(text)


def _unstated(text: str) -> Reading:
    said = lines(text)
    alone = {line: n for line in said[:_TRIED] if (n := _alone(line))}
    one_value = len({n.value for n in alone.values()}) == 1
    if one_value and any(line is said[0] or _is_bold(line) for line in alone):
        return next(iter(alone.values()))
    if len(alone) > 1 and len(alone) == len(said):
        return _together(list(alone.values()))
    for line in reversed(said[-_TRIED:]):
        reading = _emphasised(line) or _chosen(line[-STATEMENT:], first=False)
        if reading is not None:
            return reading
    return None


def _alone(line: str) -> Number | None:
    """The number that is all there is in a line, with its unit or two words at most."""
    text = tidy(line) if len(line) < SHORT else ""
    found = list(numbers(text))
    if len(found) != 1 or found[0].value is None or re.search(r"\w", text[: found[0].start]):
        return None
    return found[0] if _ALONE.fullmatch(text[found[0].end :] + " ") else None


def _is_bold(line: str) -> bool:
    return re.fullmatch(rf"\W*(?:{_BOLD.pattern})\W*", line) is not None


def _emphasised(line: str) -> Reading:
    """The last number in bold letters, where none that is not in brackets follows it."""
    for found in reversed([*_BOLD.finditer(line[-STATEMENT:])]):
        reading = _chosen(next(filter(None, found.groups())), first=False)
        if reading is not None:
            rest = _BRACKETS.sub("", line[-STATEMENT:][found.end() :])
            if after := next(numbers(tidy(rest)), None):
                return f"{found[0]} stands out, but {after.text} follows"
            return reading
    return None


def _chosen(text: str, *, first: bool) -> Reading:
    """The first number of a statement, or the last one of a line, with what is tied to it."""
    text = tidy(text[:STATEMENT])
    outside = _BRACKETS.sub(" ", text)
    if next(numbers(outside), None) is None:
        outside = text
    said = [s for s in _SENTENCES.split(outside) if next(numbers(s), None)]
    if not said:
        return _in_words(text)
    said = [s for s in said if not _SURE.search(s)] or said
    sentence = said[0 if first else -1]
    found = list(numbers(sentence))
    ends = [0, *(n.end for n in found)]
    kept = [
        n for n, end in zip(found, ends, strict=False) if not _NOT.search(sentence[end : n.start])
    ]
    if not kept:
        return "it only says what the answer is not"
    return _of_chain(_chain(sentence, kept, first=first))


def _chain(text: str, found: list[Number], *, first: bool) -> list[list[Number]]:
    """The numbers tied to the first or last one, those that are said to be equal apart."""
    parts: list[list[Number]] = [[found[0]]]
    chains = [parts]
    for one, other in pairwise(found):
        link = _link(text[one.end : other.start])
        if link == "and":
            parts[-1].append(other)
        elif link == "equals":
            parts.append([other])
        else:
            parts = [[other]]
            chains.append(parts)
    return chains[0 if first else -1]


def _link(between: str) -> str:
    """What the text between two numbers makes of them: "and" or "equals", or they are apart."""
    words = re.findall(r"[^\W\d_]+", between)
    if _REASON.search(between) or len(words) > _LINKED_WORDS + 1:
        return ""
    equal = _EQUAL.search(between)
    before = between[: equal.start()] if equal else ""
    sign = equal is not None and "=" in equal[0]
    if _OR.search(between) or _AND.search(before) or (sign and re.search(r"[,;]", before)):
        return "and"  # x = 3 or x = 5; x = 3, y = 5
    if equal:
        return "equals"
    few = len(words) <= _LINKED_WORDS
    listed = not words or re.fullmatch(r"\W*\w+ ?,\W*", between)
    return "and" if listed or (few and _AND.search(between)) else ""


def _of_chain(parts: list[list[Number]]) -> Reading:
    single = [part[-1] for part in parts if len({n.value for n in part}) == 1]
    clear = [n for n in single if n.value is not None]
    if clear:
        return clear[-1]
    if single:
        return f"{quoted(single[-1].text, 60)} is not one number that is clear"
    return _together(parts[-1])


def _together(found: list[Number]) -> str:
    return f"it names {' and '.join(quoted(n.text, 40) for n in found[:3])} together"


_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: 10 * n for n, word in enumerate(_TENS.split())} | {
    word: n for n, word in enumerate(_SMALL.split())
}
_LARGE = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}


def _in_words(text: str) -> Number | None:
    """A number that is written out in English and nothing else."""
    words = re.sub(r"\band\b|[-,.!$]", " ", text.lower()).split()
    total = group = 0
    for word in words:
        if word in _WORDS:
            group += _WORDS[word]
        elif word == "hundred" and group:
            group *= 100
        elif word in _LARGE and group:
            total, group = total + group * _LARGE[word], 0
        else:
            return None
    return Number(text.strip(), 0, len(text), Fraction(total + group)) if words else None


class Tolerance(Options):
    """How far off a number may be. The right answer times `relative` or `absolute` is enough."""

    absolute_tolerance: Decimal = Field(default=Decimal(0), ge=0, allow_inf_nan=False)
    relative_tolerance: Decimal = Field(default=Decimal(0), ge=0, allow_inf_nan=False)

    def accepts(self, found: Fraction, expected: Fraction) -> bool:
        """Whether `found` is near enough to `expected`."""
        relative = Fraction(self.relative_tolerance) * abs(expected)
        return abs(found - expected) <= max(Fraction(self.absolute_tolerance), relative)


_short_answer = lru_cache(maxsize=4096)(number_stated)  # read for each output that it is held to


def _right_number(answer: str, options: Tolerance) -> Number:
    found = _short_answer(answer) if len(answer) <= SHORT else number_stated(answer)
    if isinstance(found, Number):
        return found
    why = "no number" if found is None else f"no single number: {found}"
    raise ExampleError(f"The right answer {quoted(answer, 80)} holds {why}.", FIX)


def _numeric(output: str, answer: str, options: Tolerance) -> Value:
    expected, found = _right_number(answer, options), number_stated(output)
    said = f"Expected the number {quoted(expected.text, 80)} but"
    there = f"The output was {quoted(output)}."
    if found is None:
        return wrong(f"{said} the output, {quoted(output)}, has none.")
    if isinstance(found, str):
        return wrong(f"{said} the output states no single number: {found}. {there}")
    value, other = found.value, found.other
    assert value is not None  # both are clear
    assert expected.value is not None
    size = Fraction(1)
    if found.unit and expected.unit:
        terms = found.unit.in_terms_of(expected.unit)
        if terms is None:
            return wrong(f"{said} the output gives {quoted(found.text, 80)}. {there}")
        size = terms
    if options.accepts(value * size, expected.value):
        return CORRECT
    if other is not None and options.accepts(other * size, expected.value):
        return wrong(
            f"{said} {quoted(found.text, 80)} in the output can be read in two ways: write a "
            f"number without a mark between thousands. {there}"
        )
    doubt = ""
    if expected.other is not None and options.accepts(value * size, expected.other):
        doubt = " (the right answer can be read so too, but a point is taken for a decimal one)"
    return wrong(f"{said} the answer in the output is {quoted(found.text, 80)}{doubt}. {there}")


def number_in(output: str, options: Tolerance) -> str | None:
    """The number that `output` states, in one spelling; None where there is no single one."""
    found = number_stated(output)
    if not isinstance(found, Number) or found.value is None:
        return None
    unit = found.unit
    return str(found.value if unit is None else found.value * unit.above.size / unit.below.size)


NUMERIC = Metric(
    "numeric", "1 if the number that the output states is the right one", Tolerance, _numeric,
    check_answer=_right_number,
)  # fmt: skip
