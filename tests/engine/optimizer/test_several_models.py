"""One prompt for several models: each example is measured with each, and mean or worst decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.settings import RoleSettings, Settings

from ...helpers import Facts, Tools, answered, drive, endpoint, process
from ...interrupted import Hanging
from ...standin import StandIn, text_of
from ...two_models import BOTH, ONE_LINE, START, TWO_LINES, answer, ready, right, text, world


@pytest.mark.requirement("several-models")
def test_a_prompt_is_improved_for_both_models_where_one_alone_would_be_content_with_less(
    tmp_path: Path,
) -> None:
    how = {"steps": 1, "candidates": 2, "batch_size": 4}

    async def alone(call: Tools) -> None:
        s = await ready(call)
        found = await call("optimize", session_id=s, **how)
        assert (found["score_before"], found["score_after"]) == (0.5, 1.0)
        assert "by_model" not in found
        assert await text(call, s) == TWO_LINES  # as good, and shorter

    async def both(call: Tools) -> None:
        s = await ready(call, models=BOTH)
        before = await call("evaluate", session_id=s, split="test")
        assert before["by_model"] == {"forward": 0.5, "narrow": 0.5}
        found = await call("optimize", session_id=s, **how)
        assert (found["score_before"], found["score_after"]) == (0.5, 1.0)
        assert found["by_model"] == {"forward": [0.5, 1.0], "narrow": [0.5, 1.0]}
        note = "By model: forward 0.50 -> 1.00, narrow 0.50 -> 1.00. On each example their mean"
        assert any(one.startswith(note) for one in found["notes"])
        assert await text(call, s) == ONE_LINE
        held = await call("evaluate", session_id=s, split="test")
        assert held["by_model"] == {"forward": 1.0, "narrow": 1.0}
        report = (await call("inspect", session_id=s, what="report"))["view"]
        assert any("(forward 0.500, narrow 0.500)" in one["first"] for one in report["scores"])
        assert any("(forward 1.000, narrow 1.000)" in one["latest"] for one in report["scores"])

    with world(TWO_LINES, ONE_LINE) as there:
        drive(alone, there.settings(tmp_path / "one.db"))
        assert not there.narrow.log
    with world(TWO_LINES, ONE_LINE) as there:
        drive(both, there.settings(tmp_path / "both.db"))
        assert set(there.runs.values()) == {1}  # whatever was asked was asked once
        [request] = there.requests
        assert "Several models are given it, and it must serve them all: forward, narrow" in request
        for name in BOTH:
            assert f"The output is that of {name}. Scores on this example by model: " in request


@pytest.mark.requirement("several-models")
def test_where_one_model_gains_and_the_other_does_not_the_mean_takes_what_the_worst_refuses(
    tmp_path: Path,
) -> None:
    how = {"steps": 1, "candidates": 1, "batch_size": 4}
    found: dict[bool, Facts] = {}

    async def main(call: Tools) -> None:
        for worst in (False, True):
            s = await ready(call, models=BOTH, worst=worst)
            found[worst] = await call("optimize", session_id=s, **how)
            assert await text(call, s) == (START if worst else TWO_LINES)

    with world(TWO_LINES) as there:
        drive(main, there.settings(tmp_path / "t.db"))
    assert (found[False]["score_after"], found[True]["score_after"]) == (0.75, 0.5)
    assert found[False]["by_model"] == {"forward": [0.5, 1.0], "narrow": [0.5, 0.5]}
    assert found[True]["by_model"] == {"forward": [0.5, 0.5], "narrow": [0.5, 0.5]}
    assert any("On each example the worst of them counts" in n for n in found[True]["notes"])


@pytest.mark.requirement("several-models")
def test_an_evaluation_asks_each_model_once_and_shows_the_output_of_the_one_that_did_worst(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call, models=BOTH)
        asked = len(there.able.log)  # what forward itself asked
        found = await call("evaluate", session_id=s)
        assert (len(there.able.log) - asked, len(there.narrow.log)) == (12, 12)
        again = await call("evaluate", session_id=s, votes=2)
        assert (len(there.able.log) - asked, len(there.narrow.log)) == (24, 24)
        assert found["by_model"] == again["by_model"] == {"forward": 0.5, "narrow": 0.5}
        assert [f["model"] for f in found["failures"]] == ["forward"] * len(found["failures"])
        s = await ready(call, TWO_LINES, models=BOTH)
        better = await call("evaluate", session_id=s)
        assert (better["mean_score"], better["by_model"]["narrow"]) == (0.75, 0.5)
        assert {(f["model"], f["score"]) for f in better["failures"]} == {("narrow", 0.5)}
        assert all(f["output"].startswith("loud") for f in better["failures"])
        many = await call("evaluate", session_id=s, repeats=2)
        assert many["by_model"] == {"forward": 1.0, "narrow": 0.5}
        assert any("repeated runs had the same scores" in note for note in many["notes"])

    with world() as there:
        drive(main, there.settings(tmp_path / "t.db"))
        twice = {n for key, n in there.runs.items() if TWO_LINES in key and "validation" in key[2]}
        assert twice == {2}  # two samples, each of each model


@pytest.mark.requirement("several-models")
def test_a_gated_step_and_feedback_take_each_example_as_it_went_worst(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call, models=BOTH)
        learnt = await call("backward", session_id=s)
        assert (
            "Each example is taken as it went worst: by forward 2, by narrow 2." in learnt["notes"]
        )
        stepped = await call("step", session_id=s, accept="if_better")
        assert stepped["by_model"] == {"forward": [0.5, 1.0], "narrow": [0.5, 1.0]}
        assert any(note.startswith("By model: forward 0.50 -> 1.00") for note in stepped["notes"])

    with world(ONE_LINE) as there:
        drive(main, there.settings(tmp_path / "t.db"))
        feedback = there.requests[0]
        assert "<answered-by" in feedback
        assert set(there.runs.values()) == {1}


@pytest.mark.slow
@pytest.mark.requirement("several-models")
def test_killed_in_the_middle_it_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    how = {"steps": 2, "candidates": 2, "batch_size": 4}

    async def whole(call: Tools) -> None:
        found.append(await call("optimize", session_id=await ready(call, models=BOTH), **how))

    async def killed(settings: Settings) -> None:
        async with process(settings) as call:
            s = await ready(call, models=BOTH)
            hanging.left = 20
            running = asyncio.ensure_future(call("optimize", session_id=s, **how))
            more = partial(there.narrow.wait_for, lambda server: len(server.log) > 20, 60)
            await asyncio.to_thread(more)
            call.kill()
            with pytest.raises(MCPError):
                await running
        hanging.left = float("inf")
        with contextlib.closing(sqlite3.connect(str(settings.database))) as db:
            [kept] = db.execute("SELECT count(*) FROM calls WHERE status = 'answered'").fetchone()
        left.append(there.asked + usual - kept)
        async with process(settings) as call:
            done = await call("resume", session_id=s)
            while done["status"] == "running":
                done = await call("resume", session_id=s)
            found.append(done)

    found: list[Facts] = []
    left: list[int] = []
    with world(TWO_LINES, ONE_LINE) as there:
        drive(whole, there.settings(tmp_path / "whole.db"))
        usual = there.asked
    hanging = Hanging()
    with world(TWO_LINES, ONE_LINE, faults=hanging) as there:
        asyncio.run(killed(there.settings(tmp_path / "killed.db")))
        assert [there.asked] == left  # what was answered is not asked again, all else is
    for name in ("score_before", "score_after", "by_model", "accepted", "refused", "stopped"):
        assert found[0][name] == found[1][name], name


@pytest.mark.requirement("several-models")
def test_a_model_that_is_not_configured_is_named_with_those_that_are(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call, models=["narrow"])
        made.append(s)
        assert not there.able.log
        assert len(there.narrow.log) == 4  # one alone is asked by itself
        wrong = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
        words = await call.refused("forward", session_id=s, models=["narow"], **wrong)
        assert "no model 'narow'; configured: forward, narrow. Did you mean 'narrow'?" in words
        assert "[models.NAME]" in words
        assert "TEXTGRAD_MCP_MODELS_NAME_MODEL" in words
        for given, said in (
            ({"models": ["backward"]}, "no model 'backward'"),
            ({"models": ["narrow", "narrow"]}, "different names"),
            ({"worst": True}, "worst is said of several models"),
            ({"models": ["narrow"], "worst": True}, "worst is said of several models"),
        ):
            assert said in await call.refused("forward", session_id=s, **wrong, **given)
        plain = {"operation": "format", "template": "{q}", "inputs": {"q": "v2"}}
        assert "operation='llm'" in await call.refused(
            "forward", session_id=s, models=["narrow"], **plain
        )

    async def gone(call: Tools) -> None:
        words = await call.refused("evaluate", session_id=made[0])
        assert "no model 'narrow'; configured: forward" in words

    made: list[str] = []
    with world() as there:
        settings = there.settings(tmp_path / "t.db")
        drive(main, settings)
        drive(gone, settings.model_copy(update={"models": {}}))


@pytest.mark.requirement("several-models")
def test_the_assistant_may_be_one_of_the_models_and_is_told_which(tmp_path: Path) -> None:
    def reply(pending: Facts) -> str:
        narrow = pending["purpose"].endswith(", by narrow")
        return answer(pending["system"], pending["prompt"], last_line_only=narrow)

    async def main(call: Tools) -> None:
        s = await ready(call)
        made = {"operation": "llm", "system": "v6", "inputs": {"q": "v2"}, "models": BOTH}
        await call("create_variable", session_id=s, role="prompt", value=TWO_LINES)
        named = {"output": "v7", "answer": "v3"}
        await answered(call, await call("forward", session_id=s, **made), reply)
        how = {"kind": "metric", "metric": "exact_match", "inputs": named}
        await call("compute_loss", session_id=s, **how)
        found = await answered(call, await call("evaluate", session_id=s, loss="v8"), reply)
        assert found["by_model"] == by

    one = RoleSettings(answerer="assistant")
    by = {"forward": 1.0, "narrow": 0.5}
    with world() as there:
        drive(main, there.settings(tmp_path / "one.db", narrow=one))
        assert not there.narrow.log
        assert len(there.able.log) == 8 + 12


@pytest.mark.requirement("several-models")
def test_one_call_builds_it_for_several_models_and_budgets_count_the_calls_of_all(
    tmp_path: Path,
) -> None:
    rows = [
        {"q": q, "answer": right(q)}
        for q in (f"{'loud' if n % 2 else 'calm'} question {n}" for n in range(24))
    ]
    given = {"prompt": START, "examples": rows, "metric": "exact_match"}

    async def main(call: Tools) -> None:
        found = await call("optimize_prompt", **given, models=BOTH)
        assert found["by_model"].keys() == {"forward", "narrow"}
        assert {*found["by_model"].values()} == {found["mean_score"]}
        s, held = found["session_id"], found["splits"]["validation"]
        assert len(there.narrow.log) == held
        words = await call.refused("optimize", session_id=s, budget={"calls": 2 * 2 * held})
        least = int(words.partition("that takes about ")[2].split()[0])
        alone = await call("optimize_prompt", **given)
        words = await call.refused(
            "optimize", session_id=alone["session_id"], budget={"calls": 2 * held}
        )
        assert least - 1 == 2 * (int(words.partition("that takes about ")[2].split()[0]) - 1)
        session = await call("inspect", session_id=s)
        assert session["view"]["answerers"].keys() == {"forward", "backward", "narrow"}
        judged = {"prompt": "A text.", "judge": "Is it good?", "models": BOTH}
        assert "there are none" in await call.refused("optimize_prompt", **judged)

    with world() as there:
        drive(main, there.settings(tmp_path / "t.db"))


@pytest.mark.requirement("several-models")
def test_the_operations_of_a_pipeline_have_models_of_their_own(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call, TWO_LINES, models=["narrow"])
        second = {"operation": "llm", "system": "v6", "inputs": {"q": "v4"}}
        await call("create_variable", session_id=s, role="prompt", value="Add a mark.")
        await call("forward", session_id=s, models=["forward", "narrow", "third"], **second)
        named = {"output": "v7", "answer": "v3"}
        how = {"kind": "metric", "metric": "contains", "inputs": named}
        await call("compute_loss", session_id=s, **how)
        asked = len(there.narrow.log)
        found = await call("evaluate", session_id=s, loss="v8")
        assert found["by_model"] == dict.fromkeys(["forward", "narrow", "third"], 0.5)
        assert len(there.narrow.log) - asked == 12 + 2 * 12  # first step, then as two models

    with world() as there:
        drive(main, there.settings(tmp_path / "t.db", third=endpoint(there.narrow)))


@pytest.mark.requirement("several-models")
def test_judges_without_scores_prefer_for_each_model_by_itself(tmp_path: Path) -> None:
    def judge(body: dict[str, Any]) -> str:
        keys = body["response_format"]["json_schema"]["schema"]["properties"]
        said = text_of(body["messages"][-1])
        if "better" in keys:
            first, second = said.find("LOUD"), said.find("Second candidate")
            won = "equal" if first < 0 else "first" if first < second else "second"
            return json.dumps({"reason": "Louder.", "better": won})
        known = {"feedback": "Louder.", "value": TWO_LINES}
        return json.dumps({key: known.get(key, "Ask for capitals.") for key in keys})

    async def main(call: Tools) -> None:
        for worst in (False, True):
            s = await ready(call, models=BOTH, worst=worst)
            how = {"kind": "judge", "graded": False, "instruction": "Loud?"}
            await call("compute_loss", session_id=s, inputs={"output": "v4"}, **how)
            await call("backward", session_id=s, losses=["v6"])
            stepped = await call("step", session_id=s, accept="if_better")
            assert stepped["accepted"] is not worst

    with world() as there, StandIn(reply=judge) as critic:
        role = endpoint(critic)
        settings = there.settings(tmp_path / "t.db").model_copy(update={"backward": role})
        drive(main, settings)


@pytest.mark.requirement("several-models")
def test_without_examples_the_program_counts_as_it_went_worst_and_moves_to_another_database(
    tmp_path: Path,
) -> None:
    session: list[str] = []
    reports: list[Facts] = []

    async def main(call: Tools) -> None:
        made = await call("create_variable", role="plan", value="loud plan\nAdd a mark.")
        s = str(made["session_id"])
        rule = await call("create_variable", session_id=s, role="prompt", value=TWO_LINES)
        how = {"operation": "llm", "inputs": {"plan": "v1"}, "system": rule["variable"]}
        await call("forward", session_id=s, models=BOTH, worst=True, **how)
        named = {"kind": "metric", "metric": "regex", "options": {"pattern": "LOUD"}}
        await call("compute_loss", session_id=s, inputs={"output": "v3"}, **named)
        found = await call("evaluate", session_id=s, loss="v4")
        assert (found["mean_score"], found["by_model"]) == (0.0, {"forward": 1.0, "narrow": 0.0})
        learnt = await call("backward", session_id=s)
        assert "The program is taken as it went worst: by narrow." in learnt["notes"]
        session.append(s)
        reports.append((await call("inspect", session_id=s, what="report"))["view"])

    async def moved(call: Tools) -> None:
        reports.append((await call("inspect", session_id=session[0], what="report"))["view"])

    async def move(source: Path, target: Path) -> None:
        from_, to = Store(source), Store(target)
        await from_.open()
        await to.open()
        pk = (await from_.sessions.get(session[0], "local")).pk
        document = json.loads(json.dumps(await from_.export.export_session(pk)))
        await to.export.import_session("local", document)
        await from_.close()
        await to.close()

    with world(ONE_LINE) as there:
        drive(main, there.settings(tmp_path / "one.db"))
        asyncio.run(move(tmp_path / "one.db", tmp_path / "two.db"))
        drive(moved, there.settings(tmp_path / "two.db"))
    assert "(forward 1.000, narrow 0.000)" in reports[0]["scores"][0]["latest"]
    assert reports[0]["scores"] == reports[1]["scores"]
