"""The constraints of the form `key=value`, which code checks: one table of them by key."""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from ...schemas.distance import share_changed
from ...schemas.errors import BadInput
from ...schemas.near import nearest
from ..extensions.table import Table
from ..prompts import sentence
from ..prompts.length import CHARS_PER_TOKEN, tokens
from ..prompts.template import placeholders

NO_COPY, MAY_COPY, ANY_COPY = EXAMPLES = ("no_copy", "may_copy", "any_copy")
_Fault = Callable[[str, str], str | None]


@dataclass(frozen=True)
class Rule:
    """One constraint that code checks: `words` say it; `fault(old, new)` says what breaks it."""

    words: str
    fault: _Fault


@dataclass(frozen=True)
class Constraint:
    """A constraint of the form `key=value`: `usage` says how it is written and what it asks for.

    `make(value)` gives the rule for what stands behind the `=`, or raises BadInput. A rule that
    `cuts` sets how long a text may be.
    """

    key: str
    usage: str
    make: Callable[[str], Rule]
    cuts: bool = False


def _over(key: str, limit: int, over: int) -> str | None:
    if over <= 0:
        return None
    counts = {"count": str(limit + over), "over": str(over), "limit": str(limit)}
    return sentence("rules", key, **counts)


def _max_chars(text: str) -> Rule:
    limit = whole("max_chars", text)

    def fault(old: str, new: str) -> str | None:
        over = len(new) - limit
        return _over("max_chars_broken", limit, over)

    return Rule(sentence("rules", "max_chars", limit=str(limit)), fault)


def _max_words(text: str) -> Rule:
    limit = whole("max_words", text)

    def fault(old: str, new: str) -> str | None:
        over = len(new.split()) - limit
        return _over("max_words_broken", limit, over)

    return Rule(sentence("rules", "max_words", limit=str(limit)), fault)


def _max_tokens(text: str) -> Rule:
    limit = whole("max_tokens", text)

    def fault(old: str, new: str) -> str | None:
        if tokens(new) <= limit:
            return None
        most = {"limit": str(limit), "most": str(limit * CHARS_PER_TOKEN)}
        return sentence("rules", "max_tokens_broken", count=str(tokens(new)), **most)

    return Rule(sentence("rules", "max_tokens", limit=str(limit)), fault)


def _contains(text: str) -> Rule:
    def fault(old: str, new: str) -> str | None:
        return None if text in new else sentence("rules", "contains_broken", text=text)

    return Rule(sentence("rules", "contains", text=text), fault)


def _keep(text: str) -> Rule:
    def fault(old: str, new: str) -> str | None:
        return None if text in new else sentence("rules", "keep_broken", text=text)

    return Rule(sentence("rules", "keep", text=text), fault)


def _max_change(text: str) -> Rule:
    limit = _share("max_change", text)

    def fault(old: str, new: str) -> str | None:
        changed = share_changed(old.split(), new.split())
        if changed <= limit:
            return None
        shares = {"changed": f"{changed:.0%}", "limit": f"{limit:.0%}"}
        return sentence("rules", "max_change_broken", **shares)

    return Rule(sentence("rules", "max_change", limit=f"{limit:.0%}"), fault)


def _parses(text: str) -> Rule:
    name = text.lower()
    if name not in _PARSERS:
        near = nearest(name, _PARSERS, cutoff=0.4)
        hint = f" Did you mean parses={near}?" if near else ""
        raise BadInput(f"Cannot check parses={short(text)}.{hint}", _write("parses"))
    title, parser = _PARSERS[name]

    def fault(old: str, new: str) -> str | None:
        try:
            parser(new)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            said = sentence("rules", "parses_broken", kind=title, error=str(error))
            fenced = new.lstrip().startswith("```")
            return f"{said} {sentence('rules', 'parses_fence')}" if fenced else said
        return None

    return Rule(sentence("rules", "parses", kind=title), fault)


def _placeholders(text: str) -> Rule:
    if text.lower() != "keep":
        raise BadInput(f"Cannot check placeholders={short(text)}.", "Write placeholders=keep.")

    def fault(old: str, new: str) -> str | None:
        left = set(placeholders(new))
        lost = [f"{{{name}}}" for name in placeholders(old) if name not in left]
        return sentence("rules", "placeholders_broken", lost=", ".join(lost)) if lost else None

    return Rule(sentence("rules", "placeholders"), fault)


def _examples(text: str) -> Rule:
    if text.lower() not in EXAMPLES:
        raise BadInput(f"Cannot check examples={short(text)}.", _write("examples"))
    if text.lower() == NO_COPY:
        return Rule(sentence("rules", "examples_no_copy"), lambda old, new: None)
    return Rule(sentence("rules", "examples"), lambda old, new: None)


def _request(text: str) -> Rule:
    if text.lower() != "may_quote":
        raise BadInput(f"Cannot check request={short(text)}.", _write("request"))
    return Rule(sentence("rules", "request"), lambda old, new: None)


def _demonstrations(text: str) -> Rule:
    shots = whole("demonstrations", text)
    return Rule(sentence("rules", "demonstrations", shots=str(shots)), lambda old, new: None)


def _python(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in a string is the author's business
        ast.parse(text)


_PARSERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "json": ("JSON", json.loads),
    "python": ("Python", _python),
}


def whole(key: str, text: str) -> int:
    """The whole number above 0 that `text` is. Raises BadInput, which names the `key`."""
    digits = text.replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdigit() and 0 < len(digits) <= 9 and int(digits)):
        raise BadInput(f"{key}={short(text)} is not a whole number above 0.", _write(key))
    return int(digits)


def _share(key: str, text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise BadInput(f"{key}={short(text)} is not a share between 0 and 1.", _write(key))
    return share


def _write(key: str) -> str:
    return f"Write {RULES[key].usage}."


def short(text: str) -> str:
    """`text`, cut to 80 characters."""
    return text if len(text) <= 80 else text[:79] + "…"


RULES: Table[Constraint] = Table(
    "constraint",
    "constraints",
    {
        one.key: one
        for one in (
            Constraint(
                "max_chars",
                "max_chars=500: at most so many characters",
                _max_chars,
                cuts=True,
            ),
            Constraint(
                "max_words",
                "max_words=60: at most so many words",
                _max_words,
                cuts=True,
            ),
            Constraint(
                "max_tokens",
                "max_tokens=120: at most so many tokens (characters / 4, rounded up)",
                _max_tokens,
                cuts=True,
            ),
            Constraint(
                "contains",
                "contains=TEXT: this text must stand in it",
                _contains,
            ),
            Constraint(
                "keep",
                "keep=TEXT: this part of the current text must stay as it is",
                _keep,
            ),
            Constraint(
                "max_change",
                "max_change=0.3: at most this share of the words may change in one step",
                _max_change,
            ),
            Constraint(
                "parses",
                "parses=json or parses=python: it must parse (nothing is run)",
                _parses,
            ),
            Constraint(
                "placeholders",
                "placeholders=keep: every {name} of the current text stays",
                _placeholders,
            ),
            Constraint(
                "demonstrations",
                "demonstrations=4: at most so many examples (set by create_variable)",
                _demonstrations,
            ),
            Constraint(
                "examples",
                "examples=no_copy: training examples may not be quoted in it (may_copy: they may, "
                "as without it; any_copy: those of the other splits, too)",
                _examples,
            ),
            Constraint(
                "request",
                "request=may_quote: words of the request for a rewrite may stand in it",
                _request,
            ),
        )
    },
    Constraint,
    {"make": (Rule,)},
)
"""What code checks, by the word before the `=`."""
