"""Constraints on a parameter: what its rewrites must respect.

A constraint is a line of text. Those of the form `key=value` are checked by code (`rules` has
them); any other line is for the model that writes and judges the rewrites.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import NoneType

from ...schemas.errors import BadInput
from ...schemas.near import nearest
from .rules import EXAMPLES, MAY_COPY, RULES, Rule, short, whole

_KEYED = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)", re.DOTALL)


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
                f"{key}={text} leaves no room for {short(too_long[0])}, which must stand in it.",
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
    return whole("demonstrations", said[0]) if said else 0


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
            f"keep={short(text)} is not in the variable's text.",
            "Copy the part to keep from the text character by character.",
        )
    return _made(key, text)


def _made(key: str, text: str) -> Rule:
    rule = RULES[key].make(text)
    return replace(rule, fault=RULES.guard(key, rule.fault, {"": (str, NoneType)}))


def checked_quickly(lines: Iterable[str]) -> bool:
    """Whether all keyed constraints in `lines` are built in: only of those it is known that they
    take no time, so that no worker process is needed."""
    keyed = [m[1].lower() for m in map(_KEYED.fullmatch, lines) if m]
    return all(key in RULES.own or key not in RULES for key in keyed)
