"""The proof that fits the case: exact scores, ties, a gate that nothing can pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.evaluation.statistics import paired_gain, verdict

from ...helpers import Facts, Tools, answered, assisted, drive
from ..optimizer.test_training_gate import EXACT, TRAIN, Assistant, mixed, ready, stepped, text

SCORES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0])))
CASES = [{"want": word} for word in ("alpha", "beta", "gamma")]


async def code(call: Tools, source: str, **loss: Any) -> str:
    """A text scored by code alone, on three validation examples; it has a gradient."""
    s = str((await call("create_variable", role="code", value=source))["session_id"])
    await call("create_variable", session_id=s, role="want", example_field="want", reference=True)
    await call("add_examples", session_id=s, split="train", examples=[*CASES, {"want": "delta"}])
    await call("add_examples", session_id=s, split="validation", examples=CASES)
    inputs = {"output": "v1", "answer": "v2"}
    await call("compute_loss", session_id=s, kind="metric", metric="contains", inputs=inputs)
    await call("backward", session_id=s, examples=["e4"])
    return s


def writes(*texts: str) -> Any:
    """Whoever rewrites, with these texts one after the other."""
    left = list(texts)
    return lambda _: {"value": left.pop(0)}


@pytest.mark.requirement("gate")
def test_without_a_model_before_the_score_one_more_example_solved_is_a_gain(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await code(call, "alpha beta")
        step = await stepped(call, s, writes("alpha beta gamma delta"))
        assert step["accepted"] is True
        assert (step["score_before"], step["score_after"]) == (pytest.approx(2 / 3), 1)
        assert "no model stands between text and score, and nothing got worse" in step["gate"]

    drive(main, assisted(tmp_path / "t.db"))


def test_what_solves_one_example_more_and_loses_another_is_no_gain(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await code(call, "alpha beta")
        step = await stepped(call, s, writes("gamma alpha delta"))
        assert step["accepted"] is False
        assert "gain 0.00: only a gain above 0 is kept" in step["gate"]

    drive(main, assisted(tmp_path / "t.db"))


@given(SCORES.filter(bool))
def test_exact_scores_are_kept_where_something_is_won_and_nothing_lost(
    pairs: list[tuple[float, float]],
) -> None:
    gain = paired_gain([b for b, _ in pairs], [a for _, a in pairs])
    kept, _ = verdict(gain, 1.0, exact=True)
    noisy, _ = verdict(gain, 1.0)
    assert kept == (noisy or (gain.better > 0 and gain.worse == 0))


@pytest.mark.requirement("gate")
@pytest.mark.parametrize(
    ("new", "accepted", "says"),
    [("alpha! delta", True, "characters shorter"), ("alpha " * 9 + "delta", False, "no shorter")],
)
def test_of_two_texts_that_do_the_same_the_shorter_one_is_kept(
    tmp_path: Path, new: str, accepted: bool, says: str
) -> None:
    async def main(call: Tools) -> None:
        s = await code(call, "alpha, and a few words more that nothing needs")
        step = await stepped(call, s, writes(new))
        assert step["accepted"] is accepted
        assert ": a tie" in step["gate"]
        assert says in step["gate"]

    drive(main, assisted(tmp_path / "t.db"))


def test_a_shorter_text_that_solves_nothing_does_not_win_a_tie(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await code(call, "nothing of what is wanted")
        step = await stepped(call, s, writes("delta"))
        assert step["accepted"] is False
        assert step["gate"].endswith("0.00 on 3 examples, gain 0.00: a tie")

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("gate")
def test_a_gate_that_nothing_can_pass_is_said_before_a_rewrite_is_asked_for(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await code(call, "alpha beta gamma")
        step = await call("step", session_id=s, accept="if_better")
        assert (step["status"], step["accepted"], step["score_before"]) == ("done", False, 1)
        assert "split='validation', ...) with harder ones" in step["next"]
        calls = await call("inspect", session_id=s, what="calls")
        assert not [c for c in calls["view"]["calls"] if c["purpose"] == "update"]
        done = await call("optimize", session_id=s)
        assert (done["steps"], done["stopped"], done["calls"]) == (0, "goal", 0)
        assert "split='validation', ...) with harder ones" in done["next"]
        always = await answered(
            call, await call("step", session_id=s), writes("alpha beta gamma delta")
        )
        assert always["accepted"] is True

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("gate")
@pytest.mark.parametrize("whole", [False, True])
def test_a_refused_text_that_scored_higher_is_named_with_the_call_that_installs_it(
    tmp_path: Path, whole: bool
) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Mixed.", model=mixed)
        s = await ready(call, play, EXACT)
        if whole:
            begun = await call("optimize", session_id=s, steps=1, candidates=1, strategy="gradient")
            done: Facts = await answered(call, begun, play)
        else:
            done = await stepped(call, s, play)
        assert done["refused_higher"] == "p1"
        install = f"revert(session_id='{s}', variable='v1', version='p1')"
        assert install in done["next"]
        await call("revert", session_id=s, variable="v1", version="p1")
        assert await text(call, s) == "Mixed."

    drive(main, assisted(tmp_path / "t.db"))


def test_what_got_worse_on_the_minibatch_is_named(tmp_path: Path) -> None:
    def model(question: str, system: str) -> str:
        solved = {"Answer.": {"train 0", "train 1"}, "Other.": {"train 2"}}
        return question.upper() if question in solved.get(system, ()) else question

    async def main(call: Tools) -> None:
        play = Assistant("Other.", model=model)
        s = await ready(call, play, EXACT)
        step = await stepped(call, s, play)
        assert len(TRAIN) == 3
        assert "0.67 -> 0.33 on 3 examples; worse on e1, e2" in step["gate"]

    drive(main, assisted(tmp_path / "t.db"))
