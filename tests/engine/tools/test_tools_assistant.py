"""Assistant mode through the real server in memory: every completion comes in by resume."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from ...helpers import Facts, Tools, answered, assisted, drive

SUMS = {"1+1?": "2", "2+2?": "4", "3+1?": "4", "2+5?": "7", "4+5?": "9"}
TRAIN = ["1+1?", "2+2?"]
VALIDATION = ["3+1?", "2+5?", "4+5?"]


def rows(questions: list[str]) -> list[dict[str, str]]:
    """Examples of sums."""
    return [{"question": q, "answer": SUMS[q]} for q in questions]


async def sums(call: Tools, train: list[str] = TRAIN) -> str:
    """A session with a prompt v1, fields v2 and v3, the answer v4; gives its id."""
    s = (await call("create_variable", role="system prompt", value="Be kind."))["session_id"]
    field = {"session_id": s, "role": "a field"}
    await call("create_variable", **field, example_field="question")
    await call("create_variable", **field, example_field="answer", reference=True)
    await call("forward", session_id=s, operation="llm", system="v1", inputs={"question": "v2"})
    if train:
        await call("add_examples", session_id=s, split="train", examples=rows(train))
    await call("add_examples", session_id=s, split="validation", examples=rows(VALIDATION))
    return str(s)


def assistant(pending: Facts) -> Any:
    """An assistant that plays every part by simple rules."""
    if pending["purpose"].startswith("forward"):
        return SUMS[pending["prompt"]] if "digits" in pending["system"] else "I would say two."
    if pending["purpose"].startswith("gradient"):
        return {"v1": "Ask for digits only."}
    if pending["purpose"].startswith("update"):
        return {"value": "Answer with digits only."}
    return {"feedback": "Not a number.", "score": 0.25}


EXACT = {"kind": "metric", "metric": "exact_match", "inputs": {"output": "v4", "answer": "v3"}}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_an_assistant_gets_from_a_first_prompt_to_a_better_one(
    mode: Literal["legacy", "auto"],
) -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        first = await call("forward", session_id=s)
        assert [p["prompt"] for p in first["pending"]] == TRAIN
        assert {p["system"] for p in first["pending"]} == {"Be kind."}
        await answered(call, first, assistant)
        loss = await call("compute_loss", session_id=s, **EXACT)
        assert loss["mean_score"] == 0
        back = await answered(call, await call("backward", session_id=s), assistant)
        assert [g["text"] for g in back["gradients"]] == ["Ask for digits only."]
        assert back["gradients"][0]["examples"] == ["e1", "e2"]
        stepped = await call("step", session_id=s, accept="if_better")
        stepped = await answered(call, stepped, assistant)
        assert stepped["accepted"] is True
        assert (stepped["score_before"], stepped["score_after"]) == (0, 1)
        again = await answered(call, await call("forward", session_id=s), assistant)
        assert again["mean_score"] == 1
        scored = await answered(call, await call("evaluate", session_id=s), assistant)
        assert scored["mean_score"] == 1
        assert "failures" not in scored

    drive(main, assisted(), mode)


def test_completions_may_come_one_at_a_time() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        result = await call("forward", session_id=s)
        for left in (2, 1):
            assert result["pending_total"] == left
            one = result["pending"][0]
            result = await call("resume", session_id=s, completions={one["id"]: "x"})
        assert result["status"] == "done"
        assert [v["text"] for v in result["values"]] == ["x", "x"]

    drive(main, assisted())


def test_the_same_call_again_goes_on_with_its_run_and_asks_the_same() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        first = await call("forward", session_id=s)
        assert await call("forward", session_id=s) == first
        assert await call("resume", session_id=s) == first

    drive(main, assisted())


@pytest.mark.requirement("one-run")
def test_the_same_call_made_many_times_at_once_is_one_run() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        same = await asyncio.gather(*(call("forward", session_id=s) for _ in range(8)))
        assert all(result == same[0] for result in same)
        runs = await call("inspect", session_id=s, what="runs")
        assert [r["id"] for r in runs["view"]["runs"]] == ["r1"]

    drive(main, assisted())


@pytest.mark.requirement("one-run")
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("backward", {"losses": ["v5"]}),
        ("evaluate", {"loss": "v5"}),
        ("revert", {"variable": "v1", "version": 1}),
        ("add_examples", {"split": "train", "examples": [{"question": "?", "answer": "!"}]}),
        ("compute_loss", EXACT),
        ("forward", {"operation": "format", "template": "{q}", "inputs": {"q": "v2"}}),
    ],
)
def test_a_second_run_is_told_which_one_is_first_and_how_to_go_on(
    tool: str, arguments: Facts
) -> None:
    async def main(call: Tools) -> None:
        s = await sums(call, train=[])
        await call("compute_loss", session_id=s, **EXACT)
        await call("add_examples", session_id=s, split="train", examples=rows(TRAIN))
        await call("forward", session_id=s)
        words = await call.refused(tool, session_id=s, **arguments)
        assert "Run r1 (forward) is waiting" in words
        assert f"resume(session_id='{s}')" in words
        assert "cancel=true" in words

    drive(main, assisted())


@pytest.mark.requirement("free-loop")
def test_sessions_do_not_wait_for_each_other() -> None:
    async def main(call: Tools) -> None:
        one, two = await sums(call), await sums(call)
        await call("forward", session_id=one)
        assert (await call("forward", session_id=two))["pending_total"] == 2

    drive(main, assisted())


@pytest.mark.requirement("cancelled")
def test_a_cancelled_run_ends_and_what_was_answered_is_kept() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        first = await call("forward", session_id=s)
        await call("resume", session_id=s, completions={first["pending"][0]["id"]: "kept"})
        cancelled = await call("resume", session_id=s, cancel=True)
        assert "r1 (forward) was cancelled" in cancelled["next"]
        assert "was cancelled" in await call.refused("resume", session_id=s)
        again = await call("forward", session_id=s)
        assert [p["prompt"] for p in again["pending"]] == [TRAIN[1]]
        done = await answered(call, again, assistant)
        assert done["status"] == "done"

    drive(main, assisted())


def test_cancelling_twice_says_that_it_had_ended() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        await call("forward", session_id=s)
        await call("resume", session_id=s, cancel=True)
        assert "had ended" in (await call("resume", session_id=s, cancel=True))["next"]

    drive(main, assisted())


def test_resume_without_anything_to_resume_says_so() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        assert "nothing to resume" in await call.refused("resume", session_id=s)

    drive(main, assisted())


def test_resume_after_the_end_gives_the_result_again() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        done = await answered(call, await call("forward", session_id=s), assistant)
        again = await call("resume", session_id=s)
        assert "had ended already" in again.pop("notes")[0]
        assert again == done

    drive(main, assisted())


def test_good_completions_are_taken_even_beside_unknown_ids() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        pending = (await call("forward", session_id=s))["pending"]
        given = {pending[0]["id"]: "4", "c99": "5"}
        words = await call.refused("resume", session_id=s, completions=given)
        assert "c99" in words
        assert "1 other" in words
        assert (await call("resume", session_id=s))["pending_total"] == 1

    drive(main, assisted())


def test_a_second_answer_to_the_same_prompt_does_not_replace_the_first() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        one, two = (p["id"] for p in (await call("forward", session_id=s))["pending"])
        await call("resume", session_id=s, completions={one: "first"})
        done = await call("resume", session_id=s, completions={one: "second", two: "x"})
        assert "the first answer stands" in done["notes"][0]
        assert [v["text"] for v in done["values"]] == ["first", "x"]

    drive(main, assisted())


@pytest.mark.requirement("no-bad-values")
@pytest.mark.parametrize("completion", ["", "   \n", '{"v1": ""', "[]", {"v2": "x"}, {"v1": 3}])
def test_a_completion_in_the_wrong_form_is_asked_for_again_then_refused(completion: Any) -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        await answered(call, await call("forward", session_id=s), assistant)
        await call("compute_loss", session_id=s, **EXACT)
        asked = await call("backward", session_id=s)
        [wrong] = asked["pending"]
        repair = await call("resume", session_id=s, completions={wrong["id"]: completion})
        [again] = repair["pending"]
        assert "could not be used" in again["prompt"]
        assert wrong["prompt"] in again["prompt"]
        given = {again["id"]: completion}
        words = await call.refused("resume", session_id=s, completions=given)
        assert "neither could its repair" in words
        assert f"resume(session_id='{s}')" in words
        afresh = await call("resume", session_id=s)
        assert [p["prompt"] for p in afresh["pending"]] == [wrong["prompt"]]
        done = await answered(call, afresh, assistant)
        assert done["gradients"][0]["text"] == "Ask for digits only."

    drive(main, assisted())


@pytest.mark.requirement("no-bad-values")
def test_an_empty_forward_completion_never_becomes_a_value() -> None:
    async def main(call: Tools) -> None:
        s = await sums(call, train=TRAIN[:1])
        first = await call("forward", session_id=s)
        repair = await call("resume", session_id=s, completions={first["pending"][0]["id"]: ""})
        assert repair["status"] == "needs_completions"
        view = await call("inspect", session_id=s, id="v4")
        assert "no value" in view["next"]

    drive(main, assisted())


@pytest.mark.requirement("references-hidden")
def test_the_reference_is_in_no_forward_prompt() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="p", value="P"))["session_id"]
        await call("create_variable", session_id=s, role="a", value="SECRET", reference=True)
        for operation in ("llm", "external"):
            extra = {"function": "f"} if operation == "external" else {}
            words = await call.refused(
                "forward", session_id=s, operation=operation, inputs={"x": "v2"}, **extra
            )
            assert "v2" in words
            assert "must never see" in words
        words = await call.refused(
            "forward", session_id=s, operation="llm", system="v2", inputs={"x": "v1"}
        )
        assert "must never see" in words

    drive(main, assisted())


@pytest.mark.requirement("references-hidden")
def test_what_is_made_from_a_reference_is_kept_out_of_forward_prompts_too() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="p", value="P"))["session_id"]
        await call("create_variable", session_id=s, role="a", value="SECRET", reference=True)
        boxed = await call(
            "forward",
            session_id=s,
            operation="format",
            template="the answer is {a}",
            inputs={"a": "v2"},
        )
        words = await call.refused(
            "forward", session_id=s, operation="llm", inputs={"x": boxed["variable"]}
        )
        assert "must never see" in words

    drive(main, assisted())
