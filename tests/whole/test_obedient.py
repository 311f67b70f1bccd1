"""The task model of the head-to-head that has no weights: it does what it is told."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

REPLY = runpy.run_path(str(Path(__file__).parent.parent.parent / "benchmarks" / "obedient.py"))[
    "reply"
]
LINE = "1 1/2 pounds of honey, melted"


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("Rewrite it.", LINE),
        ("Write name|quantity|unit|note.", "honey|1 1/2|pound|melted"),
        ("Write name|quantity|unit|note, the name in capitals.", "HONEY|1 1/2|pound|melted"),
        ("Such as RICE|2.5|tb|-, with decimal numbers; pounds -> lb.", "HONEY|1.5|lb|melted"),
    ],
)
def test_it_heeds_the_rules_that_its_prompt_states(prompt: str, said: str) -> None:
    assert REPLY(prompt, LINE) == said


def test_it_slips_always_on_the_same_inputs() -> None:
    lines = [f"{n} cups of rice" for n in range(1, 200)]
    told = "NAME|decimal|unit|note in capitals, cup: c, - if there is no note"
    answers = [REPLY(told, line, 0.1) for line in lines]
    assert answers == [REPLY(told, line, 0.1) for line in lines]
    right = sum(answer == REPLY(told, line) for answer, line in zip(answers, lines, strict=True))
    assert 0.5 < right / len(lines) < 0.8
