"""Reflect: what the critic sees in one request, what it may answer, and what comes of that."""

from __future__ import annotations

import asyncio
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.optimizer.reflect_prompt import first_to_show, key
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.schemas.completions import CompletionRequest
from textgrad_mcp.schemas.graph import Proposal

from ...helpers import ME, Facts, Scripted, Tools, an_engine, answered, assisted, drive
from ..optimizer.test_optimize import WORDS, Half, answerer, program, sums
from ..optimizer.test_optimize import text as installed

COLOURS = ("red", "blue", "green", "black", "white", "grey")
ROWS = {
    "train": [{"q": f"train {c} {n}", "a": f"TRAIN {c} {n}"} for n, c in enumerate(COLOURS * 2)],
    "validation": [{"q": f"held {c} {n}", "a": f"HELD {c} {n}"} for n, c in enumerate(COLOURS)],
    "test": [{"q": f"kept {c} {n}", "a": f"KEPT {c} {n}"} for n, c in enumerate(COLOURS)],
}
START = "Answer."


class Critic:
    """Plays every part: the program puts the first word in capitals for the colours that its
    prompt names, and the critic's replies come in their order; `asked` are its requests."""

    def __init__(self, *replies: Facts) -> None:
        self.replies = list(replies)
        self.asked: list[str] = []
        self.forward: list[str] = []

    def __call__(self, pending: Facts) -> Any:
        """The answer to one pending prompt."""
        if pending["purpose"].startswith("forward"):
            self.forward.append(pending["prompt"])
            first, colour, n = pending["prompt"].split()
            known = colour in pending["system"] or "all" in pending["system"].split()
            return f"{first.upper() if known else first} {colour} {n}"
        self.asked.append(pending["prompt"])
        return self.replies.pop(0) if self.replies else texts(START)


def texts(*new: str, diagnosis: str = "The first word is in capitals.") -> Facts:
    """A reply with these texts."""
    found: Facts = {"diagnosis": diagnosis}
    for n, one in enumerate(new, 1):
        found |= {key("hypothesis", n): f"idea {n}", key("value", n): one}
    return found


