"""What the update prompt says beside the feedback: constraints, examples, earlier gradients."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.optimizer.proposer import fate_of
from textgrad_mcp.schemas.graph import Proposal

from ... import step_prompt
from ...helpers import Facts, Tools, answered, assisted, drive
from ...whole.test_parity import play, variable
from .test_training_gate import EXACT, Assistant, ready, stepped


async def criticised(call: Tools, *constraints: str) -> str:
    """A text v1 with a gradient."""
    s = await variable(call, None, "Dear all", role="a letter", constraints=list(constraints))
    common = {"session_id": s, "kind": "feedback", "inputs": {"text": "v1"}}
    await call("compute_loss", feedback="Too cold.", **common)
    await call("backward", session_id=s)
    return s


def test_constraints_in_words_are_judged_and_a_broken_one_refuses(tmp_path: Path) -> None:
    def judge(pending: Facts) -> Any:
        assert "never use slang" in pending["prompt"].lower()
        broken = "Yo" in pending["prompt"]
        return {"problem": "'Yo' is slang" * broken, "verdict": "broken" if broken else "kept"}

    async def main(call: Tools) -> None:
        s = await criticised(call, "Never use slang", "max_chars=100")
        step = await call("step", session_id=s)
        assert "Never use slang" in step["pending"][0]["prompt"]
        step = await answered(call, step, play(update={"value": "Yo all"}, judge=judge))
        assert step["accepted"] is False
        assert "it breaks a constraint: 'Yo' is slang" in step["proposals"][0]["reason"]
        await call("backward", session_id=s)
        step = await call("step", session_id=s)
        step = await answered(call, step, play(update={"value": "Dear friends"}, judge=judge))
        assert step["accepted"] is True

    drive(main, assisted(tmp_path / "t.db"))


def test_a_text_that_was_handed_back_as_it_was_is_asked_for_afresh(tmp_path: Path) -> None:
    """By the same feedback the prompt would be the old one, which the ledger has an answer to."""

    async def main(call: Tools) -> None:
        s = await criticised(call)
        for times in (0, 1, 2):
            step = await call("step", session_id=s)
            prompt = step["pending"][0]["prompt"]
            assert ("were this text again" in prompt) == bool(times)
            assert not times or f"this text again: {times}." in prompt
            step = await answered(call, step, play(update={"value": "Dear all"}))
            assert step["accepted"] is False
            await call("backward", session_id=s)
        step = await answered(call, await call("step", session_id=s), play(update={"value": "Hi"}))
        assert step["accepted"] is True

    drive(main, assisted(tmp_path / "t.db"))


def test_a_constraint_that_code_can_check_needs_no_judge(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await criticised(call, "keep=Dear")
        updates = iter([{"value": "Hello friends"}, {"value": "Dear friends"}])
        parts = play(update=lambda _: next(updates))
        step = await answered(call, await call("step", session_id=s), parts)
        assert step["proposals"][0]["text"] == "Dear friends"

    drive(main, assisted(tmp_path / "t.db"))


def test_examples_for_whoever_rewrites_are_said_as_a_constraint(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        example = "Write in the manner of these examples:\nHi folks!\nHowdy neighbours!"
        s = await criticised(call, example)
        step = await call("step", session_id=s)
        assert "Howdy neighbours!" in step["pending"][0]["prompt"]

    drive(main, assisted(tmp_path / "t.db"))


def test_gradient_memory_shows_spent_gradients_again_with_what_came_of_them(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        s = await criticised(call)
        await answered(
            call, await call("step", session_id=s), play(update={"value": "Dear friends"})
        )
        asked = await call("forward", session_id=s)
        warm = {"feedback": "Too warm.", "score": None}
        await answered(call, asked, play(external=warm))
        await call("backward", session_id=s)
        without = await call("step", session_id=s)
        assert "Too cold." not in without["pending"][0]["prompt"]
        await call("resume", session_id=s, cancel=True)
        step = await call("step", session_id=s, memory=3)
        prompt = step["pending"][0]["prompt"]
        assert prompt.index("Too cold.") < prompt.index("Too warm.")
        assert "acted on in version 2" in prompt
        assert "Do not undo" in prompt

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.5, 0.75), "score 0.50, before it 0.75"),
        ((0.898, 0.904), "score 0.898, before it 0.904"),
        ((0.9001, 0.9004), "score 0.9001, before it 0.9004"),
        ((0.996, 0.98), "score 0.996, before it 0.980"),
        ((0.5, 0.5), "score 0.50, before it 0.50"),
        ((0.1 + 0.2, 0.3), "score 0.30, before it 0.30"),
    ],
)
def test_scores_of_what_was_tried_are_told_apart(scores: tuple[float, float], said: str) -> None:
    after, before = scores
    proposal = Proposal(
        step="s1",
        variable="v1",
        parent=1,
        text="x",
        verdict="refused",
        reason="",
        score=after,
        parent_score=before,
    )
    assert said in fate_of(proposal)


@pytest.mark.parametrize("memory", [-1, 65])
def test_a_memory_that_cannot_be_is_refused(tmp_path: Path, memory: int) -> None:
    async def main(call: Tools) -> None:
        s = await criticised(call)
        words = await call.refused("step", session_id=s, memory=memory)
        assert "between 0 and 64" in words

    drive(main, assisted(tmp_path / "t.db"))


def test_the_memory_is_bounded_however_long_the_feedback_was(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, "text 0")
        common = {"session_id": s, "kind": "feedback", "inputs": {"text": "v1"}}
        await call("compute_loss", feedback="long " * 2000, **common)
        for n in range(1, 4):
            await call("backward", session_id=s)
            step = await call("step", session_id=s, memory=64)
            assert len(step["pending"][0]["prompt"]) < 3 * 500 * 4
            await answered(call, step, play(update={"value": f"text {n}"}))
            words = {"feedback": f"{n} " + "longer " * 2000, "score": None}
            await answered(call, await call("forward", session_id=s), play(external=words))

    drive(main, assisted(tmp_path / "t.db", prompt_budget=500))


def test_what_was_tried_is_shown_once_each_and_the_present_text_with_its_score(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        played = Assistant("Answer politely.", "Answer politely.", "Use big letters sometimes.")
        s = await ready(call, played, EXACT)
        await stepped(call, s, played, candidates=3)
        await answered(call, await call("backward", session_id=s), played)
        asked = await call("step", session_id=s)
        prompt = asked["pending"][0]["prompt"]
        assert prompt.count("Use big letters sometimes.") == 1
        assert re.search(r'role="system prompt" score="0.50">\nUse big letters', prompt)
        assert prompt.count("Answer politely.") == 1
        assert re.search(r'result="refused: a tie on the minibatch[^>]*>\nAnswer pol', prompt)

    drive(main, assisted(tmp_path / "t.db"))


def test_the_page_on_how_a_step_reads_shows_what_is_sent(tmp_path: Path) -> None:
    sent = asyncio.run(step_prompt.prompts(tmp_path))
    page = step_prompt.PAGE.read_text(encoding="utf-8")
    for view in sent.values():
        for message in step_prompt.messages(view):
            for line in message["content"].splitlines():
                assert line in page
    for words in ("The improved text must satisfy", "Tried before", "earlier versions", "score="):
        assert words in step_prompt.messages(sent["update"])[1]["content"]
