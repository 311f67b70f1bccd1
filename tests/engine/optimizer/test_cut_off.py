"""Answers that do not end within max_tokens: shown as far as they go, and counted as 0."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textgrad_mcp.engine.answerers import Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Purpose, Usage
from textgrad_mcp.schemas.errors import PromptRefused
from textgrad_mcp.schemas.results import EvaluateResult, OptimizeResult

from ...helpers import ME, Scripted, an_engine
from ..runs.test_reflect import texts

HALF = "Well, I think that"
WORDS = "It was cut off at the token limit, after 100 tokens, which counts as 0"


class Talker(Scripted):
    """Answers in capitals where its prompt says `short`, and without an end elsewhere; as a critic
    it writes `new`. A `thinker` ends while it thinks."""

    def __init__(self, *new: str, thinker: bool = False) -> None:
        super().__init__(self._critic)
        self.new, self.thinker = new, thinker

    def _critic(self, request: CompletionRequest) -> str:
        if request.purpose is Purpose.GRADIENT:
            return json.dumps(dict.fromkeys((request.reply or {})["properties"], "Be short."))
        return json.dumps(texts(*self.new))

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """Cut off, unless it was told to be short."""
        if request.purpose is not Purpose.FORWARD:
            return await super().answer(request, record, go)
        go()
        self.asked.append(request)
        if "short" in (request.system or ""):
            return Completion(text=request.prompt.upper())
        usage = Usage(completion_tokens=100)
        if self.thinker:
            return Completion(text="", reasoning=HALF, finish="length", usage=usage)
        return Completion(text=HALF, finish="length", usage=usage)

    def said(self, *purposes: Purpose) -> list[str]:
        """The requests of some purposes, as they were asked."""
        return [r.prompt for r in self.asked if r.purpose in purposes]


async def ready(engine: Engine, prompt: str, *, steps: int = 1) -> str:
    """A prompt v1 on questions v2 with answers v3, with so many steps; examples come last."""
    s = str((await engine.create_variable(ME, role="prompt", value=prompt)).session_id)
    for name, right in (("q", False), ("a", True)):
        await engine.create_variable(
            ME, role=name, example_field=name, reference=right, session_id=s
        )
    for n in range(steps):
        inputs = {"q": f"v{2 if n == 0 else 3 + n}"}
        await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs=inputs)
    inputs = {"output": f"v{3 + steps}", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="metric", metric="exact_match", inputs=inputs)
    for split, size in (("train", 12), ("validation", 8)):
        rows = [{"q": f"{split} {n}", "a": f"{split} {n}".upper()} for n in range(size)]
        await engine.add_examples(ME, session_id=s, split=split, examples=rows)
    return s


def run(
    model: Talker, main: Callable[[Engine, str], Awaitable[Any]], prompt: str, **how: Any
) -> Any:
    """What `main` gives of an engine whose roles this model plays."""

    async def inner() -> Any:
        async with an_engine(model) as engine:
            return await main(engine, await ready(engine, prompt, **how))

    return asyncio.run(inner())


async def optimized(engine: Engine, s: str, **how: Any) -> OptimizeResult:
    result = await engine.optimize(ME, session_id=s, steps=1, **how)
    assert isinstance(result, OptimizeResult)
    return result


@pytest.mark.requirement("cut-off")
@pytest.mark.parametrize("thinker", [False, True])
@pytest.mark.parametrize("strategy", ["reflect", "gradient"])
def test_the_critic_sees_what_was_cut_off_and_what_was_expected(
    strategy: str, thinker: bool
) -> None:
    model = Talker("Be short.", thinker=thinker)

    async def main(engine: Engine, s: str) -> OptimizeResult:
        return await optimized(engine, s, strategy=strategy)

    result = run(model, main, "Answer.")
    assert (result.accepted, result.score_before, result.score_after) == (1, 0, 1)
    purpose = Purpose.UPDATE if strategy == "reflect" else Purpose.GRADIENT
    asked = model.said(purpose)[0]
    assert WORDS in asked
    assert (HALF in asked) is not thinker
    assert "Expected: TRAIN" in asked
    forward = model.said(Purpose.FORWARD)
    assert not any("cut off" in prompt for prompt in forward)  # none is repaired
    program = [(r.system, r.prompt) for r in model.asked if r.purpose is Purpose.FORWARD]
    assert len(program) == len(set(program))


@pytest.mark.requirement("cut-off")
@pytest.mark.parametrize("strategy", ["reflect", "gradient"])
def test_a_text_whose_answers_do_not_end_is_refused_on_all_that_it_was_checked_on(
    strategy: str,
) -> None:
    model = Talker("Say all you know.")

    async def main(engine: Engine, s: str) -> OptimizeResult:
        row = {"q": "x", "a": "y"}
        await engine.add_examples(ME, session_id=s, split="train", examples=[row])
        await engine.add_examples(ME, session_id=s, split="validation", examples=[row])
        return await optimized(engine, s, strategy=strategy, batch_size=13, candidates=1)

    result = run(model, main, "Be short.")
    assert (result.accepted, result.score_before) == (0, result.score_after)
    [reason] = [p.reason for p in result.proposals]
    assert "were cut off at the token limit, which counts as 0" in reason


@pytest.mark.requirement("cut-off")
@pytest.mark.parametrize("strategy", ["reflect", "gradient"])
def test_steps_behind_an_answer_that_was_cut_off_are_not_asked(strategy: str) -> None:
    model = Talker("Be short.")

    async def main(engine: Engine, s: str) -> OptimizeResult:
        return await optimized(engine, s, strategy=strategy)

    result = run(model, main, "Answer.", steps=2)
    assert (result.accepted, result.score_after) == (1, 1)
    assert HALF not in model.said(Purpose.FORWARD)
    asked = model.said(Purpose.UPDATE if strategy == "reflect" else Purpose.GRADIENT)
    assert any(WORDS in prompt for prompt in asked)


@pytest.mark.requirement("cut-off")
def test_what_measures_counts_them_as_0_and_says_how_many() -> None:
    async def main(engine: Engine, s: str) -> EvaluateResult:
        found = await engine.evaluate(ME, session_id=s)
        assert isinstance(found, EvaluateResult)
        return found

    found = run(Talker(), main, "Answer.")
    assert (found.mean_score, found.examples) == (0, 8)
    assert "8 examples gave no usable reply, which counts as 0" in found.notes[0]
    assert "cut off at the token limit" in found.notes[0]


class Refuser(Talker):
    """Refuses the first five questions to validate on, and says nothing right unless told how."""

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """What the talker says, or a refusal."""
        if request.purpose is Purpose.FORWARD:
            go()
            if request.prompt in {f"validation {n}" for n in range(5)}:
                raise PromptRefused("The endpoint refuses this prompt.", "Change it.")
            if "short" not in (request.system or ""):
                return Completion(text="no")
        return await super().answer(request, record, go)


@pytest.mark.requirement("refused-examples")
def test_a_part_of_validation_of_which_all_is_refused_is_no_refusal_of_all() -> None:
    async def main(engine: Engine, s: str) -> OptimizeResult:
        rows = [{"q": f"validation {n}", "a": f"VALIDATION {n}"} for n in (8, 9)]
        await engine.add_examples(ME, session_id=s, split="validation", examples=rows)
        return await optimized(engine, s)

    result = run(Refuser("Be short."), main, "Answer.")
    assert (result.status, result.accepted, result.score_after) == ("done", 1, 0.5)
