"""How many calls a step makes, how large their prompts get, and in which order they are asked."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose

from ...helpers import ME, Scripted, an_engine, made, plain_reply

pytestmark = pytest.mark.each_store

GROUP = 8
JUDGE = "Is the reply right, short and polite?"


async def _program(engine: Engine, size: int, *, loss: str = "judge", stages: int = 1) -> str:
    """A session with a prompt for each stage, a loss and `size` training examples."""
    s = (await engine.create_variable(ME, role="a prompt", value="Be brief.")).session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    prompts = ["v1"]
    for _ in range(stages - 1):
        more = await engine.create_variable(ME, session_id=s, role="a prompt", value="Check it.")
        prompts.append(made(more))
    output = "v2"
    for prompt in prompts:
        inputs = {"text": output}
        result = await engine.forward(
            ME, session_id=s, operation="llm", system=prompt, inputs=inputs
        )
        output = made(result)
    if loss == "metric":
        inputs = {"output": output, "answer": "v3"}
        await engine.compute_loss(
            ME, session_id=s, kind="metric", metric="exact_match", inputs=inputs
        )
    else:
        inputs = {"reply": output}
        await engine.compute_loss(ME, session_id=s, kind="judge", instruction=JUDGE, inputs=inputs)
    rows = [{"q": f"question {n}", "a": f"answer {n}"} for n in range(size)]
    await engine.add_examples(ME, session_id=s, split="train", examples=rows)
    return s


async def _one_step(engine: Engine, s: str, *, exact: bool = False) -> None:
    await engine.backward(ME, session_id=s, examples="train", exact=exact)
    await engine.step(ME, session_id=s)


def _asked(
    size: int,
    *,
    loss: str = "judge",
    stages: int = 1,
    exact: bool = False,
    reply: str = "",
    **changes: Any,
) -> list[CompletionRequest]:
    """The requests of one step; `reply` lengthens every feedback."""

    def longer(request: CompletionRequest) -> str:
        said = plain_reply(request)
        return said.replace("could be better", f"could be better {reply}") if reply else said

    async def main() -> list[CompletionRequest]:
        answerer = Scripted(longer)
        async with an_engine(answerer, **changes) as engine:
            s = await _program(engine, size, loss=loss, stages=stages)
            await _one_step(engine, s, exact=exact)
        return answerer.asked

    return asyncio.run(main())


def _by_purpose(asked: list[CompletionRequest]) -> dict[str, int]:
    return dict(Counter(request.purpose.value for request in asked))


def _chars(request: CompletionRequest) -> int:
    return sum(len(message.content) for message in request.messages)


@pytest.mark.requirement("shared-calls")
@pytest.mark.parametrize("size", [1, 4, 8, 9, 16, 64])
def test_a_step_with_a_judge_asks_twice_for_each_example_and_once_for_each_group(
    size: int,
) -> None:
    groups = -(-size // GROUP)
    assert _by_purpose(_asked(size)) == {
        "forward": size,
        "judge": size,
        "gradient": groups,
        "update": 1,
    }


@pytest.mark.parametrize("size", [1, 4, 16, 64])
def test_a_step_with_a_metric_asks_once_for_each_example_and_group(size: int) -> None:
    groups = -(-size // GROUP)
    found = _by_purpose(_asked(size, loss="metric"))
    assert found == {"forward": size, "gradient": groups, "update": 1}


@pytest.mark.parametrize("size", [1, 4, 16])
def test_two_stages_share_the_calls_of_each(size: int) -> None:
    groups = -(-size // GROUP)
    assert _by_purpose(_asked(size, stages=2)) == {
        "forward": 2 * size,
        "judge": size,
        "gradient": 2 * groups,
        "update": 2,
    }


@pytest.mark.requirement("shared-calls")
@pytest.mark.parametrize(
    ("loss", "stages", "theirs"),
    [("judge", 1, (4, 1)), ("metric", 1, (3, 1)), ("judge", 2, (7, 2))],
)
@pytest.mark.parametrize("size", [1, 4, 16, 64])
def test_exact_mode_asks_as_often_as_the_paper_and_the_usual_mode_less(
    loss: str, stages: int, theirs: tuple[int, int], size: int
) -> None:
    paper = theirs[0] * size + theirs[1]
    assert len(_asked(size, loss=loss, stages=stages, exact=True)) <= paper
    assert len(_asked(size, loss=loss, stages=stages)) < paper


@pytest.mark.requirement("asked-once")
def test_what_was_asked_is_not_asked_again() -> None:
    async def main() -> None:
        answerer = Scripted()
        async with an_engine(answerer) as engine:
            s = await _program(engine, 16)
            await engine.backward(ME, session_id=s, examples="train")
            before = len(answerer.asked)
            await engine.backward(ME, session_id=s, examples="train")
            await engine.forward(ME, session_id=s)
            assert len(answerer.asked) == before
            assert len({request.key for request in answerer.asked}) == before

    asyncio.run(main())


@pytest.mark.requirement("bounded-prompts")
@pytest.mark.parametrize("tokens", [1000, 6000])
@pytest.mark.parametrize("size", [16, 64])
def test_no_prompt_grows_beyond_the_budget_whatever_the_number_of_examples(
    size: int, tokens: int
) -> None:
    asked = _asked(size, reply="because of this and that, " * 40, prompt_budget=tokens)
    written = [r for r in asked if r.purpose not in (Purpose.FORWARD, Purpose.JUDGE)]
    instructions = 3000  # ours, around the material
    assert max(map(_chars, written)) <= 4 * tokens + instructions


def test_the_feedback_on_every_example_is_in_some_prompt() -> None:
    asked = _asked(64)
    judged = [plain_reply(r) for r in asked if r.purpose is Purpose.JUDGE]
    gradients = "".join(r.prompt for r in asked if r.purpose is Purpose.GRADIENT)
    said = [text.split('"feedback": "')[1].split('"')[0] for text in judged]
    assert all(feedback in gradients for feedback in said)
    [update] = [r for r in asked if r.purpose is Purpose.UPDATE]
    groups = [json.loads(plain_reply(r)) for r in asked if r.purpose is Purpose.GRADIENT]
    assert all(group["v1"] in update.prompt for group in groups)


def test_prompts_of_one_kind_share_their_beginning() -> None:
    """So that an endpoint's prompt cache hits: what differs comes last."""
    asked = _asked(16)
    for purpose in (Purpose.JUDGE, Purpose.GRADIENT):
        systems = {r.system for r in asked if r.purpose is purpose}
        assert len(systems) == 1
    prompts = [r.prompt for r in asked if r.purpose is Purpose.JUDGE]
    assert all(prompt.startswith(f"Instruction: {JUDGE}") for prompt in prompts)


@pytest.mark.requirement("repeatable")
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 20), st.integers(1, 6))
def test_the_same_step_asks_the_same_questions_in_the_same_order(size: int, group: int) -> None:
    first = [r.key for r in _asked(size, group_size=group)]
    assert first == [r.key for r in _asked(size, group_size=group)]
    assert len(first) == 2 * size + -(-size // group) + 1


@pytest.mark.requirement("shared-commits")
def test_a_step_writes_to_the_disk_once_for_what_comes_back_together(tmp_path: Path) -> None:
    commits: list[str] = []

    async def main() -> int:
        async with an_engine(Scripted(), tmp_path / "t.db", fault=commits.append) as engine:
            s = await _program(engine, 64)
            before = commits.count("after commit")
            await _one_step(engine, s)
            return commits.count("after commit") - before

    assert asyncio.run(main()) < 40  # for 137 calls
