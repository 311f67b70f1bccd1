"""Science and reasoning, run with the real server: small runs, their reports, who answers what."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.common.answering import assistant
from examples.common.main import _answered, _params
from examples.common.record import Record
from examples.common.tools import Facts, environment, exported, serving
from examples.reasoning import __main__ as reasoning
from examples.science import __main__ as science

BETTER = "Say the right answer and nothing else."
ASKED = argparse.Namespace(steps=1, candidates=1, seed=0, limit=4, small=True)
LONG = "A step that says little. " * 100 + "Answer: "


def right(rows: list[dict[str, str]], prompt: str) -> str:
    """The answer of the question in a prompt."""
    return next(one["answer"] for one in rows if one["question"] in prompt)


def recorded(folder: Path, module: Any, task: str, rows: list[dict[str, str]]) -> Record:
    """The record of a small run in which only the better prompt is answered rightly."""
    args = argparse.Namespace(**vars(ASKED) | {"task": task})
    env = environment(
        assistant(("forward", "backward")) | {"TEXTGRAD_MCP_DATABASE": str(folder / "t.db")}
    )
    ids: dict[str, str] = {}

    async def answer(pending: list[Facts]) -> dict[str, Any]:
        return {one["id"]: reply(one) for one in pending}

    def reply(one: Facts) -> Any:
        if one["purpose"].startswith("forward"):
            return right(rows, one["prompt"]) if one.get("system") == BETTER else "I do not know."
        return {"value": BETTER}

    async def run() -> None:
        async with serving(env, answer, ids) as tools:
            await module.run(tools, args)

    asyncio.run(run())
    sessions = {name: exported(one, env) for name, one in ids.items()}
    return Record(module.EXAMPLE.name, task, "a script", sessions)


def sizes(session: Facts) -> dict[str, int]:
    """How many examples each split has."""
    splits = [one["split"] for one in session["examples"]]
    return {name: splits.count(name) for name in splits}


def test_a_small_science_run_is_the_prompt_beside_a_vote_of_equal_budget(tmp_path: Path) -> None:
    task = "machine_learning"
    record = recorded(tmp_path, science, task, science.rows(task))
    assert set(record.sessions) == {science.PROMPTED, science.VOTED}
    assert sizes(record.sessions[science.PROMPTED]) == {"train": 12, "validation": 12, "test": 4}
    said = science.report(record)
    held = said.rows[0]
    assert (held.before, held.after, held.baseline) == ("0 ± 0 %", "100 ± 0 %", "0 ± 0 %")
    assert said.verdict == "The optimised prompt has 4 of 4 right, the baseline 0."
    assert said.after == BETTER
    spent = len(record.ledger(science.PROMPTED).replies) - 2 * 4  # what is held out is no part
    votes = len(record.ledger(science.VOTED).replies)
    assert votes == 4 * round(spent / 4)
    without = science.report(replace(record, sessions={science.PROMPTED: record.only().session}))
    assert (without.baseline, without.verdict) == ("none was run.", "Held out, +1.00.")


def test_a_small_reasoning_run_has_small_splits_and_a_baseline(tmp_path: Path) -> None:
    task = "word_sorting"
    rows = reasoning.rows(task, "train") + reasoning.rows(task, "validation")
    record = recorded(tmp_path, reasoning, task, rows)
    assert set(record.sessions) == {reasoning.OURS, reasoning.BASELINE}
    assert sizes(record.sessions[reasoning.OURS]) == {"train": 10, "validation": 12, "test": 4}
    said = reasoning.report(record)
    assert (said.rows[0].before, said.rows[0].after) == ("0 ± 0 %", "100 ± 0 %")
    assert said.verdict == "Held out, +1.00; THE BASELINE IS AS GOOD."
    curve = record.ledger(reasoning.OURS).validated()
    assert (curve[0], curve[-1][1]) == ((0, 0.0), 1.0)


def test_a_long_solution_is_improved_whole(tmp_path: Path) -> None:
    env = environment(
        assistant(("forward", "backward")) | {"TEXTGRAD_MCP_DATABASE": str(tmp_path / "t.db")}
    )
    ids: dict[str, str] = {}

    async def answer(pending: list[Facts]) -> dict[str, Any]:
        replies = {"forward": LONG * 3 + "A", "judge": {"feedback": "Say less."}}
        last = {"value": "Answer: A", "feedback": "Say less."}
        return {one["id"]: replies.get(one["purpose"].partition(":")[0], last) for one in pending}

    async def draft() -> None:
        async with serving(env, answer, ids) as tools:
            await science.instance_level(tools, 1, "Which?\n\nA) This\nB) That")

    asyncio.run(draft())
    sessions = {name: exported(one, env) for name, one in ids.items()}
    record = Record("science", "machine_learning", "", sessions)
    assert record.ledger("question 1").texts("v4")[:2] == [LONG * 3 + "A", "Answer: A"]


def test_an_assistant_criticises_for_the_model_of_an_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEXTGRAD_MCP_FORWARD_MODEL", "small")
    args = argparse.Namespace(again=None, mailbox=tmp_path, no_local=False, small=False)
    for example in (reasoning.EXAMPLE, science.EXAMPLE):
        with _answered(example, args) as (told, answer, by):
            assert told == {"TEXTGRAD_MCP_BACKWARD_ANSWERER": "assistant"}
            assert answer is not None
            assert by == "an assistant and small"
        args.no_local = True
        with _answered(example, args) as (told, _, by):
            assert set(told) == {
                "TEXTGRAD_MCP_FORWARD_ANSWERER",
                "TEXTGRAD_MCP_BACKWARD_ANSWERER",
            }
            assert by == "an assistant"
        args.no_local = False


def test_small_shortens_the_answers_of_the_model_that_is_optimised_for() -> None:
    small = argparse.Namespace(small=True)
    found = _params(reasoning.EXAMPLE, small)
    assert found["forward"] == {"temperature": 0.0, "max_tokens": 100}
    assert found["backward"] == reasoning.EXAMPLE.params["backward"]
    small.small = False
    assert _params(reasoning.EXAMPLE, small) == reasoning.EXAMPLE.params


def test_the_vote_knows_a_question_by_its_text_whatever_the_template() -> None:
    asked = {"question": "Which?\n\nA) This\nB) That", "attempt": "1"}
    calls = [
        {
            "status": "answered",
            "answerer": "a script",
            "prompt_tokens": 1,
            "completion_tokens": 1,
            "text": "Answer: B",
            "request": {"messages": [{"role": "user", "content": template.format(**asked)}]},
        }
        for template in (science.TEMPLATE, science.SHORT)
    ]
    record = Record("science", "machine_learning", "", {science.VOTED: {"calls": calls}})
    assert science.drawn_letters(record) == {asked["question"]: ["B", "B"]}
    assert science.drawn_letters(replace(record, sessions={})) == {}
