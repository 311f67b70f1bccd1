"""The loop: it stops for a reason, survives a kill, and does what the single tools do."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.results import EvaluateResult, OptimizeResult, Result, StepResult
from textgrad_mcp.server.protocol.report_markdown import report

from ...helpers import ME, Scripted, an_engine

WORDS = ["digits", "exactly", "nothing else", "politely", "in French"]


def sums(request: CompletionRequest) -> str:
    """A model whose sums get better the more of the right words its prompt has."""
    if request.purpose is Purpose.GRADIENT:
        return '{"v1": "Ask for more precision."}'
    if request.purpose is Purpose.UPDATE:
        draw = random.Random(request.key)
        chosen = draw.sample(WORDS, draw.randrange(1, 4))
        return f'{{"value": "Answer {", ".join(chosen)}."}}'
    a, b = request.prompt.removesuffix("?").split("+")
    known = sum(word in (request.system or "") for word in WORDS[:3])
    right = (int(a) * 7 + int(b)) % 3 < known
    return str(int(a) + int(b)) if right else "I wonder."


async def program(engine: Engine, validation: int = 8) -> str:
    """A prompt, 12 training and 8 validation sums, exact match."""
    made = await engine.create_variable(ME, role="system prompt", value="Answer.")
    s = str(made.session_id)
    await engine.create_variable(ME, role="q", example_field="q", session_id=s)
    await engine.create_variable(ME, role="a", example_field="a", reference=True, session_id=s)
    draw = random.Random(1)
    for split, size in (("train", 12), ("validation", validation)):
        pairs = [(draw.randrange(100), draw.randrange(100)) for _ in range(size)]
        rows = [{"q": f"{a}+{b}?", "a": str(a + b)} for a, b in pairs]
        await engine.add_examples(ME, session_id=s, split=split, examples=rows)
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    inputs = {"output": "v4", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="metric", metric="exact_match", inputs=inputs)
    return s


async def optimize(engine: Engine, s: str, **arguments: Any) -> OptimizeResult:
    result: Result = await engine.optimize(ME, session_id=s, strategy="gradient", **arguments)
    assert isinstance(result, OptimizeResult)
    return result


async def text(engine: Engine, s: str) -> str:
    session = await engine.store.sessions.get(s, "local")
    return str((await engine.store.graph.variables(session.pk, ["v1"]))["v1"].value)


def test_the_score_rises_and_the_report_says_by_which_rule() -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            result = await optimize(engine, s, steps=8)
            assert (result.score_after or 0) > (result.score_before or 0)
            assert result.accepted >= 1
            accepted = [p for p in result.proposals if p.verdict == "accepted"]
            assert all("standard error" in p.reason and "p = " in p.reason for p in accepted)
            view = (await engine.inspect(ME, session_id=s, what="report")).view
            assert view["proposals"]["accepted"] == result.accepted
            assert view["gated"]["after"] == pytest.approx(result.score_after, abs=1e-3)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"steps": 50, "goal": 0.3}, "goal"),
        ({"steps": 2, "goal": 1.0, "patience": 50}, "steps"),
        ({"steps": 50, "patience": 1, "candidates": 1, "seed": 3}, "patience"),
        ({"steps": 50, "patience": 50, "budget": {"calls": 60}}, "budget"),
    ],
)
def test_it_stops_for_the_reason_it_was_given(arguments: dict[str, Any], why: str) -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            result = await optimize(engine, s, **arguments)
            assert result.stopped == why
            most = arguments.get("budget", {}).get("calls")
            assert most is None or result.calls <= most

    asyncio.run(main())


def test_a_budget_too_small_for_one_gated_step_is_refused_with_a_sensible_one() -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            asked = len(answerer(engine).asked)
            with pytest.raises(Exception, match=r"budget=\{'calls': \d+\}"):
                await optimize(engine, s, budget={"calls": 5})
            assert len(answerer(engine).asked) == asked

    asyncio.run(main())


def test_whoever_watches_is_told_the_running_score() -> None:
    async def main() -> None:
        told: list[str] = []
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            watcher = Caller(on_progress=lambda done, asked, phase: told.append(phase))
            result = await engine.optimize(watcher, session_id=s, strategy="gradient", steps=4)
        assert isinstance(result, OptimizeResult)
        assert result.accepted
        assert told[0] == "scoring the start"
        assert "step 1, score 0.00 -> 0.00 so far; proposing" in told
        assert any(re.match(r"step [2-4], score 0.00 -> 0.[1-9]", phase) for phase in told)

    asyncio.run(main())


def test_the_printed_report_has_scores_with_errors_and_the_lineage() -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            result = await optimize(engine, s, steps=4)
            shown = await report(engine.store, await engine.store.sessions.get(s, "local"))
        assert re.search(
            r"\| validation \| 8 \| 0\.000 ± 0\.000 at .*\| [01]\.\d+ ± 0\.\d+ at", shown
        )
        lineage = shown.partition("## Lineage")[2]
        assert f"v1 version {1 + result.accepted}, by s" in lineage
        assert "\n\n      g1: Ask for more precision." in lineage

    asyncio.run(main())


def test_examples_that_lack_a_field_are_left_out_and_said() -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            for split in ("train", "validation"):
                rows = [{"q": f"{n}+7?"} for n in (1, 2)]
                await engine.add_examples(ME, session_id=s, split=split, examples=rows)
            found = await engine.evaluate(ME, session_id=s, split="validation")
            assert isinstance(found, EvaluateResult)
            assert found.examples == 8
            assert found.notes == ["Left out, as they lack a field (a): 2 (e23, e24)."]
            back = await engine.backward(ME, session_id=s, examples="train")
            assert "Left out, as they lack a field (a): 2 (e21, e22)." in back.notes
            result = await optimize(engine, s, steps=4, batch_size=2, patience=50)
            assert result.stopped == "steps"
            words = await engine.evaluate(ME, session_id=s, split="train")
            assert words.status == "done"

    asyncio.run(main())


def test_a_split_without_any_complete_example_is_refused_with_what_is_missing() -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            await engine.add_examples(ME, session_id=s, split="test", examples=[{"q": "1+1?"}])
            with pytest.raises(BadInput, match="has no field 'a'"):
                await engine.evaluate(ME, session_id=s, split="test")

    asyncio.run(main())


def answerer(engine: Engine) -> Scripted:
    found = engine.ledger.answerers["forward"]
    assert isinstance(found, Scripted)
    return found


class Half(Scripted):
    """Ends in the middle, as a process does: nothing is answered after `left` requests."""

    left = 10**9

    async def answer(self, request: CompletionRequest, record: Any, go: Any) -> Any:
        if len(self.asked) >= self.left:
            await asyncio.Event().wait()
        return await super().answer(request, record, go)


@pytest.mark.requirement("same-end")
@pytest.mark.parametrize("after", [1, 20, 45, 70])
def test_a_run_that_ended_in_the_middle_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, after: int
) -> None:
    async def whole() -> tuple[str, int]:
        async with an_engine(Scripted(sums), tmp_path / "whole.db") as engine:
            s = await program(engine)
            await optimize(engine, s, steps=4, patience=50, seed=5)
            return await text(engine, s), len(answerer(engine).asked)

    async def halves() -> tuple[str, int]:
        first = Half(sums)
        async with an_engine(first, tmp_path / "halves.db") as engine:
            s = await program(engine)
            first.left = len(first.asked) + after
            brief = Caller(deadline=1.0)
            result = await engine.optimize(
                brief, session_id=s, strategy="gradient", steps=4, patience=50, seed=5
            )
            assert result.status == "running"
        async with an_engine(Scripted(sums), tmp_path / "halves.db") as engine:
            await engine.resume(ME, session_id=s)
            return await text(engine, s), len(first.asked) + len(answerer(engine).asked)

    assert asyncio.run(whole()) == asyncio.run(halves())


def test_the_single_tools_do_the_same_steps() -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine, validation=24)  # too many for referees
            result = await optimize(engine, s, steps=3, candidates=2, parents="newest", seed=1)
            by_loop = [(p.text, p.verdict, p.reason) for p in result.proposals]
            session = await engine.store.sessions.get(s, "local")
            gradients = await engine.store.history.gradients(session.pk, ["v1"], unspent=False)
            assert result.steps == len(gradients) == 3
            end = await text(engine, s)
        by_hand = []
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine, validation=24)  # too many for referees
            for gradient in gradients:
                await engine.backward(ME, session_id=s, examples=gradient.batch)
                step = await engine.step(ME, session_id=s, accept="if_better", candidates=2)
                assert isinstance(step, StepResult)
                by_hand += [(p.text, p.verdict, p.reason) for p in step.proposals]
            assert await text(engine, s) == end
        assert by_loop == by_hand

    asyncio.run(main())


@pytest.mark.parametrize("patience", [1, 5])
def test_feedback_that_can_never_be_read_is_the_reason_that_is_given(patience: int) -> None:
    def mute(request: CompletionRequest) -> str:
        said = request.purpose is Purpose.GRADIENT and not talks
        return "I would rather not say." if said else sums(request)

    async def main() -> None:
        async with an_engine(Scripted(mute)) as engine:
            s = await program(engine)
            result = await optimize(engine, s, steps=9, patience=patience)
            assert (result.status, result.steps) == ("done", 0)
            assert result.stopped == "no usable feedback on the training examples"
            times = min(patience, 3)
            assert f"{times} minibatches gave nothing to learn from: feedback on" in result.notes[0]
            assert "No JSON object was found" in result.notes[0]
            assert "stronger model" in result.next
            talks.append(True)
            again = await optimize(engine, s, steps=2)
            assert again.steps == 2  # what could not be used is asked afresh

    talks: list[bool] = []
    asyncio.run(main())


def test_rewrites_that_can_never_be_read_are_the_reason_that_is_given() -> None:
    def mute(request: CompletionRequest) -> str:
        return "I'd rather not." if request.purpose is Purpose.UPDATE else sums(request)

    async def main() -> None:
        async with an_engine(Scripted(mute)) as engine:
            result = await optimize(engine, await program(engine), steps=9, candidates=2)
            assert (result.steps, result.stopped) == (3, "no usable rewrite")
            assert "No JSON object was found" in result.notes[0]

    asyncio.run(main())


def test_feedback_that_cannot_be_read_now_and_then_stops_nothing() -> None:
    def shy(request: CompletionRequest) -> str:
        if request.purpose is Purpose.GRADIENT:
            asked.append(request.key)
            if len(asked) <= 4:  # two minibatches, with the repair of each
                return "no"
        return sums(request)

    async def main() -> None:
        async with an_engine(Scripted(shy)) as engine:
            result = await optimize(engine, await program(engine), steps=3)
            assert result.steps == 3
            assert not any("nothing to learn" in note for note in result.notes)

    asked: list[str] = []
    asyncio.run(main())
