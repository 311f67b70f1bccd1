"""Repeated measurement: each example several times, for more evidence on the same examples."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from ...helpers import Facts, Tools, drive, served_by
from ...standin import StandIn, default_reply, fault, text_of

START, BETTER = "Answer.", "Answer well."
JUDGE = "Is it right?"


class Wavering:
    """A model that is right in the first so many runs of a question as the question says, and
    always with a better text; a judge that wavers by turn; a critic with one rewrite."""

    def __init__(self, verdicts: tuple[float, ...] = (1.0, 0.0, 0.5)) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.judged: Counter[str] = Counter()
        self._verdicts = verdicts

    def __call__(self, body: dict[str, Any]) -> str:
        """What comes back."""
        system, prompt = [text_of(m) for m in body["messages"]][-2:]
        form = body.get("response_format")
        if form is None:
            self.asked[system, prompt] += 1
            right = system == BETTER or self.asked[system, prompt] <= int(prompt.split()[1])
            return f"right {prompt}" if right else f"wrong {prompt}"
        keys = form["json_schema"]["schema"]["properties"]
        if "score" in keys:
            self.judged[prompt] += 1
            turn = (self.judged[prompt] - 1) % len(self._verdicts)
            return json.dumps({"feedback": f"Turn {turn}.", "score": self._verdicts[turn]})
        if "better" in keys:
            self.judged[prompt] += 1
            return json.dumps({"reason": "So.", "better": "first"})
        return json.dumps({"value": BETTER}) if "value" in keys else default_reply(body)


async def ready(call: Tools, right: tuple[int, ...] = (0, 1, 2, 3), **loss: Any) -> str:
    """A prompt; validation questions that are right in so many runs, training ones never."""
    s = str((await call("create_variable", role="prompt", value=START))["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    named = [("train", [f"train 0 {n}" for n in range(4)])]
    named += [("validation", [f"held {k} {n}" for n, k in enumerate(right)])]
    for split, questions in named:
        rows = [{"q": q, "a": f"right {q}"} for q in questions]
        await call("add_examples", session_id=s, split=split, examples=rows)
    await call("forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    how = loss or {"kind": "metric", "metric": "exact_match"}
    await call("compute_loss", session_id=s, inputs={"output": "v4", "answer": "v3"}, **how)
    return s


async def optimized(call: Tools, s: str, **how: Any) -> Facts:
    """One step that checks one rewrite."""
    usual = {"strategy": "gradient", "candidates": 1, "batch_size": 2, "steps": 1}
    return await call("optimize", session_id=s, **usual | how)


@pytest.mark.requirement("repeats")
def test_a_score_is_the_mean_of_the_runs_and_the_first_run_is_not_asked_again(
    tmp_path: Path,
) -> None:
    model = Wavering()

    async def main(call: Tools) -> None:
        s = await ready(call)
        once = await call("evaluate", session_id=s)
        assert (once["mean_score"], once["examples"]) == (0.75, 4)
        assert sum(model.asked.values()) == 4 + 4  # those of the first forward, and these
        found = await call("evaluate", session_id=s, repeats=3)
        assert found["mean_score"] == 0.5
        assert found["standard_error"] == round(stdev([0, 1 / 3, 2 / 3, 1]) / 2, 4)
        assert found["notes"][0].startswith("To measure, each example 3 times")
        assert "the runs of 2 of 4 examples differed in score" in found["notes"][1]
        held = {q: n for (_, q), n in model.asked.items() if q.startswith("held")}
        assert set(held.values()) == {3}
        assert all(f["output"].startswith("wrong") for f in found["failures"])
        assert [f["score"] for f in found["failures"]] == [0.0, 0.3333, 0.6667]
        before = sum(model.asked.values())
        assert await call("evaluate", session_id=s, repeats=2)
        assert sum(model.asked.values()) == before

    with StandIn(reply=model) as server:
        drive(main, served_by(server, tmp_path / "t.db"))


@pytest.mark.requirement("repeats")
def test_a_judge_is_asked_again_about_the_same_words_and_by_votes_it_is_not(
    tmp_path: Path,
) -> None:
    model = Wavering()

    async def main(call: Tools) -> None:
        s = await ready(call, (3, 3), kind="judge", instruction=JUDGE)
        model.judged.clear()
        voted = await call("evaluate", session_id=s, votes=3)
        assert (voted["mean_score"], set(model.judged.values())) == (1.0, {1})
        found = await call("evaluate", session_id=s, repeats=3)
        assert (found["mean_score"], set(model.judged.values())) == (0.5, {3})
        assert found["standard_error"] == 0.0
        assert all(f["feedback"] == "Turn 1." for f in found["failures"])  # the worst run

    with StandIn(reply=model) as server:
        drive(main, served_by(server, tmp_path / "t.db"))


@pytest.mark.requirement("repeats")
def test_the_gate_compares_means_and_runs_nothing_more_often_than_it_says(tmp_path: Path) -> None:
    model = Wavering()

    async def main(call: Tools) -> None:
        s = await ready(call, (1, 1, 2))
        done = await optimized(call, s, repeats=3)
        assert (done["score_before"], done["score_after"], done["accepted"]) == (0.4444, 1.0, 1)
        [reason] = [p["reason"] for p in done["proposals"]]
        assert "validation 0.44 -> 1.00 on 3 examples, gain 0.56" in reason
        assert "more than 1 standard error (0.11" in reason  # of 2/3, 2/3 and 1/3
        assert done["notes"][0].startswith("To measure, each example 3 times")
        held = {key: n for key, n in model.asked.items() if key[1].startswith("held")}
        assert set(held.values()) == {3}
        assert len(held) == 2 * 3
        checked = [q for text, q in model.asked if text == BETTER and q.startswith("train")]
        assert len(checked) == 2
        assert {model.asked[text, q] for text in (START, BETTER) for q in checked} == {3}
        others = {q for _, q in model.asked if q.startswith("train")} - set(checked)
        assert {model.asked[START, q] for q in others} <= {1}

    with StandIn(reply=model) as server:
        drive(main, served_by(server, tmp_path / "t.db"))


@pytest.mark.requirement("repeats")
def test_a_run_that_ended_in_the_middle_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    model = Wavering()
    faults = {n: fault("401") for n in range(10, 60)}

    async def first(call: Tools) -> None:
        s = await ready(call, (1, 1, 2))
        found.append(s)
        words = await call.refused(
            "optimize",
            **{"session_id": s, "strategy": "gradient", "candidates": 1, "batch_size": 2},
            **{"steps": 1, "repeats": 3},
        )
        assert "401" in words

    async def then(call: Tools) -> None:
        done = await call("resume", session_id=found[0])
        assert (done["score_before"], done["score_after"], done["accepted"]) == (0.4444, 1.0, 1)
        assert done["notes"][0].startswith("To measure, each example 3 times")
        held = [n for (_, q), n in model.asked.items() if q.startswith("held")]
        assert held == [3] * 6

    found: list[str] = []
    with StandIn(reply=model, faults=faults) as server:
        drive(first, served_by(server, tmp_path / "t.db"))
        faults.clear()
        drive(then, served_by(server, tmp_path / "t.db"))


@pytest.mark.requirement("repeats")
def test_a_budget_is_held_against_all_the_runs(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call)
        asked = {"session_id": s, "strategy": "gradient", "candidates": 1, "batch_size": 2}
        words = await call.refused("optimize", **asked, budget={"calls": 10})
        assert "takes about 14 calls" in words  # 2 x 4 + 2 + 2, feedback and a rewrite
        words = await call.refused("optimize", **asked, budget={"calls": 14}, repeats=3)
        assert "takes about 38 calls" in words  # 6 x 4 + 2 + 5 x 2 and the same
        done = await optimized(call, s, budget={"calls": 38}, repeats=3)
        assert done["accepted"] == 1
        assert done["calls"] <= 38

    with StandIn(reply=Wavering()) as server:
        drive(main, served_by(server, tmp_path / "t.db"))


@pytest.mark.requirement("repeats")
def test_a_step_through_the_gate_repeats_too_and_one_without_it_refuses(tmp_path: Path) -> None:
    model = Wavering()

    async def main(call: Tools) -> None:
        s = await ready(call, (1, 1, 2))
        await call("backward", session_id=s)
        words = await call.refused("step", session_id=s, repeats=3)
        assert "nothing is measured" in words
        done = await call("step", session_id=s, accept="if_better", repeats=3)
        assert (done["score_before"], done["score_after"]) == (pytest.approx(4 / 9), 1.0)
        assert done["notes"][0].startswith("To measure, each example 3 times")
        assert {n for (_, q), n in model.asked.items() if q.startswith("held")} == {3}

    with StandIn(reply=model) as server:
        drive(main, served_by(server, tmp_path / "t.db"))


@pytest.mark.requirement("repeats")
def test_texts_that_are_compared_two_by_two_are_compared_so_often(tmp_path: Path) -> None:
    model = Wavering()

    async def main(call: Tools) -> None:
        s = await ready(call, (0, 0), kind="judge", instruction=JUDGE, graded=False)
        model.judged.clear()
        done = await optimized(call, s, repeats=3)
        assert done["accepted"] == 0  # whichever comes first is preferred
        assert set(model.judged.values()) == {3}
        assert {n for (t, q), n in model.asked.items() if t == BETTER} == {3}

    with StandIn(reply=model) as server:
        drive(main, served_by(server, tmp_path / "t.db"))


@pytest.mark.requirement("repeats")
def test_where_nothing_can_differ_it_is_measured_once_and_said(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        made = await call("create_variable", role="text", value="a b c")
        s = made["session_id"]
        await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
        await call("add_examples", session_id=s, split="validation", examples=[{"a": "a"}] * 2)
        how = {"kind": "metric", "metric": "exact_match"}
        await call("compute_loss", session_id=s, inputs={"output": "v1", "answer": "v2"}, **how)
        found = await call("evaluate", session_id=s, repeats=3)
        assert found["notes"][0].startswith("Measured once, whatever repeats says")
        assert not any("differed" in n or "had the same" in n for n in found["notes"])

    with StandIn(reply=Wavering()) as server:
        drive(main, served_by(server, tmp_path / "t.db"))
        assert server.log == []


@pytest.mark.requirement("repeats")
def test_a_model_that_always_answers_alike_is_noticed(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call, (0, 3))
        found = await call("evaluate", session_id=s, repeats=3)
        assert "repeated runs had the same scores" in found["notes"][1]
        words = await call.refused("evaluate", session_id=s, votes=3, repeats=3)
        assert "Use one of them" in words

    with StandIn(reply=Wavering()) as server:
        drive(main, served_by(server, tmp_path / "t.db"))