async def ready(call: Tools, prompt: str = START, constraints: list[str] | None = None) -> str:
    """A prompt v1 on questions v2 with answers v3; the loss is v5."""
    made = await call(
        "create_variable", role="system prompt", value=prompt, constraints=constraints or []
    )
    s = str(made["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    llm = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
    await call("forward", session_id=s, **llm)
    inputs = {"output": "v4", "answer": "v3"}
    await call("compute_loss", session_id=s, kind="metric", metric="exact_match", inputs=inputs)
    for split, rows in ROWS.items():
        await call("add_examples", session_id=s, split=split, examples=rows)
    return s


async def reflected(call: Tools, s: str, critic: Critic, **arguments: Any) -> Facts:
    """A run of the loop by reflection."""
    begun = await call("optimize", session_id=s, strategy="reflect", **arguments)
    return await answered(call, begun, critic)


def test_one_request_shows_examples_and_brings_all_the_texts_of_a_step(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic, s = Critic(texts("Caps for red.", "Capitals for all")), await ready(call)
        done = await reflected(call, s, critic, steps=1, candidates=2)
        assert len(critic.asked) == 1
        assert (done["accepted"], done["score_after"]) == (1, 1)
        [asked] = critic.asked
        assert "3 of 3 examples that were run are not solved:" in asked
        for row in re.findall(r"train \w+ \d+", asked):
            assert row.upper().replace(row.split()[1].upper(), row.split()[1]) in asked
        assert asked.count("<output-") == 3
        reasons = [p["reason"] for p in done["proposals"]]
        assert any("candidate 2 gained more on the minibatch" in r for r in reasons)
        assert any(r.endswith("(hypothesis: idea 2)") for r in reasons)
        report = await call("inspect", session_id=s, what="report")
        assert "The first word is in capitals.\\n1. idea 1" in json.dumps(report["view"])

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("frugal-reflection")
def test_a_step_costs_the_shown_the_checked_and_one_reading_of_validation(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic, s = Critic(texts("All red", "For all", "blue and red")), await ready(call)
        before = len(critic.forward)
        await reflected(call, s, critic, steps=1)
        start, shown, checked, validated = 6, 3, 3 * 2, 6
        assert len(critic.forward) - before == start + shown + checked + validated
        assert len(set(critic.forward)) == start + shown

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("frugal-reflection")
def test_no_request_to_the_critic_quotes_a_row_that_measures(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        replies = [texts("red", "blue"), texts("red blue", "green"), texts("all red", "white")]
        critic, s = Critic(*replies), await ready(call)
        await reflected(call, s, critic, steps=3, candidates=2, patience=9)
        assert len(critic.asked) == 3
        rows = [row[k] for split in ("validation", "test") for row in ROWS[split] for k in row]
        assert not [r for r in rows for asked in critic.asked if r in asked]

    drive(main, assisted(tmp_path / "t.db"))


def test_what_was_tried_is_shown_with_its_outputs_and_what_was_said_of_them(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic, s = Critic(texts("Use colours."), texts("For all")), await ready(call)
        await reflected(call, s, critic, steps=2, candidates=1)
        tried = critic.asked[1].partition("Tried before")[2]
        assert "Result: refused: a tie on the minibatch: 0.00 on 2 examples, and no short" in tried
        assert "Hypothesis: idea 1\nThe text:\nUse colours." in tried
        assert "Use colours." in tried
        assert (
            len(re.findall(r'<said-\w+ on="e\d+, score 0.00">\ntrain \w+ \d+\nExpected', tried))
            == 2
        )

    drive(main, assisted(tmp_path / "t.db"))


def test_of_what_failed_it_is_said_how_many_other_texts_solved_it(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic = Critic(
            texts("Capitals for blue green."), texts("Capitals for red black."), texts("Do.")
        )
        s = await ready(call)
        await reflected(call, s, critic, steps=3, candidates=1, batch_size=12, parents="newest")
        chance = "What other texts solved and this one fails on may be chance"
        assert "solved it" not in critic.asked[0]
        assert "(of 1 other texts of which it is known, 0 solved it)" in critic.asked[1]
        assert chance not in critic.asked[1]
        solved = re.findall(
            r"\(of \d other texts of which it is known, 1 solved it\)", critic.asked[2]
        )
        assert solved
        assert critic.asked[2].index(chance) < critic.asked[2].index(solved[0])

    drive(main, assisted(tmp_path / "t.db"))


def test_twelve_attempts_are_shown_and_it_is_said_that_there_were_more(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        new = [texts(*(f"Try {'abc'[n]}{step}." for n in range(3))) for step in range(5)]
        critic, s = Critic(*new), await ready(call)
        await reflected(call, s, critic, steps=6, candidates=3, patience=9)
        shown = [asked.count("Result: ") for asked in critic.asked]
        assert shown[:6] == [0, 3, 6, 9, 12, 12]
        more = "Others, which are not shown, were tried as well."
        assert [more in asked for asked in critic.asked[:6]] == [False] * 5 + [True]

    drive(main, assisted(tmp_path / "t.db", prompt_budget=20_000))


def test_the_best_attempt_is_given_room_first_then_the_newest_then_by_score() -> None:
    scores = [None, 0.25, 0.5, 0.0, 0.75, None, 0.9, 0.1]
    tries = [
        Proposal(
            step="s1", variable="v1", parent=1, text=f"{n}", verdict="refused", reason="", score=one
        )
        for n, one in enumerate(scores)
    ]
    assert first_to_show(tries) == [6, 0, 1, 2, 4, 7, 3, 5]


def test_solved_examples_are_shown_too_and_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic, s = Critic(texts("red blue green"), texts("all")), await ready(call)
        await reflected(call, s, critic, steps=2, candidates=1)
        assert re.search(r"\d of 6 examples that were run are solved:", critic.asked[1])
        assert 'score="0.50"' in critic.asked[1]
        pairs = len(critic.forward)
        assert pairs == len({(p, n) for n, p in enumerate(critic.forward)})

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("all", "the text as it was"),
        ("* Capitals,  for RED", "nearly the text of candidate 1"),
    ],
)
def test_what_says_nothing_new_is_seen_and_not_paid_for(tmp_path: Path, new: str, why: str) -> None:
    async def main(call: Tools) -> None:
        critic, s = Critic(texts("capitals for red", new)), await ready(call, "all")
        s = await ready(call, "all" if new == "all" else START)
        if new == "all":
            for row in ("train", "validation"):
                await call(
                    "add_examples", session_id=s, split=row, examples=[{"q": "x y 1", "a": "z"}]
                )
        done = await reflected(call, s, critic, steps=1, candidates=2)
        assert why in [p["reason"].partition(" (hypothesis")[0] for p in done["proposals"]]

    drive(main, assisted(tmp_path / "t.db"))


def test_a_refused_text_is_not_measured_a_second_time(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic, s = Critic(texts("Use colours."), texts("use colours")), await ready(call)
        done = await reflected(call, s, critic, steps=2, candidates=1)
        reasons = [p["reason"] for p in done["proposals"]]
        assert any(r.startswith("nearly the text of p1, which was refused") for r in reasons)

    drive(main, assisted(tmp_path / "t.db"))


def test_a_long_text_is_changed_by_edits(tmp_path: Path) -> None:
    long = "\n".join(f"Line {n} of many that say something." for n in range(200))

    async def main(call: Tools) -> None:
        edits = [{"find": "Line 7 of many that", "put": "This is for all : line 7 of many that"}]
        reply = {"diagnosis": "d", "hypothesis": "h", "edits": edits}
        critic, s = Critic(reply), await ready(call, long)
        done = await reflected(call, s, critic, steps=1, candidates=1)
        assert done["accepted"] == 1
        assert "give each new one as edits of the present one, at most 8" in critic.asked[0]
        text = (await call("inspect", session_id=s, id="v1"))["view"]["text"]
        assert "This is for all : line 7 of many" in text

    drive(main, assisted(tmp_path / "t.db"))


def test_a_text_that_cannot_be_taken_leaves_the_others(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic = Critic(texts("much " * 30, "For all"))
        s = await ready(call, constraints=["max_chars=60"])
        done = await reflected(call, s, critic, steps=1, candidates=2)
        assert (len(critic.asked), done["accepted"]) == (1, 1)
        assert any("cut 90 to get to 60" in p["reason"] for p in done["proposals"])

    drive(main, assisted(tmp_path / "t.db"))


def test_a_reply_of_which_nothing_can_be_taken_is_sent_back_once(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic = Critic(texts("much " * 30), texts("For all"))
        s = await ready(call, constraints=["max_chars=60"])
        done = await reflected(call, s, critic, steps=1, candidates=1)
        assert (len(critic.asked), done["accepted"]) == (2, 1)
        assert "Your reply could not be used." in critic.asked[1]

    drive(main, assisted(tmp_path / "t.db"))


def test_where_no_rewrite_moves_the_score_the_run_says_so_and_stops(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        replies = [texts(*(f"Say {n}{m} times" for m in "abc")) for n in range(5)]
        critic, s = Critic(*replies), await ready(call)
        done = await reflected(call, s, critic, steps=9)
        assert (done["stopped"], done["steps"]) == ("no rewrite moves the score", 3)
        assert any("9 different rewrites were measured" in note for note in done["notes"])
        again = await reflected(call, s, Critic(*replies), steps=9, patience=4, seed=1)
        assert again["stopped"] == "patience"

    drive(main, assisted(tmp_path / "t.db"))


def test_where_nothing_is_wrong_in_training_the_run_says_so_and_asks_no_critic(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call, "Capitals for red and blue.")
        await call(
            "add_examples", session_id=s, split="validation", examples=[{"q": "x", "a": "?"}]
        )

        def model(pending: Facts) -> Any:
            assert pending["purpose"].startswith("forward")
            asked = pending["prompt"]
            return asked.replace("train", "TRAIN") if asked.startswith("train") else asked

        done = await answered(
            call, await call("optimize", session_id=s, strategy="reflect", patience=3), model
        )
        assert done["stopped"] == "the last training examples gave nothing to improve on"
        assert any("nothing to learn from" in note for note in done["notes"])

    drive(main, assisted(tmp_path / "t.db"))


def test_a_step_reflects_on_the_examples_in_use_without_backward(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        critic, s = Critic(texts("For all"), texts("red")), await ready(call)
        begun = await call("step", session_id=s, strategy="reflect", accept="if_better")
        step = await answered(call, begun, critic)
        assert (step["accepted"], step["score_after"], len(critic.asked)) == (True, 1, 1)
        assert "8 of 8 examples that were run are not solved" in critic.asked[0]
        await answered(call, await call("forward", session_id=s), critic)
        words = await call.refused("step", session_id=s, strategy="reflect")
        assert "Nothing is wrong on the 8 examples in use." in words

    drive(main, assisted(tmp_path / "t.db"))


def test_a_step_reflects_on_one_parameter_at_a_time(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await ready(call)
        await call("create_variable", session_id=s, role="hint", value="Think.")
        words = await call.refused("step", session_id=s, strategy="reflect")
        assert "one parameter at a time" in words
        words = await call.refused("step", session_id=s, strategy="magic")
        assert "strategy" in words

    drive(main, assisted(tmp_path / "t.db"))


def test_a_code_under_repair_needs_no_examples(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = str((await call("create_variable", role="code", value="x = 1"))["session_id"])
        found = {"kind": "feedback", "inputs": {"code": "v1"}, "feedback": "x must be 2"}
        await call("compute_loss", session_id=s, score=0.5, **found)
        critic = Critic(texts("x = 2"))
        begun = await call("step", session_id=s, strategy="reflect")
        step = await answered(call, begun, critic)
        assert step["accepted"] is True
        assert "The score is 0.50:" in critic.asked[0]
        assert "x must be 2" in critic.asked[0]

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize("strategy", ["reflect", "gradient"])
def test_what_a_judge_reads_beside_the_text_is_shown_to_whoever_rewrites_it(
    tmp_path: Path, strategy: str
) -> None:
    async def main(call: Tools) -> None:
        s = str((await call("create_variable", role="letter", value="Dear all"))["session_id"])
        policy = {"role": "policy", "value": "No refunds after 30 days.", "requires_grad": False}
        await call("create_variable", session_id=s, **policy)
        judged = {"instruction": "Does it keep to the policy?"}
        inputs = {"letter": "v1", "policy": "v2"}
        asked = await call("compute_loss", session_id=s, kind="judge", inputs=inputs, **judged)
        await answered(call, asked, lambda p: {"feedback": "It does not.", "score": 0.2})
        if strategy == "gradient":
            await call("backward", session_id=s)
        [asked] = (await call("step", session_id=s, strategy=strategy))["pending"]
        assert "No refunds after 30 days." in asked["prompt"]

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize("strategy", ["reflect", "gradient"])
def test_a_text_that_no_model_reads_is_asked_for_as_what_it_is(
    tmp_path: Path, strategy: str
) -> None:
    async def main(call: Tools) -> None:
        s = str((await call("create_variable", role="code", value="x = 1"))["session_id"])
        found = {"kind": "feedback", "inputs": {"code": "v1"}, "feedback": "x must be 2"}
        await call("compute_loss", session_id=s, score=0.5, **found)
        if strategy == "gradient":
            await call("backward", session_id=s)
        [asked] = (await call("step", session_id=s, strategy=strategy))["pending"]
        assert "used as it stands" in asked["prompt"]
        assert "by which rule" not in asked["prompt"]
        critic = Critic(texts("For all"))
        await reflected(call, await ready(call), critic, steps=1)
        assert "by which rule" in critic.asked[0]
        assert "used as it stands" not in critic.asked[0]

    drive(main, assisted(tmp_path / "t.db"))


def test_one_prompt_is_improved_by_reflection_unless_another_strategy_is_named(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        critic, s = Critic(texts("For all")), await ready(call)
        done = await answered(call, await call("optimize", session_id=s, steps=1), critic)
        assert (len(critic.asked), done["accepted"]) == (1, 1)
        assert "Each step: 3 rewrites from 6 training examples, checked on 3 of them" in str(done)
        await call("create_variable", session_id=s, role="hint", value="Think.")
        critic = Critic({"v1": "Name all."}, {"value": "For all here"})
        named = {"variables": ["v1"], "strategy": "gradient", "candidates": 1}
        await call("revert", session_id=s, variable="v1", version=1)
        begun = await call("optimize", session_id=s, steps=1, **named)
        assert (await answered(call, begun, critic))["accepted"] == 1

    drive(main, assisted(tmp_path / "t.db"))


def test_a_critic_that_writes_no_reflection_is_asked_for_feedback_and_rewrites(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        mute: list[Any] = ["I would rather not.", "No."]
        critic = Critic(*mute, {"v1": "Name all."}, {"value": "For all"})
        s = await ready(call)
        done = await answered(
            call, await call("optimize", session_id=s, steps=2, candidates=1), critic
        )
        assert (done["steps"], done["accepted"]) == (2, 1)
        assert any("A reflection could not be read" in note for note in done["notes"])
        s = await ready(call)
        named = await reflected(call, s, Critic(*mute * 3), steps=9)
        assert named["stopped"] == "no usable rewrite"

    drive(main, assisted(tmp_path / "t.db"))


def writer(request: CompletionRequest) -> str:
    """The sums of `test_optimize`, with a critic that reflects."""
    if request.reply is None or "hypothesis" not in request.reply["properties"]:
        return sums(request)
    draw = random.Random(request.key)
    new = [f"Answer {', '.join(draw.sample(WORDS, draw.randrange(1, 4)))}." for _ in range(3)]
    return json.dumps(texts(*new))


@pytest.mark.requirement("same-end")
@pytest.mark.parametrize("after", [1, 15, 30, 45])
def test_a_reflecting_run_that_ended_in_the_middle_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, after: int
) -> None:
    asked: dict[str, Any] = {"steps": 3, "patience": 50, "strategy": "reflect", "goal": 1.0}

    async def whole() -> tuple[str, int]:
        async with an_engine(Scripted(writer), tmp_path / "whole.db") as engine:
            s = await program(engine)
            await engine.optimize(ME, session_id=s, **asked)
            return await installed(engine, s), len(answerer(engine).asked)

    async def halves() -> tuple[str, int]:
        first = Half(writer)
        async with an_engine(first, tmp_path / "halves.db") as engine:
            s = await program(engine)
            first.left = len(first.asked) + after
            await engine.optimize(Caller(deadline=1.0), session_id=s, **asked)
        async with an_engine(Scripted(writer), tmp_path / "halves.db") as engine:
            await engine.resume(ME, session_id=s)
            return await installed(engine, s), len(first.asked) + len(answerer(engine).asked)

    assert asyncio.run(whole()) == asyncio.run(halves())
