"""The first ten minutes: one call builds, splits and measures; the rest goes on from its ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..helpers import Facts, Tools, answered, assisted, drive, served_by
from ..standin import StandIn

LABELS = "ABC"
GOOD = "Answer with one letter: A, B or C. Nothing else."
ROWS = [{"ticket": f"case {n} is about {LABELS[n % 3]}", "code": LABELS[n % 3]} for n in range(30)]


def written(pending: Facts) -> Any:
    """What an assistant answers: right only under a prompt that asks for one letter."""
    match pending["purpose"].partition(":")[0]:
        case "update":
            return {"value": GOOD}
        case "gradient":
            return {"v1": "Name the letters."}
        case "judge":
            return {"feedback": "Too long.", "score": 0.5}
        case "external":
            return {"feedback": "2 of 4 tests fail.", "score": 0.5}
    return pending["prompt"][-1] if pending.get("system") == GOOD else "It depends."


@pytest.mark.requirement("one-call")
def test_one_call_builds_splits_and_measures_and_everything_goes_on_from_its_ids(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        begun = await call(
            "optimize_prompt", prompt="Sort the ticket.", examples=ROWS, metric="exact_match"
        )
        assert begun["status"] == "needs_completions"
        assert begun["pending_total"] == 12
        assert begun["splits"] == {"train": 12, "validation": 12, "test": 6}
        s, ids = begun["session_id"], begun["program"]
        assert ids == {
            "prompt": "v1",
            "ticket": "v2",
            "output": "v3",
            "answer": "v4",
            "loss": "v5",
        }
        assert "Split by seed 0, evenly by 'code'" in " ".join(begun["notes"])
        first = await answered(call, begun, written)
        assert (first["mean_score"], first["examples"]) == (0.0, 12)
        assert "There is 1.00 to gain, on 12 of 12 examples." in first["next"]
        assert "at most 56 calls a step" in first["next"]
        done = await answered(call, await call("optimize", session_id=s, steps=2), written)
        assert (done["score_before"], done["score_after"]) == (0.0, 1.0)
        assert done["calls"] <= 56
        again = await call("optimize", session_id=s, steps=2)
        assert (again["stopped"], again["calls"], again["steps"]) == ("goal", 0, 0)
        assert "proposals" not in again
        graph = await call("inspect", session_id=s, what="graph")
        assert len(graph["view"]["operations"]) == 2
        assert (await call("inspect", session_id=s, id="v1@2"))["view"]["text"] == GOOD
        gone = await call("revert", session_id=s, remove=[ids["loss"]], confirm=True)
        assert gone["status"] == "done"

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("one-call")
def test_with_steps_it_goes_on_to_optimise_without_another_call(tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> str:
        said = "\n".join(str(m["content"]) for m in request["messages"])
        if "Write the whole improved text" in said:
            return '{"value": "' + GOOD + '"}'
        if "Write feedback on" in said:
            return '{"v1": "Name the letters."}'
        return said[-1] if GOOD in said else "It depends."

    async def main(call: Tools) -> None:
        done = await call(
            "optimize_prompt",
            prompt="Sort the ticket.",
            examples=ROWS,
            metric="exact_match",
            steps=2,
        )
        assert (done["status"], done["score_before"], done["score_after"]) == ("done", 0.0, 1.0)
        assert done["program"]["prompt"] == "v1"

    with StandIn(reply=reply) as server:
        drive(main, served_by(server, tmp_path / "t.db"))


@pytest.mark.requirement("one-call")
def test_one_text_and_a_judge_need_no_examples(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        begun = await call("optimize_prompt", prompt="Dear all, ...", judge="Is it short?", steps=2)
        assert begun["program"] == {"prompt": "v1", "loss": "v2"}
        assert "optimize(session_id" in begun["notes"][0]
        first = await answered(call, begun, written)
        assert first["mean_score"] == 0.5
        assert "backward" in first["next"]
        assert "validation examples" not in first["next"]
        done = await call("backward", session_id=begun["session_id"])
        assert done["status"] == "done"

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("one-call")
def test_code_is_measured_by_whoever_runs_its_tests(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        begun = await call(
            "optimize_prompt", prompt="def f(): pass", tests="run pytest", context="f gives 1."
        )
        [asked] = begun["pending"]
        assert "run pytest" in asked["prompt"]
        assert "def f(): pass" in asked["prompt"]
        first = await answered(call, begun, written)
        assert first["values"][0]["text"] == "2 of 4 tests fail."

    drive(main, assisted(tmp_path / "t.db"))


def test_a_perfect_start_says_that_nothing_can_be_gained(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        begun = await call("optimize_prompt", prompt=GOOD, examples=ROWS, metric="exact_match")
        first = await answered(call, begun, written)
        assert first["mean_score"] == 1.0
        assert "no step can be accepted" in first["next"]
        assert "add harder ones" in first["next"]

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Give one of metric"),
        ({"metric": "exact_match", "judge": "Good?"}, "Give one of metric"),
        ({"metric": "exact"}, "Did you mean exact_match"),
        ({"metric": "exact_match"}, "none was given"),
        ({"metric": "exact_match", "examples": [{"a": "1", "b": "2", "c": "3"}]}, "Which field"),
        ({"metric": "exact_match", "examples": [{"q": "1", "answer": "2"}]}, "cannot be split"),
        ({"metric": "regex", "options": {"pattern": "("}, "examples": ROWS}, "pattern"),
        ({"evaluator": "dock", "examples": ROWS}, "no evaluator 'dock'"),
        ({"judge": "Good?", "answer": "x"}, "Give examples"),
        ({"judge": "Good?", "steps": -1}, "between 0 and 1000"),
        ({"metric": "exact_match", "examples": ROWS, "context": "x"}, "no place for context"),
        ({"judge": "Good?", "score": 0.5}, "what tests have found"),
        ({"judge": "Good?", "constraints": ["max_chars=many"]}, "max_chars"),
        ({"judge": "Good?", "prompt": None}, "no text to improve"),
    ],
)
def test_what_cannot_begin_leaves_no_session_behind(
    tmp_path: Path, given: Facts, words: str
) -> None:
    async def main(call: Tools) -> None:
        said = await call.refused("optimize_prompt", **({"prompt": "Sort the ticket."} | given))
        assert words in said
        assert (await call("inspect")).get("view") in (None, {}, {"sessions": []})

    drive(main, assisted(tmp_path / "t.db"))


def test_several_fields_each_have_their_place_in_the_message(tmp_path: Path) -> None:
    rows = [
        {"the question": f"q{n}", "output": f"o{n}", "label": "yes" if n % 2 else "no"}
        for n in range(12)
    ]

    async def main(call: Tools) -> None:
        fields = ["the question", "output"]
        given = {"examples": rows, "fields": fields, "judge": "Right?", "role": "a prompt"}
        begun = await call("optimize_prompt", prompt="Say.", **given)
        assert set(begun["program"]) == {
            "prompt",
            "the_question",
            "output_2",
            "output",
            "answer",
            "loss",
        }
        assert begun["pending"][0]["prompt"].startswith("the_question: q")

    drive(main, assisted(tmp_path / "t.db"))


def test_the_tool_is_the_first_that_is_listed(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        listed = (await call.client.list_tools()).tools
        assert listed[0].name == "optimize_prompt"

    drive(main, assisted(tmp_path / "t.db"))


def test_a_log_of_conversations_begins_with_the_prompt_it_was_held_under(tmp_path: Path) -> None:
    said = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Where is my parcel?"},
        {"role": "assistant", "content": "An old answer."},
    ]
    lines = [
        json.dumps({"messages": [said[0], said[1] | {"content": f"Question {n}?"}, said[2]]})
        for n in range(12)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))

    async def main(call: Tools) -> None:
        begun = await call("optimize_prompt", path="log.jsonl", judge="Does it help?")
        assert {p["system"] for p in begun["pending"]} == {"Be kind."}
        assert "An old answer." not in str(begun["pending"])
        assert any("The prompt was taken from the field 'system'" in n for n in begun["notes"])
        assert not any("create_variable" in n for n in begun["notes"]), "it is taken already"

    drive(main, assisted(tmp_path / "t.db", data_dir=tmp_path))
