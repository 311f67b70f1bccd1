"""A run of an example with the real server: what is recorded, replayed, reported, and refused."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from examples.code import __main__ as code
from examples.code import solutions
from examples.code.__main__ import BASELINE, EXAMPLE, best_of, improve, report
from examples.code.evaluate import tasks
from examples.common.answering import Mailbox, Recorded, assistant, endpoint_named
from examples.common.cache import cache_folder, cache_root
from examples.common.main import FOLDER, _driven
from examples.common.record import (
    Evaluated,
    NoRecord,
    Record,
    best_so_far,
    load,
    seconds,
    standard_error,
)
from examples.common.report import words
from examples.common.tools import Answer, Facts, Failed, environment, exported, serving
from examples.molecules import __main__ as molecules
from examples.radiotherapy import __main__ as radiotherapy
from examples.reasoning import __main__ as reasoning
from examples.science import __main__ as science

MEDIAN = "count-subarrays-with-median-k"
RIGHT = inspect.getsource(solutions).replace(MEDIAN.replace("-", "_"), "countSubarrays")
WRONG = "def countSubarrays(nums, k):\n    return 1\n"
ASKED = argparse.Namespace(steps=2, candidates=1, seed=0, small=False)


def settings(folder: Path) -> dict[str, str]:
    """An environment in which the caller answers, with a database in `folder`."""
    told = assistant(("forward", "backward"))
    told["TEXTGRAD_MCP_DATABASE"] = str(folder / "t.db")
    told["TEXTGRAD_MCP_CONFIG"] = str(EXAMPLE.folder / "config.toml")
    return environment(told)


async def answered(pending: list[Facts]) -> dict[str, Any]:
    """A right program where a rewrite is asked for, a wrong one elsewhere."""
    return {
        one["id"]: {"value": RIGHT} if "update" in one["purpose"] else f"```python\n{WRONG}```"
        for one in pending
    }


def recorded(folder: Path, answer: Answer | None) -> Record:
    """The record of one task, its baseline included."""
    env = settings(folder)
    ids: dict[str, str] = {}

    async def run() -> None:
        async with serving(env, answer, ids) as tools:
            calls = await improve(tools, MEDIAN, ASKED)
            await best_of(tools, MEDIAN, calls)

    asyncio.run(run())
    sessions = {name: exported(one, env) for name, one in ids.items()}
    return Record("code", "leetcode_hard", "a script", sessions)


def first(group: BaseException) -> str:
    """What ended a run, out of the groups that wrap it."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    assert isinstance(group, Failed)
    return str(group)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record of one task that a right program solved."""
    return recorded(tmp_path_factory.mktemp("run"), answered)


def test_a_run_is_recorded_and_replayed_to_the_same_report(record: Record, tmp_path: Path) -> None:
    assert set(record.sessions) == {MEDIAN, BASELINE + MEDIAN}
    path = tmp_path / "run.json"
    record.save(path)
    again = load(path, "code", "leetcode_hard")
    assert report(again) == report(record)
    said = words(report(again), again, [])
    assert "REPLAY of a recorded run; answered by a script." in said
    assert "The optimiser solves 1, best of n 0." in said
    assert "1 model calls" in said
    assert "2 evaluator runs" in said
    assert words(report(record), record, []).count("REPLAY") == 0


def test_a_record_runs_again_with_its_replies_and_ends_at_a_prompt_that_it_lacks(
    record: Record, tmp_path: Path
) -> None:
    assert report(recorded(tmp_path, Recorded(record))) == report(record)
    less = replace(record, sessions={MEDIAN: record.sessions[MEDIAN]})
    with pytest.raises(BaseExceptionGroup) as raised:
        recorded(tmp_path, Recorded(less))
    assert "The record has no reply to this prompt (forward: v4 (llm) for e1)" in first(
        raised.value
    )


def test_what_an_unfinished_run_has_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"task": "leetcode_hard", "by": "", "out": tmp_path, "limit": 7}
    args = argparse.Namespace(**vars(ASKED), **options)
    with pytest.raises(BaseExceptionGroup) as raised:
        asyncio.run(_driven(EXAMPLE, args, settings(tmp_path), None, "nobody"))
    assert "nobody is there" in first(raised.value)
    path = tmp_path / "leetcode_hard.unfinished.json"
    assert str(path) in capsys.readouterr().err
    kept = load(path, "code", "leetcode_hard")
    assert kept.options == {"steps": 2, "candidates": 1, "seed": 0, "limit": 7, "small": False}
    assert set(kept.sessions) <= set(list(tasks())[:7])
    assert kept.only().evaluated()


def test_a_record_that_lacks_what_its_report_needs_is_refused_in_words(record: Record) -> None:
    with pytest.raises(
        NoRecord, match="no session 'prompt', which the report needs; it has count-"
    ):
        science.report(replace(record, example="science", task="machine_learning"))
    with pytest.raises(NoRecord, match="no score of the text that it ends with"):
        radiotherapy.report(replace(record, task="pelvis"))
    with pytest.raises(NoRecord, match="no session"):
        molecules.report(replace(record, sessions={}))


def test_several_receptors_are_examples_whose_scores_are_averaged_and_told_apart() -> None:
    told = "Score {}.\nDocked into {}: Vina {} kcal/mol. Polar.\nQED 0.50; what holds"
    energies = {"ACHE": -9.0, "MAOB": -6.0, "BACE1": -7.0}
    found = [
        Evaluated({"smiles": smiles, "goal": goal}, score, told.format(score, goal, energy))
        for smiles, score in (("CC", 0.2), ("CCO", 0.6))
        for goal, energy in energies.items()
    ]
    half = [one for one in found if one.inputs["goal"] != "BACE1" or one.score > 0.5]
    assert [one.score for one in molecules.whole(found, "several")] == pytest.approx([0.2, 0.6])
    [only] = molecules.whole(half, "several")  # a molecule that was tried for two of three is none
    assert only.inputs == {"smiles": "CCO"}
    assert (molecules.energies(only), molecules.qed(only)) == (energies, 0.5)
    assert molecules.energies_of([only], "MAOB") == ["-6.0"]
    assert molecules.energies_of([only], "LCK") == [""]


RECORDED = {
    molecules: ["ache", "selective"],
    radiotherapy: ["pelvis"],
    science: ["machine_learning", "machine_learning_local"],
    reasoning: ["object_counting", "object_counting_local"],
}


@pytest.mark.parametrize(
    ("example", "task"),
    [
        *((example, task) for example, tasks in RECORDED.items() for task in tasks),
        pytest.param(code, "leetcode_hard", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_the_figures_on_the_page_are_those_of_the_recorded_runs(
    example: ModuleType, task: str
) -> None:
    found = example.EXAMPLE
    record = load(found.recorded(task), found.name, task)
    page = (FOLDER.parent / "docs" / "examples.md").read_text("utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|")]
    said = example.report(record).rows[0]
    figures = f"| {said.before} | {said.after} | {said.baseline or 'none'} |"
    assert any(figures in line for line in lines), figures


def test_what_is_computed_once_is_found_by_an_evaluator_whose_home_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EXAMPLES_CACHE", raising=False)
    here = cache_root()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == here
    monkeypatch.setenv("EXAMPLES_CACHE", str(tmp_path))
    assert cache_folder("poses") == tmp_path / "poses"


def test_the_ledger_tells_texts_scores_and_calls(record: Record) -> None:
    ledger = record.ledger(MEDIAN)
    first, last = ledger.evaluated()
    assert first.inputs == {"code": tasks()[MEDIAN]["first_attempt"].strip(), "task": MEDIAN}
    assert (first.score < 0.5, last.score, last.feedback) == (True, 1.0, "6 of 6 tests pass.")
    assert ledger.texts("v1")[-1] == ledger.text("v1") == RIGHT.strip()
    assert len(ledger.replies) == 1
    assert seconds([ledger]) > 0
    assert ledger.characters() > len(RIGHT)


def test_a_session_that_an_assistant_exported_is_a_record_too(
    record: Record, tmp_path: Path
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(record.sessions[MEDIAN]), "utf-8")
    said = report(load(path, "code", "leetcode_hard"))
    assert said.title.endswith("tasks: 1")
    assert said.after == RIGHT.strip()


def test_where_nobody_answers_the_run_ends_in_words(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        recorded(tmp_path, None)
    assert "nobody is there" in first(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "textgrad-mcp example"}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, "utf-8")
    with pytest.raises(NoRecord):
        load(path, "code", "leetcode_hard")
    with pytest.raises(NoRecord, match="cannot be read"):
        load(tmp_path / "none.json", "code", "leetcode_hard")


def test_a_mailbox_asks_and_waits_for_its_reply(tmp_path: Path) -> None:
    (tmp_path / "reply-1.json").write_text('{"c1": "yes"}', "utf-8")
    (tmp_path / "reply-2.json").write_text("[1]", "utf-8")
    mailbox = Mailbox(tmp_path)
    assert asyncio.run(mailbox([{"id": "c1", "prompt": "Well?"}])) == {"c1": "yes"}
    assert json.loads((tmp_path / "ask-1.json").read_text("utf-8"))[0]["prompt"] == "Well?"
    with pytest.raises(Failed, match="must be an object"):
        asyncio.run(mailbox([]))


def test_an_endpoint_is_what_the_environment_names() -> None:
    assert endpoint_named({}) is None
    assert endpoint_named({"TEXTGRAD_MCP_BACKWARD_MODEL": "strong"}) == "strong"
    assert endpoint_named({"TEXTGRAD_MCP_BASE_URL": "http://here"}) == "http://here"


def test_the_best_so_far_never_falls_and_the_error_is_that_of_a_mean() -> None:
    assert best_so_far([0.2, 0.1, 0.5]) == [0.2, 0.2, 0.5]
    assert standard_error([0, 1, 0, 1]) == pytest.approx((1 / 3 / 4) ** 0.5)
