"""Constraints on a parameter: what its rewrites must respect.

A constraint is a line of text. Those of the form `key=value` are checked by code (RULES lists
them); any other line is for the model that writes and judges the rewrites.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import NoneType

from ...schemas.distance import share_changed
from ...schemas.errors import BadInput
from ...schemas.near import nearest
from ..extensions.table import Table
from ..prompts import sentence
from ..prompts.length import CHARS_PER_TOKEN, tokens
from ..prompts.template import placeholders

NO_COPY, MAY_COPY, ANY_COPY = EXAMPLES = ("no_copy", "may_copy", "any_copy")
_KEYED = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)", re.DOTALL)
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


@dataclass(frozen=True)
class Constraints:
    """The constraints of one parameter: `rules` for code and `free` words for models."""

    rules: tuple[Rule, ...] = ()
    free: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """All of them as sentences, for a prompt."""
        return [*self.free, *(rule.words for rule in self.rules)]


def parse(lines: Iterable[str], value: str | None = None) -> Constraints:
    """The constraints that `lines` state, for a parameter whose current text is `value`.

    Raises BadInput for an unknown key, a value that its key cannot take, and a `keep` text that
    is not in `value` (unchecked where `value` is None). White space around key and value is
    dropped, and empty lines are.
    """
    rules, free = [], []
    for line in lines:
        keyed = _KEYED.fullmatch(line)
        if keyed is not None and _is_rule(keyed):
            rules.append(_rule(keyed[1].lower(), keyed[2].strip(), value))
        elif line.strip():
            free.append(line.strip())
    return Constraints(tuple(rules), tuple(free))


def _is_rule(keyed: re.Match[str]) -> bool:
    """Not words about an equation such as `x == 3`."""
    return keyed[1].lower() in RULES or not keyed[2].startswith("=")


def check_possible(lines: Iterable[str], value: str) -> None:
    """Raises BadInput like `parse`, and for rules that no rewrite of `value` could keep."""
    lines = list(lines)
    parse(lines, value)
    keyed = [(m[1].lower(), m[2].strip()) for m in map(_KEYED.fullmatch, lines) if m]
    needed = [text for key, text in keyed if key in ("contains", "keep")]
    for key, text in keyed:
        rule = _made(key, text) if key in RULES and RULES[key].cuts else None
        too_long = [t for t in needed if rule and rule.fault("", t)]
        if too_long:
            raise BadInput(
                f"{key}={text} leaves no room for {_short(too_long[0])}, which must stand in it.",
                "Allow more, or ask for less.",
            )
        if key == "max_change" and _made(key, text).fault(value, f"{value} x"):
            words = len(value.split())
            raise BadInput(
                f"max_change={text} lets no word of a text of {words} words change.",
                f"Write at least max_change={1 / (words + 1) + 0.005:.2f}.",
            )


def violations(constraints: Constraints, old: str, new: str) -> list[str]:
    """What to fix in `new`, a rewrite of `old`, one sentence per broken rule; empty if none is."""
    found = (rule.fault(old, new) for rule in constraints.rules)
    return [fault for fault in found if fault is not None]


def broken(lines: Iterable[str], old: str, new: str) -> list[str]:
    """`violations` of the constraints that `lines` state, for a worker. Raises BadInput."""
    return violations(parse(lines), old, new)


def examples_rule(lines: Iterable[str]) -> str:
    """Which examples these constraints let a rewrite quote: one of EXAMPLES, the strictest."""
    said = {value.lower() for value in _values(lines, "examples")}
    return next((rule for rule in EXAMPLES if rule in said), MAY_COPY)


def may_quote_request(lines: Iterable[str]) -> bool:
    """Whether these constraints let a rewrite hold words of the request for it."""
    return bool(_values(lines, "request"))


def _values(lines: Iterable[str], key: str) -> list[str]:
    keyed = [m for m in map(_KEYED.fullmatch, lines) if m and m[1].lower() == key]
    return [m[2].strip() for m in keyed]


def shots_of(lines: Iterable[str]) -> int:
    """How many worked examples a demonstrations variable may hold."""
    said = _values(lines, "demonstrations")
    return _whole("demonstrations", said[0]) if said else 0


def _rule(key: str, text: str, value: str | None) -> Rule:
    if key not in RULES:
        near = nearest(key, RULES)
        hint = f" Did you mean {near}?" if near else ""
        raise BadInput(
            f"There is no constraint {key!r}.{hint}",
            f"Constraints with '=': {', '.join(RULES)}. In plain words, leave the '=' out.",
        )
    if not text:
        raise BadInput(f"The constraint {key} needs a value.", f"Write {RULES[key].usage}.")
    if key == "keep" and value is not None and text not in value:
        raise BadInput(
            f"keep={_short(text)} is not in the variable's text.",
            "Copy the part to keep from the text character by character.",
        )
    return _made(key, text)


def _made(key: str, text: str) -> Rule:
    rule = RULES[key].make(text)
    return replace(rule, fault=RULES.guard(key, rule.fault, {"": (str, NoneType)}))


def checked_quickly(lines: Iterable[str]) -> bool:
    """Whether all rules in `lines` are ours: how long others take, nobody knows."""
    keyed = [m[1].lower() for m in map(_KEYED.fullmatch, lines) if m]
    return all(key in RULES.own or key not in RULES for key in keyed)


def _over(key: str, limit: int, over: int) -> str | None:
    if over <= 0:
        return None
    counts = {"count": str(limit + over), "over": str(over), "limit": str(limit)}
    return sentence("rules", key, **counts)


def _max_chars(text: str) -> Rule:
    limit = _whole("max_chars", text)

    def fault(old: str, new: str) -> str | None:
        over = len(new) - limit
        return _over("max_chars_broken", limit, over)

    return Rule(sentence("rules", "max_chars", limit=str(limit)), fault)


def _max_words(text: str) -> Rule:
    limit = _whole("max_words", text)

    def fault(old: str, new: str) -> str | None:
        over = len(new.split()) - limit
        return _over("max_words_broken", limit, over)

    return Rule(sentence("rules", "max_words", limit=str(limit)), fault)


def _max_tokens(text: str) -> Rule:
    limit = _whole("max_tokens", text)

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
        raise BadInput(f"Cannot check parses={_short(text)}.{hint}", _write("parses"))
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
        raise BadInput(f"Cannot check placeholders={_short(text)}.", "Write placeholders=keep.")

    def fault(old: str, new: str) -> str | None:
        left = set(placeholders(new))
        lost = [f"{{{name}}}" for name in placeholders(old) if name not in left]
        return sentence("rules", "placeholders_broken", lost=", ".join(lost)) if lost else None

    return Rule(sentence("rules", "placeholders"), fault)


def _examples(text: str) -> Rule:
    if text.lower() not in EXAMPLES:
        raise BadInput(f"Cannot check examples={_short(text)}.", _write("examples"))
    if text.lower() == NO_COPY:
        return Rule(sentence("rules", "examples_no_copy"), lambda old, new: None)
    return Rule(sentence("rules", "examples"), lambda old, new: None)


def _request(text: str) -> Rule:
    if text.lower() != "may_quote":
        raise BadInput(f"Cannot check request={_short(text)}.", _write("request"))
    return Rule(sentence("rules", "request"), lambda old, new: None)


def _demonstrations(text: str) -> Rule:
    shots = _whole("demonstrations", text)
    return Rule(sentence("rules", "demonstrations", shots=str(shots)), lambda old, new: None)


def _python(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in a string is the author's business
        ast.parse(text)


_PARSERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "json": ("JSON", json.loads),
    "python": ("Python", _python),
}


def _whole(key: str, text: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdigit() and 0 < len(digits) <= 9 and int(digits)):
        raise BadInput(f"{key}={_short(text)} is not a whole number above 0.", _write(key))
    return int(digits)


def _share(key: str, text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise BadInput(f"{key}={_short(text)} is not a share between 0 and 1.", _write(key))
    return share


def _write(key: str) -> str:
    return f"Write {RULES[key].usage}."


def _short(text: str) -> str:
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
