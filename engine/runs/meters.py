"""What this process has asked for since it began: counted for whoever watches it from outside."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ...schemas.completions import Completion, CompletionRequest, role_of
from ..answerers import PROGRAM, Answerer, Attempt

Asked = tuple[str, str]
"""Whose session it is, and the role that is asked: forward, backward, or evaluator."""
Numbers = defaultdict[tuple[str, ...], float]


def _none() -> Numbers:
    return defaultdict(float)


@dataclass
class Meters:
    """By owner and role: attempts by outcome, those that were followed by another, the seconds they
    took; and of what they brought the tokens by kind, and the dollars."""

    attempts: Numbers = field(default_factory=_none)
    retries: Numbers = field(default_factory=_none)
    seconds: Numbers = field(default_factory=_none)
    tokens: Numbers = field(default_factory=_none)
    dollars: Numbers = field(default_factory=_none)

    def note(self, who: Asked, attempt: Attempt) -> None:
        """Count one attempt of `who`, and what it brought."""
        self._count(who, attempt.outcome, attempt.latency)
        if attempt.brought is not None:
            self._add(who, attempt.brought)
        elif attempt.ends is None:
            self.retries[who] += 1

    def brought(self, who: Asked, completion: Completion) -> None:
        """Count a completion whose answerer reports no attempts."""
        outcome = "ok" if completion.refusal is None else "refused"
        self._count(who, outcome, completion.latency)
        self._add(who, completion)

    def _count(self, who: Asked, outcome: str, seconds: float) -> None:
        self.attempts[*who, outcome] += 1
        self.seconds[who] += seconds

    def _add(self, who: Asked, completion: Completion) -> None:
        usage = completion.usage
        self.tokens[*who, "prompt"] += usage.prompt_tokens
        self.tokens[*who, "completion"] += usage.completion_tokens
        self.tokens[*who, "cached"] += usage.cached_tokens
        self.dollars[who] += usage.cost or 0.0


def asked_of(owner: str, request: CompletionRequest, answerer: Answerer) -> Asked:
    """By whom and of which role a request is asked; programs of the operator count as the role
    `evaluator`."""
    is_program = answerer.name.startswith(PROGRAM)
    return owner, "evaluator" if is_program else role_of(request.purpose)
