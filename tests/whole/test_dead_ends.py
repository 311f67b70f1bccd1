"""Where an assistant used to get stuck: the second round, what was not told, what was dropped."""

from __future__ import annotations

from typing import Any

import pytest

from ..helpers import Facts, Tools, answered, assisted, drive

CODE = "def f(x):\n    return x"
TASK = "Write f(x), which doubles x. " + "It has to work for every number. " * 100
LOSS = {"kind": "feedback", "inputs": {"code": "v1"}}


async def code(call: Tools) -> str:
    """A session with a piece of code, v1."""
    made = await call("create_variable", role="a Python function", value=CODE)
    return str(made["session_id"])


async def stepped(call: Tools, s: str, text: str) -> Facts:
    """A step that installs `text`."""
    asked = await call("step", session_id=s)
    return await answered(call, asked, lambda _: {"value": text})


@pytest.mark.requirement("measured-again")
@pytest.mark.parametrize("how", [{}, {"instruction": "run pytest"}])
def test_code_is_repaired_in_round_two_and_three_with_one_loss(how: Facts) -> None:
    async def main(call: Tools) -> None:
        s = await code(call)
        for n, score in enumerate((0.25, 0.5, 0.75)):
            told = LOSS | how | {"feedback": f"failure {n}", "score": score}
            found = await call("compute_loss", session_id=s, **told)
            assert (found["loss"], found["mean_score"]) == ("v2", score)
            back = await call("backward", session_id=s)
            assert [g["text"] for g in back["gradients"]] == [f"failure {n}"]
            assert back["mean_score"] == score
            await stepped(call, s, f"{CODE} * {n}")
        done = await call("compute_loss", session_id=s, **LOSS, feedback="All pass.", score=1)
        assert "nothing left to gain" in done["next"]
        kinds = [op["kind"] for op in await operations(call, s)]
        assert kinds == ["feedback"]

    drive(main, assisted())


@pytest.mark.requirement("measured-again")
def test_what_is_told_after_the_gate_has_measured_is_no_second_loss() -> None:
    found = {"feedback": "All pass.", "score": 1.0}

    def reply(one: Facts) -> Facts:
        return {"value": f"{CODE} * 2"} if one["purpose"].startswith("update") else found

    async def main(call: Tools) -> None:
        s = await code(call)
        told = LOSS | {"instruction": "run pytest", "feedback": "1 fails.", "score": 0.5}
        await call("compute_loss", session_id=s, **told)
        await call("backward", session_id=s)
        asked = await call("step", session_id=s, accept="if_better")
        assert (await answered(call, asked, reply))["accepted"]
        again = await call("compute_loss", session_id=s, **LOSS, feedback="All pass.", score=1)
        assert (again["loss"], again["mean_score"]) == ("v2", 1.0)
        assert len(await operations(call, s)) == 1

    drive(main, assisted())


async def operations(call: Tools, s: str) -> list[Facts]:
    """The operations of a session."""
    graph = await call("inspect", session_id=s, what="graph")
    return list(graph["view"]["operations"])


@pytest.mark.requirement("measured-again")
def test_a_judge_that_is_made_again_after_a_step_is_no_second_opinion() -> None:
    async def main(call: Tools) -> None:
        s = await code(call)
        judge = {"kind": "judge", "inputs": {"code": "v1"}, "instruction": "Right?"}
        criticised: dict[str, Any] = {"feedback": "It does not double.", "score": 0.5}
        for text in (f"{CODE} * 2", f"{CODE} + x"):
            asked = await call("compute_loss", session_id=s, **judge)
            assert asked["loss"] == "v2"
            await answered(call, asked, lambda _: criticised)
            back = await call("backward", session_id=s)
            assert len(back["gradients"]) == 1
            await stepped(call, s, text)
        another = judge | {"instruction": "Is it short?"}
        await answered(
            call, await call("compute_loss", session_id=s, **another), lambda _: criticised
        )
        assert "several losses (v2, v3)" in await call.refused("backward", session_id=s)

    drive(main, assisted())


@pytest.mark.requirement("told")
def test_a_measurement_that_was_not_told_is_asked_for() -> None:
    async def main(call: Tools) -> None:
        s = await code(call)
        words = await call.refused("compute_loss", session_id=s, **LOSS)
        assert "instruction alone" in words
        words = await call.refused("compute_loss", session_id=s, **LOSS, instruction="x", score=1)
        assert "needs feedback" in words
        asked = await call("compute_loss", session_id=s, **LOSS, instruction="run pytest")
        [pending] = asked["pending"]
        assert "How: run pytest" in pending["prompt"]
        found = {"feedback": "1 of 2 fails.", "score": 0.5}
        done = await answered(call, asked, lambda _: found)
        assert done["mean_score"] == 0.5
        await call("backward", session_id=s)
        await stepped(call, s, f"{CODE} * 2")
        again = await call("forward", session_id=s)
        assert "How: run pytest" in again["pending"][0]["prompt"]

    drive(main, assisted())


