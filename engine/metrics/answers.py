"""Metrics that find the answer inside the output: numeric, multiple_choice."""

from __future__ import annotations

import re
from decimal import Context, Decimal

from pydantic import Field

from ...schemas.errors import ExampleError
from ...schemas.graph import Value
from .base import CORRECT, FIX, Metric, Options, quoted, wrong

_SIGN = r"(?:(?<![\w)\]])[-+\u2212](?:\s?[$€£])?)?"  # a minus, not the dash of "3-4"
_NUMBER = re.compile(
    rf"{_SIGN}(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{{1,4}})?"
    rf"|{_SIGN}\.[0-9]+"
)
_WIDE = Context(prec=400, traps=[])  # nothing raises; 400 digits are compared exactly


class Tolerance(Options):
    """How far off a number may be. The right answer times `relative` or `absolute` is enough."""

    absolute_tolerance: Decimal = Field(default=Decimal(0), ge=0, allow_inf_nan=False)
    relative_tolerance: Decimal = Field(default=Decimal(0), ge=0, allow_inf_nan=False)

    def accepts(self, found: Decimal, expected: Decimal) -> bool:
        """Whether `found` is near enough to `expected`."""
        off = _WIDE.abs(_WIDE.subtract(found, expected))
        relative = _WIDE.multiply(self.relative_tolerance, _WIDE.abs(expected))
        return off <= max(self.absolute_tolerance, relative)


def _last_number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text)
    if not found:
        return None
    plain = re.sub(r"[^-+.0-9eE]", "", found[-1].replace("\u2212", "-"))
    return _WIDE.create_decimal(plain)


def _right_number(answer: str, options: Tolerance) -> Decimal:
    found = _last_number(answer)
    if found is None:
        raise ExampleError(f"The right answer {quoted(answer, 80)} holds no number.", FIX)
    return found


def _numeric(output: str, answer: str, options: Tolerance) -> Value:
    expected = _right_number(answer, options)
    found = _last_number(output)
    if found is None:
        return wrong(f"Expected the number {expected} but the output, {quoted(output)}, has none.")
    if options.accepts(found, expected):
        return CORRECT
    return wrong(
        f"Expected the number {expected} but the last number in the output is {found}. "
        f"The output was {quoted(output)}."
    )


class Choices(Options):
    """Options of `multiple_choice`: the letters that may be answered."""

    choices: str = Field(default="ABCDEFGHIJ", pattern=r"^[A-Z]{2,26}$")


def _choice(text: str, letters: str) -> str | None:
    """The letter that `text` answers with: the last clear statement, else a lone letter."""
    text = re.sub(r"[*_`$]+", "", text)  # markdown and maths marks
    lines = (" ".join(line.split()) for line in text.splitlines())
    text = "\n".join(line for line in lines if line)  # no long runs that patterns could chew on
    clear = (
        rf"(?i)\banswer(?:\s+is)?\s*[:=]?\s*(?:option\s+|choice\s+)?\(?([{letters}])\b(?![\w'\u2019])",
        rf"(?i)\\boxed\{{\s*(?:\\text\{{)?\(?([{letters}])\)?\s*\}}",
        rf"(?i)\A\(?([{letters}])[\s.:)]*\Z",
        rf"(?i)\(([{letters}])\)",
        rf"(?m)^\s*([{letters}])[.:)](?:\s|$)",
    )
    for pattern in clear:
        if found := re.findall(pattern, text):
            return str(found[-1]).upper()
    alone = set(re.findall(rf"(?<![\w'\u2019])[{letters}](?![\w'\u2019])", text)) - {"I"}
    return alone.pop() if len(alone) == 1 else None


def _right_choice(answer: str, options: Choices) -> str:
    found = _choice(answer, options.choices)
    if found is None:
        raise ExampleError(f"The right answer {quoted(answer, 80)} names no choice.", FIX)
    return found


def _multiple_choice(output: str, answer: str, options: Choices) -> Value:
    expected = _right_choice(answer, options)
    found = _choice(output, options.choices)
    if found is None:
        return wrong(
            f"Expected choice {expected} but the output names no single choice: {quoted(output)}. "
            f"It should end like 'Answer: {expected}'."
        )
    if found == expected:
        return CORRECT
    return wrong(f"Expected choice {expected} but the output chose {found}: {quoted(output)}.")


def number_in(output: str) -> str | None:
    """The last number in `output`, in one spelling; None where there is none."""
    found = _last_number(output)
    return None if found is None else str(found.normalize(_WIDE))


def choice_in(output: str) -> str | None:
    """The letter that `output` answers with, if it is clear."""
    return _choice(output, Choices().choices)


NUMERIC = Metric(
    "numeric", "1 if the last number in the output is the right one", Tolerance, _numeric,
    check_answer=_right_number,
)  # fmt: skip
MULTIPLE_CHOICE = Metric(
    "multiple_choice", "1 if the output chooses the right letter", Choices, _multiple_choice,
    check_answer=_right_choice,
)  # fmt: skip
