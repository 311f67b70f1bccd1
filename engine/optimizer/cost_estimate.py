"""What one gated step costs at least. A budget that cannot pay for it is refused beforehand.

Calls can be counted before they are made. Of tokens and money only the prompts can, so what is
refused for those could never do. Time cannot be told beforehand and is never refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ...schemas.errors import BadInput
from ...schemas.graph import NO_EXAMPLE, Example, Kind, Operation
from ...schemas.settings import RoleSettings, Settings
from ..program.forward import IMAGE_URL
from ..program.lineups import calls_of
from ..program.operations import kind_of
from ..prompts.length import CHARS_PER_TOKEN
from ..runs.ledger import USUAL_REPLY
from ..store import Program
from .strategies import STRATEGIES

_SHORT_REPLY = 64
"""Tokens that a reply is taken to have when a sensible budget is named."""
_WORDS = 400
"""Tokens of our own words in a request for feedback or a rewrite, about."""
_MANY = 3
"""A sensible budget pays for so many first steps; one proposal is rarely enough."""
_UNITS = {"calls": "calls", "tokens": "tokens", "cost": "dollars"}


@dataclass(frozen=True)
class CostEstimate:
    """What one gated step takes at least: model calls, tokens, and dollars (`cost`).

    `more_tokens` and `more_cost` are what replies, critique and rewriting are likely to add to the
    prompts, which alone can be counted beforehand.
    """

    calls: int
    tokens: int = 0
    cost: float = 0.0
    more_tokens: int = 0
    more_cost: float = 0.0

    def sensible(self, key: str) -> float:
        """A budget of `key` (calls, tokens or cost) that pays for several steps."""
        if key == "cost":
            return math.ceil(_MANY * (self.cost + self.more_cost) * 1000) / 1000
        return _MANY * (self.calls if key == "calls" else self.tokens + self.more_tokens)


def asking(program: Program) -> int:
    """How many calls one example takes in the program, with all its models, whoever answers."""
    return len(calls_of(program))


def estimate(
    program: Program,
    rows: Sequence[Example],
    args: Mapping[str, Any],
    examples: Sequence[int],
    train: int,
    settings: Settings,
) -> CostEstimate:
    """What scoring the start, one proposal and its check take, for `optimize` with these `args`.

    `rows` are some of the `examples` where candidates are compared; `train` is how many
    training examples there are.
    """
    asking = calls_of(program)
    batch = 1 if list(examples) == [NO_EXAMPLE] else min(args["batch_size"], train or 1)
    check = min(args.get("check", batch), batch)
    strategy = STRATEGIES.find(args["strategy"])
    critics = _critics(asking)
    critics *= strategy.critiques(batch)
    runs = args.get("repeats", 1)
    checks = batch + (2 * runs - 1) * check  # the text before was run once to learn from it
    times = 2 * runs * len(examples) + (0 if list(examples) == [NO_EXAMPLE] else checks)
    sizes = [(_prompt(program, o, rows), _role(settings, o, n)) for o, n in asking]
    writing = critics + (1 if strategy.reflects else args["candidates"])
    critique = _WORDS + batch * sum(size for size, _ in sizes) + USUAL_REPLY
    back = settings.backward
    dear = (back.price_prompt or 0) + (back.price_completion or 0)
    short = [role.price_completion or 0 for _, role in sizes]
    return CostEstimate(
        calls=len(asking) * times + critics + 1,
        tokens=sum(size for size, _ in sizes) * times + USUAL_REPLY,
        cost=sum(size * (role.price_prompt or 0) for size, role in sizes) * times / 1e6,
        more_tokens=len(asking) * times * _SHORT_REPLY + writing * critique,
        more_cost=(sum(short) * times * _SHORT_REPLY + writing * critique * dear) / 1e6,
    )


def step_calls(
    program: Program, args: Mapping[str, Any], examples: int, train: int
) -> tuple[int, int]:
    """Calls that one step takes at most, with `examples` to compare on (0: without examples), and
    those of a minibatch on which nothing is wrong, which is passed over and is no step.

    A step: its minibatch with the present texts and with each candidate, feedback, the rewrites,
    and each candidate on all examples; those scored before are not asked again.
    """
    asking = calls_of(program)
    critics = _critics(asking)
    batch = min(int(args["batch_size"]), train) if examples else 0
    candidates = int(args["candidates"])
    measured = len(asking) * (batch + candidates * (batch + (examples or 1)))
    return measured + critics + candidates, len(asking) * batch + critics


def check(budget: Mapping[str, float], found: CostEstimate, examples: int) -> None:
    """Raises BadInput for a budget that cannot pay for one gated step, with one that can."""
    for key, unit in _UNITS.items():
        least: float = getattr(found, key)
        if key in budget and budget[key] < least:
            raise BadInput(
                f"A budget of {budget[key]:g} {unit} cannot pay for one proposal and its check: "
                f"that takes about {least:.6g} {unit}{' at least' if key != 'calls' else ''} "
                f"({examples} validation examples, before and after).",
                f"Give budget={{'{key}': {found.sensible(key):g}}} or more, or fewer validation "
                "examples.",
            )


def _prompt(program: Program, operation: Operation, examples: Sequence[Example]) -> int:
    """Tokens of what is known of an operation's prompt: texts of leaves, template, instruction."""
    if kind_of(operation).asks == "caller":
        return 0  # whoever runs it pays for it
    said = [str(operation.spec.get(k, "")) for k in ("template", "instruction")]
    sources = [_size(program, v, examples) for v in operation.sources]
    return int(sum(map(len, said)) + sum(sources)) // CHARS_PER_TOKEN


def _size(program: Program, variable: str, examples: Sequence[Example]) -> float:
    """Characters of a leaf (the mean over the examples); pictures and outputs count nothing."""
    v = program.variables[variable]
    texts = [v.value or ""]
    if v.kind is Kind.FIELD:
        texts = [e.fields.get(v.field or "", "") for e in examples] or [""]
    return fmean(0 if t.startswith(IMAGE_URL) else len(t) for t in texts)


def _critics(asking: Sequence[tuple[Operation, int]]) -> int:
    """How many of the operations that ask have a critic, who is asked once for all line-ups."""
    return sum(kind_of(o).backwards == "ask" for o, lineup in asking if not lineup)


def _role(settings: Settings, operation: Operation, lineup: int) -> RoleSettings:
    if kind_of(operation).asks == "backward":
        return settings.backward
    return settings.answering.get(operation.model_in(lineup), settings.forward)
