"""One prompt for several models: each example is measured with each, and mean or worst decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from textgrad_mcp.schemas.settings import RoleSettings, Settings

from ...helpers import Facts, Tools, answered, drive, endpoint, process
from ...interrupted import Hanging
from ...standin import StandIn, default_reply, text_of

START, TWO_LINES = "Add a mark.", "Loud ones in capitals.\nAdd a mark."
ONE_LINE = "Capitals for the loud ones, and a mark at the end of every answer."
"""What each text makes of a question, and which model heeds what, says `answer`."""
BOTH = ["forward", "narrow"]


def answer(system: str, question: str, *, last_line_only: bool) -> str:
    """A question with a mark, as every text says; in capitals where the rule is heeded."""
    heeded = system.split("\n")[-1] if last_line_only else system
    loud = question.startswith("loud") and "capitals" in heeded.casefold()
    return f"{question.upper() if loud else question}!"


def right(question: str) -> str:
    """The right answer to a question."""
    return answer(ONE_LINE, question, last_line_only=True)


@dataclass
class World:
    """Two endpoints: one heeds every line of its prompt, the other the last alone; a critic who
    proposes these `texts`, and the requests that it got."""

    able: StandIn
    narrow: StandIn
    critic: StandIn

    def settings(self, path: Path, **fields: Any) -> Settings:
        """Settings with the model `narrow` beside that of the role forward: of one name."""
        return Settings(
            database=path,
            forward=endpoint(self.able),
            backward=endpoint(self.critic),
            models={"narrow": endpoint(self.narrow), **fields},
        )

    @property
    def runs(self) -> Counter[tuple[str, str, str]]:
        """How often each model was asked what."""
        every = (("forward", self.able), ("narrow", self.narrow))
        return Counter(
            (name, text_of(seen.body["messages"][0]), text_of(seen.body["messages"][1]))
            for name, server in every
            for seen in server.log
        )

    @property
    def asked(self) -> int:
        """How many calls there were, of whomever."""
        return len(self.able.log) + len(self.narrow.log) + len(self.critic.log)

    @property
    def requests(self) -> list[str]:
        """What the critic was asked."""
        return [text_of(seen.body["messages"][-1]) for seen in self.critic.log]


@contextlib.contextmanager
def world(*texts: str, faults: Any = None) -> Iterator[World]:
    """The two models, and a critic whose reflections hold `texts`."""

    def model(*, last_line_only: bool) -> Any:
        def reply(body: dict[str, Any]) -> str:
            system, question = (text_of(m) for m in body["messages"])
            return answer(system, question, last_line_only=last_line_only)

        return reply

    def critic(body: dict[str, Any]) -> str:
        keys = body["response_format"]["json_schema"]["schema"]["properties"]
        if "value" not in keys:
            return default_reply(body)
        values = dict(zip((k for k in keys if k.startswith("value")), texts, strict=False))
        return json.dumps({"diagnosis": "Loud ones are not loud."} | values)

    with (
        StandIn(reply=model(last_line_only=False)) as able,
        StandIn(reply=model(last_line_only=True), faults=faults) as narrow,
        StandIn(reply=critic) as critics,
    ):
        yield World(able, narrow, critics)


async def ready(call: Tools, prompt: str = START, **how: Any) -> str:
    """A prompt on questions of which every second is loud, 4 to learn from, 12 and 4 to measure."""
    s = str((await call("create_variable", role="prompt", value=prompt))["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    for split, count in (("train", 4), ("validation", 12), ("test", 4)):
        questions = [f"{'loud' if n % 2 else 'calm'} {split} {n}" for n in range(count)]
        rows = [{"q": q, "a": right(q)} for q in questions]
        await call("add_examples", session_id=s, split=split, examples=rows)
    await call("forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"}, **how)
    named = {"output": "v4", "answer": "v3"}
    await call("compute_loss", session_id=s, kind="metric", metric="exact_match", inputs=named)
    return s


async def text(call: Tools, s: str) -> str:
    """The installed text."""
    found = await call("inspect", session_id=s, what="variable", id="v1")
    return str(found["view"]["text"])


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
