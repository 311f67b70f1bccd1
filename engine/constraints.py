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
from dataclasses import dataclass

from ..schemas.errors import BadInput
from ..schemas.near import nearest
from .distance import share_changed
from .templates import placeholders

CHARS_PER_TOKEN = 4
"""The estimate behind `max_tokens`: characters divided by this, rounded up."""
RULES = {
    "max_chars": "max_chars=500: at most so many characters",
    "max_words": "max_words=60: at most so many words",
    "max_tokens": "max_tokens=120: at most so many tokens (characters / 4, rounded up)",
    "contains": "contains=TEXT: this text must stand in it",
    "keep": "keep=TEXT: this part of the current text must stay as it is",
    "max_change": "max_change=0.3: at most this share of the words may change in one step",
    "parses": "parses=json or parses=python: it must parse (nothing is run)",
    "placeholders": "placeholders=keep: every {name} of the current text stays",
    "demonstrations": "demonstrations=4: at most so many examples (set by create_variable)",
    "examples": "examples=no_copy: training examples may not be quoted in it (may_copy: they may, "
    "as without it; any_copy: those of the other splits, too)",
    "request": "request=may_quote: words of the request for a rewrite may stand in it",
}
NO_COPY, MAY_COPY, ANY_COPY = EXAMPLES = ("no_copy", "may_copy", "any_copy")
_KEYED = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)", re.DOTALL)
_Fault = Callable[[str, str], str | None]


@dataclass(frozen=True)
class Rule:
    """One constraint that code checks: `words` say it; `fault(old, new)` says what breaks it."""

    words: str
    fault: _Fault


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
        rule = _MAKERS[key](text) if key in _CUTTING else None
        too_long = [t for t in needed if rule and rule.fault("", t)]
        if too_long:
            raise BadInput(
                f"{key}={text} leaves no room for {_short(too_long[0])}, which must stand in it.",
                "Allow more, or ask for less.",
            )
        if key == "max_change" and _MAKERS[key](text).fault(value, f"{value} x"):
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


def tokens(text: str) -> int:
    """An estimate of how many tokens `text` has: characters / 4, rounded up."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def _rule(key: str, text: str, value: str | None) -> Rule:
    if key not in _MAKERS:
        near = nearest(key, RULES)
        hint = f" Did you mean {near}?" if near else ""
        raise BadInput(
            f"There is no constraint {key!r}.{hint}",
            f"Constraints with '=': {', '.join(RULES)}. In plain words, leave the '=' out.",
        )
    if not text:
        raise BadInput(f"The constraint {key} needs a value.", f"Write {RULES[key]}.")
    if key == "keep" and value is not None and text not in value:
        raise BadInput(
            f"keep={_short(text)} is not in the variable's text.",
            "Copy the part to keep from the text character by character.",
        )
    return _MAKERS[key](text)


def _max_chars(text: str) -> Rule:
    limit = _whole("max_chars", text)

    def fault(old: str, new: str) -> str | None:
        over = len(new) - limit
        return f"It has {len(new)} characters: cut {over} to get to {limit}." if over > 0 else None

    return Rule(f"It must have at most {limit} characters.", fault)


def _max_words(text: str) -> Rule:
    limit = _whole("max_words", text)

    def fault(old: str, new: str) -> str | None:
        over = len(new.split()) - limit
        return f"It has {limit + over} words: cut {over} to get to {limit}." if over > 0 else None

    return Rule(f"It must have at most {limit} words.", fault)


def _max_tokens(text: str) -> Rule:
    limit = _whole("max_tokens", text)

    def fault(old: str, new: str) -> str | None:
        if tokens(new) <= limit:
            return None
        most = limit * CHARS_PER_TOKEN
        return f"It has about {tokens(new)} tokens: cut it to {limit} (about {most} characters)."

    return Rule(f"It must have at most about {limit} tokens.", fault)


def _contains(text: str) -> Rule:
    def fault(old: str, new: str) -> str | None:
        return None if text in new else f"It must contain this text: {text}"

    return Rule(f"It must contain this text, character by character: {text}", fault)


def _keep(text: str) -> Rule:
    def fault(old: str, new: str) -> str | None:
        return None if text in new else f"This part must stay as it was; put it back: {text}"

    return Rule(f"This part must stay as it is, character by character: {text}", fault)


def _max_change(text: str) -> Rule:
    limit = _share("max_change", text)

    def fault(old: str, new: str) -> str | None:
        changed = share_changed(old.split(), new.split())
        if changed <= limit:
            return None
        return f"{changed:.0%} of its words changed and at most {limit:.0%} may: edit less."

    return Rule(f"At most {limit:.0%} of its words may change.", fault)


def _parses(text: str) -> Rule:
    name = text.lower()
    if name not in _PARSERS:
        near = nearest(name, _PARSERS, cutoff=0.4)
        hint = f" Did you mean parses={near}?" if near else ""
        raise BadInput(f"Cannot check parses={_short(text)}.{hint}", f"Write {RULES['parses']}.")
    title, parser = _PARSERS[name]

    def fault(old: str, new: str) -> str | None:
        try:
            parser(new)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            fence = " Leave out the code fence." if new.lstrip().startswith("```") else ""
            return f"It is not valid {title}: {error}.{fence}"
        return None

    return Rule(f"It must be valid {title}, without a code fence around it.", fault)


def _placeholders(text: str) -> Rule:
    if text.lower() != "keep":
        raise BadInput(f"Cannot check placeholders={_short(text)}.", "Write placeholders=keep.")

    def fault(old: str, new: str) -> str | None:
        left = set(placeholders(new))
        lost = [f"{{{name}}}" for name in placeholders(old) if name not in left]
        return f"Put back the placeholders {', '.join(lost)}, braces included." if lost else None

    return Rule("Every {placeholder} of the current text must stay in it, braces included.", fault)


def _examples(text: str) -> Rule:
    if text.lower() not in EXAMPLES:
        raise BadInput(f"Cannot check examples={_short(text)}.", _write("examples"))
    if text.lower() == NO_COPY:
        return Rule("No example may be quoted in it; made-up ones may.", lambda old, new: None)
    return Rule("Texts of examples may be quoted in it.", lambda old, new: None)


def _request(text: str) -> Rule:
    if text.lower() != "may_quote":
        raise BadInput(f"Cannot check request={_short(text)}.", _write("request"))
    return Rule("Words of this request may stand in it.", lambda old, new: None)


def _demonstrations(text: str) -> Rule:
    shots = _whole("demonstrations", text)
    return Rule(f"It holds at most {shots} worked examples.", lambda old, new: None)


_MAKERS: dict[str, Callable[[str], Rule]] = {
    "max_chars": _max_chars,
    "max_words": _max_words,
    "max_tokens": _max_tokens,
    "contains": _contains,
    "keep": _keep,
    "max_change": _max_change,
    "parses": _parses,
    "placeholders": _placeholders,
    "demonstrations": _demonstrations,
    "examples": _examples,
    "request": _request,
}


def _python(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in a string is the author's business
        ast.parse(text)


_CUTTING = ("max_chars", "max_words", "max_tokens")

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
    return f"Write {RULES[key]}."


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