@pytest.mark.requirement("beside")
def test_whoever_rewrites_sees_the_task_at_any_length_and_no_right_answer() -> None:
    async def main(call: Tools) -> None:
        s = await code(call)
        constant = {"session_id": s, "requires_grad": False}
        await call("create_variable", **constant, role="the task", value=TASK)
        await call("create_variable", **constant, role="solution", value="SOLVED", reference=True)
        await call("create_variable", **constant, role="another", value="BY NAME")
        inputs = {"code": "v1", "task": "v2", "model": "v3", "answer": "v4"}
        told = {"kind": "feedback", "inputs": inputs, "feedback": "No.", "score": 0}
        await call("compute_loss", session_id=s, **told)
        await call("backward", session_id=s)
        [pending] = (await call("step", session_id=s))["pending"]
        assert TASK in pending["prompt"]
        assert "What is given beside the text" in pending["prompt"]
        assert "SOLVED" not in pending["prompt"]
        assert "BY NAME" not in pending["prompt"]

    drive(main, assisted())


def test_the_texts_of_a_cancelled_step_are_still_listed() -> None:
    async def main(call: Tools) -> None:
        s = await code(call)
        await call("compute_loss", session_id=s, **LOSS, feedback="No.", score=0)
        await call("backward", session_id=s)
        asked = await call("step", session_id=s, accept="if_better", candidates=2)
        given = {p["id"]: {"value": f"{CODE} * {n}"} for n, p in enumerate(asked["pending"])}
        measured = await call("resume", session_id=s, completions=given)
        assert measured["pending"][0]["purpose"].startswith("external")
        dropped = await call("resume", session_id=s, cancel=True)
        ids = [p["id"] for p in asked["pending"]]
        assert ", ".join(ids) in dropped["notes"][0]
        listed = (await call("inspect", session_id=s, what="steps"))["view"]["unfinished"]
        assert [one["text"] for one in listed] == [f"{CODE} * 1", f"{CODE} * 0"]
        assert [one["call"] for one in listed] == ids[::-1]
        again = await call("step", session_id=s, accept="if_better", candidates=2)
        assert again["pending"][0]["purpose"].startswith("external")

    drive(main, assisted())


def test_what_nobody_counted_is_not_called_nothing() -> None:
    async def main(call: Tools) -> None:
        s = await code(call)
        assert (await call("inspect", session_id=s))["view"]["total"]["tokens"] == 0
        judge = {"kind": "judge", "inputs": {"code": "v1"}, "instruction": "Right?"}

        def reply(pending: Facts) -> Any:
            update = pending["purpose"].startswith("update")
            return {"value": f"{CODE} * 2"} if update else {"feedback": "No.", "score": 0.5}

        await answered(call, await call("compute_loss", session_id=s, **judge), reply)
        done = await answered(call, await call("optimize", session_id=s, steps=1), reply)
        assert "tokens" not in done
        assert "not counted: the assistant answers" in done["notes"][-1]
        for what in ("session", "report"):
            view = (await call("inspect", session_id=s, what=what))["view"]
            spent = view.get("total") or view["price"]
            assert spent["tokens"] == spent["cost"] == "not counted: the assistant answers"
            assert spent["calls"] > 0

    drive(main, assisted())


def test_what_still_fails_is_said_by_number() -> None:
    rows = [{"q": f"q{n}", "a": "yes" if n % 2 else "no"} for n in range(6)]

    def reply(pending: Facts) -> Any:
        match pending["purpose"].partition(":")[0]:
            case "update":
                return {"value": "Answer yes."}
            case "gradient":
                return {"v1": "Be definite."}
        return "yes"

    async def main(call: Tools) -> None:
        begun = await call(
            "optimize_prompt", prompt="Answer.", examples=rows, metric="exact_match", answer="a"
        )
        await answered(call, begun, reply)
        s = begun["session_id"]
        done = await answered(call, await call("optimize", session_id=s, steps=1), reply)
        failing = [n for n in done["notes"] if n.startswith("Still below 1")]
        assert "of 3 validation examples (e" in failing[0]

    drive(main, assisted())
