"""The metric `multiple_choice`: the letter that an output chooses against the right one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise

from pydantic import Field

from ...schemas.errors import ExampleError
from ...schemas.graph import Value
from .base import CORRECT, FIX, LOOKALIKES, Metric, Options, folded, quoted, wrong
from .statements import STATEMENT, lines, statements

_TRIED = 50  # statements, lines and sentences
_NEAR = 60  # characters before a letter that say what it is
_MARKUP = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|bf)\s*\{([^{}]*)\}|\*\*|__|[*`$]|\\[()\[\] ]"
    r"|</?(?:b|strong|i|em|u|p|br|span|div)\b[^<>\n]{0,80}>",
    re.IGNORECASE,
)
_INSIDE = r"[0-9A-Za-z_\u00aa-\u058f]"  # what makes a letter beside it a part of a word
_LONE = re.compile(r"(?<!\w)[A-Z](?!\w)")  # in "answer B is": what follows is about B
_FOREIGN = re.compile(rf"(?<!{_INSIDE})[А-ЯЅІЈΑ-Ω](?!{_INSIDE}|\s+\w)")
_SENTENCES = re.compile(r"(?<=[^\W\d_]{2}[.!?;])\s+|(?<=[)\]][.!?;])\s+|(?<=[。！？；])")
_WORDS = frozenset("AEIOUY")  # letters that are words as well: a, I, Spanish e
_CHOOSABLE = {  # what may follow such a letter where it is no word
    "I": r"(?:is|and|or|nor)\b",
    "": r"(?:is|are|was|and|or|nor|but|as|because|since|would|will|must|should|has|seems|looks|"
    r"being|not|und|oder|ist|et|ou|est|y|o|es|è)\b",
}
_NAMES = re.compile(  # vitamin C is no choice
    r"\b(?:vitamin|plan|hepatitis|type|class|group|grade|figure|table|section|appendix|category|"
    r"part|team|level|model|phase|point|angle|series|exhibit) \Z",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|rather than|instead of|except|unlike|rul(?:es?|ed|ing) out|"
    r"eliminat\w+|exclud\w+|reject\w*|discard\w*|nicht|weder|noch|kein\w*|pas|ni|не)|n't|不是)\W+"
    r"(?:(?:option|choice|answer|letter|the|either)\W+){0,2}\Z",
    re.IGNORECASE,
)
_VERBS = (
    r"(?:(?:is|are|was|were|be|would|could|can|must|does|do|did|has|seems?|looks?|ist|sind|est|es|è|"
    r"to|also|both|all|clearly|simply|just|therefore|thus)\W+)"
)
_DENIED_AFTER = re.compile(  # A is wrong; not "A) Wrong", which is an option
    rf"[)\]\"'”’:]*(?:\?\s*(?:no|not|nope|nein|non)\b|\s+(?:\([^)]*\)\s+)?(?:{_VERBS}{{0,4}}"
    rf"(?:\w+n['’]t\b|cannot|fails)|{_VERBS}{{1,4}}(?:not|out|too|nicht|pas|wrong|incorrect|false|"
    r"impossible|invalid|ruled|eliminated|excluded|implausible|unlikely|falsch|faux|falso|неверн\w*|"
    r"a distractor)\b))",
    re.IGNORECASE,
)
_TIE = re.compile(
    r"[)\]\"'”’]*\s*(?P<by>[,/&+]?\s*(?:(?:and/or|and|or|nor|und|oder|noch|et|ou|ni|y|o|или|и|или|和)"
    r"(?!\w)|&|\+)|[,/]?)\s*"
    r"(?:(?:maybe|perhaps|possibly|even|also|both|either|option|choice)\s+)*[(\[\"'“‘]*",
    re.IGNORECASE,
)
_SO = re.compile(
    r"\b(?:so|therefore|thus|hence|but|leaving|leaves?|conclude|conclusion|must be|choose|chose|"
    r"pick|select|go with|correct|best|right|daher|donc|por lo tanto|поэтому)\b|→|⇒|=>|因此|所以",
    re.IGNORECASE,
)
_END = re.compile(
    r"[)\]\"'”’]*\s*(?:\Z|[.,;!。]|because|since|"
    r"(?:is|as|would be) (?:the |my )?(?:correct|right|best|answer|true))",
    re.IGNORECASE,
)


class Choices(Options):
    """Options of `multiple_choice`: the letters that may be answered."""

    choices: str = Field(default="ABCDEFGHIJ", pattern=r"^[A-Z]{2,26}$")


@dataclass(frozen=True)
class Mention:
    """A letter in a text, from `start` to `end`. `strong`: it can be nothing but a choice."""

    letter: str
    start: int
    end: int
    strong: bool


@dataclass(frozen=True)
class Undecided:
    """The letters that are named where one should be chosen."""

    letters: tuple[str, ...]


Choice = str | Undecided | None
"""The letter that is chosen; several that are named; None where there is none."""


def letter_chosen(text: str, letters: str, option: tuple[str, str] | None = None) -> Choice:
    """The letter that `text` chooses.

    `option` is a letter with its text, ("B", "Paris"): to state the text is to choose the letter.
    """
    text = unicodedata.normalize("NFKC", text)
    for said in map(_bare, islice(statements(text, _LONE), _TRIED)):
        if option and _same(said, option[1]):
            return option[0]
        found = next((c for s in _SENTENCES.split(said) if (c := _picked(s, letters))), None)
        if found is not None:
            return found
    said_lines = [_bare(line) for line in lines(text)]
    if option and any(_same(line, option[1]) for line in said_lines[-1:]):
        return option[0]
    return _unstated(said_lines, letters)


def _bare(text: str) -> str:
    """A line without markup, and with Latin letters for lone ones that look like them."""
    text = " ".join(_MARKUP.sub(r"\1", text[:STATEMENT]).split())
    if len(re.findall(r"\w", text)) == 1:
        return text.translate(LOOKALIKES)
    text = _FOREIGN.sub(lambda m: m[0].translate(LOOKALIKES), text)
    return re.sub(r"^A: ?(?=\W*[A-Z]\W*$)", "", text)  # as in Q: ... A: C


def _same(text: str, option: str) -> bool:
    one, other = (re.sub(r"\W+", " ", folded(t)).strip() for t in (text, option))
    return bool(one) and one == other


def _unstated(said: list[str], letters: str) -> Choice:
    """The letter that lines choose without saying so: alone, at their start, or in conclusion."""
    alone = re.compile(rf"[\W_]*(?:option |choice )?(?P<letter>[{letters}])[^\w+#]*", re.I)
    ends = {m["letter"].upper() for line in said[:1] + said[-1:] if (m := alone.fullmatch(line))}
    if len(ends) == 1:
        return ends.pop()
    labels = {line: m["letter"].upper() for line in said if (m := _label(letters).match(line))}
    if len({*labels.values()}) > 1:  # the options themselves
        said = [line for line in said if line not in labels]
    elif said and said[0] in labels and isinstance(begun := _picked(said[0], letters), str):
        return begun
    sentences = [s for line in said for s in _SENTENCES.split(line)][-_TRIED:]
    named = [(s, found) for s in sentences if (found := _mentions(s, letters))]
    every = [m for _, found in named for m in found]
    for some in ([m for m in every if m.strong], every):
        if len({m.letter for m in some}) == 1:
            return some[0].letter
    concluding = next((s for s, _ in reversed(named) if _SO.search(s)), None)
    return _picked(concluding, letters) if concluding else _several(every)


def _several(found: Sequence[Mention]) -> Choice:
    return Undecided(tuple(sorted({m.letter for m in found}))) if found else None


def _picked(sentence: str, letters: str) -> Choice:
    """The letter that a sentence chooses among those that it names and does not deny."""
    found = _mentions(sentence, letters)
    if len({m.letter for m in found}) < 2:
        return found[0].letter if found else None
    (first, second), (before, last) = found[:2], found[-2:]
    concludes = _SO.search(sentence[before.end : last.start]) and _END.match(sentence, last.end)
    if concludes and before.letter != last.letter:
        return last.letter
    begins = not re.search(r"\w", sentence[: first.start])
    tie = _TIE.fullmatch(sentence, first.end, second.start)
    label = re.search(r"[)\].:]|\w\w", sentence[first.start : second.start])  # A) B is ...
    tied = tie and (tie["by"].strip() or not label)
    if begins and not tied:
        return first.letter
    return _several(found)


def _mentions(text: str, letters: str) -> list[Mention]:
    """The letters that stand for a choice in `text` and are not denied there."""
    found = [m for m in map(_mention, _letter(letters).finditer(text)) if m is not None]
    denied = [bool(_DENIED_BEFORE.search(text, max(0, m.start - _NEAR), m.start)) for m in found]
    ties = _ties(text, found)
    for i, tied in enumerate(ties):  # neither A nor B
        denied[i + 1] |= tied and denied[i]
    after = [_DENIED_AFTER.match(text, m.end) for m in found]
    denied = [no or bool(m) for no, m in zip(denied, after, strict=True)]
    many = [bool(m and re.search(r"\b(?:are|were|both|all|sind)\b", m[0])) for m in after]
    for i in range(len(ties) - 1, -1, -1):  # A and B are wrong
        many[i] |= ties[i] and many[i + 1]
    return [m for m, no, also in zip(found, denied, many, strict=True) if not (no or also)]


def _ties(text: str, found: Sequence[Mention]) -> list[bool]:
    """Whether each letter is tied to the next by a word such as `or`, if only by the last one."""
    ties = [False]
    for one, other in reversed([*pairwise(found)]):
        tie = _TIE.fullmatch(text, one.end, other.start)
        ties.append(tie is not None and (ties[-1] or bool(tie["by"].strip(" ,/"))))
    return ties[:0:-1]


@cache
def _label(letters: str) -> re.Pattern[str]:
    """A letter that a line begins with, as (B), B. or B: do."""
    return re.compile(
        rf"[\W_]{{0,9}}(?:option |choice )?(?<!\w)(?P<letter>[{letters}])[)\].:]+(?=\s)",
        re.IGNORECASE,
    )


@cache
def _letter(letters: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?P<before>\b(?:option|choice|letter|answer|antwort|réponse|opción|opção|вариант)\W{{1,3}})?"
        rf"(?P<open>(?<!\w)[(\[{{\"“'‘])?(?<!{_INSIDE}|['’.°|-])(?<!\w[(\[])(?P<letter>[{letters}{letters.lower()}])"
        rf"(?!{_INSIDE}|['’+#|]|\.\w|-\w)(?P<close>[)\]}}\"”'’])?",
        re.IGNORECASE,
    )


def _mention(found: re.Match[str]) -> Mention | None:
    """The letter that was found, if it is not a word or a part of a name."""
    letter, text = found["letter"], found.string
    start, end = found.span("letter")
    word = letter.upper() in _WORDS and _followed(letter, text[end:])
    strong = bool((found["open"] and found["close"]) or (found["before"] and not word))
    begins, ends = (not re.search(r"\w", part) for part in (text[:start], text[end:]))
    if not strong and not (begins and ends):
        inside = text.count("(", 0, start) > text.count(")", 0, start)
        listed = text[end : end + 1] == ")" and not inside  # b) and c), not (see a)
        small = letter.islower() and not (begins or listed)
        if word or small or _NAMES.search(text, max(0, start - _NEAR), start):
            return None
    return Mention(letter.upper(), found.start(), found.end(), strong)


def _followed(letter: str, rest: str) -> bool:
    """Whether what follows makes a word of a letter that can be one."""
    if letter.islower():
        return not re.match(r"[)\].:,;]+(?:\s|\Z)|\W*\Z", rest)
    return bool(re.match(rf"\s+(?!{_CHOOSABLE.get(letter, _CHOOSABLE[''])})\w", rest))


def _right_choice(answer: str, options: Choices) -> str:
    found = letter_chosen(answer, options.choices)
    if isinstance(found, str):
        return found
    raise ExampleError(f"The right answer {quoted(answer, 80)} names no choice.", FIX)


def _multiple_choice(output: str, answer: str, options: Choices) -> Value:
    expected = _right_choice(answer, options)
    labelled = re.match(rf"\W*{expected}[)\].:\s-]+(.*\w.*)", answer, re.DOTALL)
    option = (expected, labelled[1].strip()) if labelled else None
    found = letter_chosen(output, options.choices, option)
    if found == expected:
        return CORRECT
    said = f"Expected choice {expected}" + (f" ({quoted(option[1], 80)})" if option else "")
    if isinstance(found, str):
        return wrong(f"{said} but the output chose {found}: {quoted(output)}.")
    several = "" if found is None else f" (it names {' and '.join(found.letters)})"
    return wrong(
        f"{said} but the output names no single choice{several}: {quoted(output)}. "
        f"It should end like 'Answer: {expected}'."
    )


def choice_in(output: str, options: Choices) -> str | None:
    """The letter that `output` answers with, if it is clear."""
    found = letter_chosen(output, options.choices)
    return found if isinstance(found, str) else None


MULTIPLE_CHOICE = Metric(
    "multiple_choice", "1 if the output chooses the right letter", Choices, _multiple_choice,
    check_answer=_right_choice,
)  # fmt: skip
