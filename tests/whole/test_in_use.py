"""What is about part of the examples says of how many, and how all are used."""

from __future__ import annotations

from typing import Any

import pytest

from ..helpers import Facts, Tools, answered, assisted, drive

ROWS = [{"q": f"q{n}", "a": "yes" if n < 8 else "no"} for n in range(12)]


def reply(pending: Facts) -> Any:
    """Right on the first eight alone."""
    return {"v1": "Say no, too."} if pending["purpose"].startswith("gradient") else "yes"


async def built(call: Tools) -> str:
    """A prompt (v1) on fields q and a (v2, v3), answers (v4) and a loss (v5)."""
    s = str((await call("create_variable", role="prompt", value="Answer."))["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    await call("add_examples", session_id=s, split="train", examples=ROWS)
    asked = await call("forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    computed = await answered(call, asked, reply)
    assert computed["in_use"].startswith("8 of 12 training examples")
    return s


@pytest.mark.requirement("in-use")
def test_a_perfect_mean_of_part_of_the_examples_says_so() -> None:
    async def main(call: Tools) -> None:
        s = await built(call)
        loss = {"kind": "metric", "metric": "exact_match"}
        inputs = {"output": "v4", "answer": "v3"}
        scored = await call("compute_loss", session_id=s, inputs=inputs, **loss)
        assert scored["mean_score"] == 1.0
        assert scored["in_use"] == "8 of 12 training examples; examples='train' uses all"
        learnt = await call("backward", session_id=s)
        assert learnt["in_use"].startswith("8 of 12")
        assert "examples='train' uses all" in learnt["next"]
        view = (await call("inspect", session_id=s))["view"]
        assert view["in_use"] == "the first 8 of train; forward(examples='train') uses all 12"
        every = await answered(call, await call("backward", session_id=s, examples="train"), reply)
        assert every["mean_score"] == pytest.approx(8 / 12, abs=1e-4)
        assert "in_use" not in every
        assert every["gradients"]

    drive(main, assisted())


@pytest.mark.requirement("in-use")
def test_all_of_them_are_used_by_one_argument_and_nothing_is_said_then() -> None:
    async def main(call: Tools) -> None:
        s = await built(call)
        asked = await call("forward", session_id=s, examples="train")
        assert asked["pending_total"] == 4
        assert "in_use" not in await answered(call, asked, reply)

    drive(main, assisted())
