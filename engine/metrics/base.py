"""What every metric is made of: its entry in the table, its options, and words for feedback.

Texts are compared as they look: `plain` takes away what nobody sees.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ...schemas.errors import BadInput
from ...schemas.graph import Value
from ...schemas.near import nearest

CORRECT = Value(text="Correct.", score=1.0)
FIX = "Give the example a right answer that can be read, or use another metric."
SHOWN = 200
"""How many characters of an output feedback shows."""
EXPECTED = 2000
"""How many characters of a right answer feedback shows: a critic can only ask for what it knows."""
_PAIRS = (
    "АA ВB ЕE ЅS ІI ЈJ КK МM НH ОO РP СC ТT УY ХX аa еe ѕs іi јj кk оo рp сc уy хx "
    "ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX οo "
    "‘' ’' ‚' ‛' “\" ”\" „\" ‟\" ‐- ‒- –- —- ―- −-"
)
LOOKALIKES = {ord(pair[0]): pair[1] for pair in _PAIRS.split()}
"""Characters of other scripts, quotation marks and dashes, by number, and what they look like."""
_BEFORE, _AFTER = 40, 60  # characters shown around a difference
_VISIBLE = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
_BLANKS = frozenset(  # fillers, a joiner, and variation selectors
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
    + "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
)


class Options(BaseModel):
    """The base of a metric's options: a field for each, with its type and default. Options that
    have no field are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def names(cls) -> list[str]:
        """The options' names as a caller writes them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def read(cls, metric: str, options: Mapping[str, Any]) -> Self:
        """The options of `metric`, checked. Raises BadInput."""
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise cls._refusal(metric, error) from error

    @classmethod
    def _refusal(cls, metric: str, error: ValidationError) -> BadInput:
        first = error.errors(include_url=False)[0]
        name, names = str(first["loc"][0]) if first["loc"] else "", cls.names()
        known = f"Options of {metric}: {', '.join(names) or 'none'}."
        if first["type"] == "extra_forbidden":
            near = nearest(name, names)
            hint = f" Did you mean {near}?" if near else ""
            return BadInput(f"The metric {metric} has no option {name!r}.{hint}", known)
        if first["type"] == "missing":
            return BadInput(f"The metric {metric} needs the option {name!r}.", known)
        return BadInput(f"The option {name!r} of {metric}: {first['msg']}.", known)


O = TypeVar("O", bound=Options)  # noqa: E741 - an option set


@dataclass(frozen=True)
class Metric(Generic[O]):
    """One metric. `judge(output, answer, options)` scores; the answer is "" where none is needed.

    `check` raises BadInput for options that are well-formed but cannot work, `check_answer`
    ExampleError for a right answer that cannot be read; so does `judge`. Texts come `plain`, unless
    the metric takes them `verbatim`. `reads` is what it takes an output for (a number, a choice),
    by which outputs count as the same. `endless` says what to change where it can take for ever on
    a few characters, by its options.
    """

    name: str
    summary: str
    options: type[O]
    judge: Callable[[str, str, O], Value]
    needs_answer: bool = True
    verbatim: bool = False
    check: Callable[[O], None] = lambda options: None
    check_answer: Callable[[str, O], object] = lambda answer, options: None
    reads: Callable[[str, O], str | None] | None = None
    endless: str = ""


class _Seen(dict[int, str | None]):
    """What is left of each character, by its number."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        kind = unicodedata.category(char)
        shown: str | None = char
        if kind in ("Zs", "Zl", "Zp") or char == "\x85":
            shown = " "
        elif (
            char in _BLANKS
            or (kind == "Cf" and char not in _VISIBLE)
            or 0xFE00 <= code <= 0xFE0F
            or 0xE0100 <= code <= 0xE01EF
        ):
            shown = None
        self[code] = shown
        return shown


_SEEN = _Seen()


def plain(text: str) -> str:
    """`text` as it looks: composed (NFC), with \\n and one kind of space, nothing invisible.

    Visible differences stay: full-width letters, ligatures, kinds of quotation marks and dashes.
    """
    if text.isascii() and "\r" not in text:
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_SEEN)
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """`text` in small letters, for comparing without regard to case."""
    return unicodedata.normalize("NFC", text.casefold())


def skeleton(text: str) -> str:
    """What `text` looks like: with Latin letters for those of other scripts that look the same, and
    plain quotes and dashes. Texts that look alike have the same."""
    return unicodedata.normalize("NFKC", text).translate(LOOKALIKES)


def look_alike(wanted: str, text: str) -> str | None:
    """The part of `text` that looks like `wanted` without being it, None if there is none."""
    if wanted in text or (wanted.isascii() and text.isascii()):
        return None
    parts = [skeleton(c) for c in text]
    at = "".join(parts).find(skeleton(wanted))
    if at < 0:
        return None
    places = [i for i, part in enumerate(parts) for _ in part]
    return text[places[at] : places[at + len(skeleton(wanted)) - 1] + 1]


def wrong(feedback: str, score: float = 0.0) -> Value:
    """What a metric gives for an output that is not right: feedback, and a score below 1."""
    return Value(text=feedback, score=score)


def quoted(text: str, length: int = SHOWN) -> str:
    """`text` in quotes, cut in the middle when long, so that both ends show."""
    if len(text) > length:
        head, tail = text[: length * 2 // 3], text[-(length // 3) :]
        return f"'{head}' … '{tail}' ({len(text):,} characters)"
    return f"'{text}'"


def difference(expected: str, output: str) -> str:
    """Where the texts first differ, in words. They must not be equal."""
    shared = range(min(len(expected), len(output)))
    at = next((i for i in shared if expected[i] != output[i]), len(shared))
    after = f", after {quoted(expected[at - _BEFORE : at])}" if at > _BEFORE else ""
    if at == len(output):
        return f"it stops too early{after}, before {_from(expected, at)}"
    if at == len(expected):
        return f"it goes on after the expected text with {_from(output, at)}"
    here, there = _from(output, at), _from(expected, at)
    codes = _codes(output[at], expected[at])
    return f"it differs first at character {at + 1}{after}: {here} instead of {there}{codes}"


def _from(text: str, at: int) -> str:
    return quoted(text[at : at + _AFTER]) + ("…" if len(text) > at + _AFTER else "")


def _codes(here: str, there: str) -> str:
    """The characters by number and name, where the eye might not tell them apart."""
    told = [f"U+{ord(c):04X} {unicodedata.name(c, '')}".rstrip() for c in (here, there)]
    scripts = {unicodedata.name(c, "").partition(" ")[0] for c in (here, there)}
    clear = all(c.isascii() and c.isprintable() and c != " " for c in (here, there))
    if clear or (len(scripts) == 1 and not (here.isascii() or there.isascii())):
        return ""
    return f" ({told[0]} instead of {told[1]})"
