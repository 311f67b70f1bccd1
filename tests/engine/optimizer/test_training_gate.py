"""The gate through the tools: what counts as better, and what it says about the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ...helpers import Facts, Tools, answered, assisted, drive

TRAIN = [{"q": f"train {n}", "a": f"TRAIN {n}"} for n in range(3)]
VALIDATION = [{"q": f"held {n}", "a": f"HELD {n}"} for n in range(6)]
EXACT = {"kind": "metric", "metric": "exact_match", "inputs": {"output": "v4", "answer": "v3"}}
BETTER = {
    "kind": "judge",
    "graded": False,
    "instruction": "Is it in capitals?",
    "inputs": {"output": "v4"},
}
Model = Callable[[str, str], str]
"""What the program answers to a question under a system prompt."""


def obedient(question: str, system: str) -> str:
    """Obeys 'capitals' always, and 'sometimes' on even questions."""
    even = question[-1] in "02468"
    obeys = "capitals" in system or ("sometimes" in system and even)
    return question.upper() if obeys else question


def mixed(question: str, system: str) -> str:
    """Gains a little, and loses some, by the prompt 'Mixed.'."""
    gets = {"train 0", "held 0", "held 1"} if system == "Mixed." else {"held 2"}
    return question.upper() if question in gets else question


def fair(first: str, second: str) -> str:
    """Prefers capitals, and the first where both are alike."""
    up = ["TRAIN" in part or "HELD" in part for part in (first, second)]
    return "second" if up == [False, True] else "first"


class Assistant:
    """Plays every part; `asked` keeps what was asked for, by purpose."""

    def __init__(
        self,
        *proposals: str,
        model: Model = obedient,
        prefers: Callable[[str, str], str] = fair,
    ) -> None:
        self.proposals = list(proposals)
        self.model = model
        self.prefers = prefers
        self.asked: list[tuple[str, str]] = []

    def __call__(self, pending: Facts) -> Any:
        """The answer to one pending prompt."""
        purpose = pending["purpose"].partition(":")[0]
        self.asked.append((purpose, pending["prompt"]))
        match purpose:
            case "forward":
                return self.model(pending["prompt"], pending["system"])
            case "gradient":
                return {"v1": "Ask for capitals."}
            case "update":
                return {"value": self.proposals.pop(0)}
            case "judge":
                return {"feedback": "Not in capitals."}
        first, _, second = pending["prompt"].partition("Second candidate:")
        return {"reason": "it is better", "better": self.prefers(first, second)}

    def prompts(self, purpose: str) -> list[str]:
        """What was asked for one purpose."""
        return [prompt for kind, prompt in self.asked if kind == purpose]


async def ready(call: Tools, play: Assistant, loss: Facts) -> str:
    """A program with gradients on its prompt v1, ready to step."""
    made = await call("create_variable", role="system prompt", value="Answer.")
    s = str(made["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    await call("add_examples", session_id=s, split="train", examples=TRAIN)
    await call("add_examples", session_id=s, split="validation", examples=VALIDATION)
    llm = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
    await answered(call, await call("forward", session_id=s, **llm), play)
    await answered(call, await call("compute_loss", session_id=s, **loss), play)
    await answered(call, await call("backward", session_id=s), play)
    return s


async def stepped(call: Tools, s: str, play: Assistant, **arguments: Any) -> Facts:
    """A gated step."""
    step = await call("step", session_id=s, accept="if_better", **arguments)
    return await answered(call, step, play)


async def text(call: Tools, s: str) -> str:
    """The prompt as it is installed."""
    return str((await call("inspect", session_id=s, id="v1"))["view"]["text"])


@pytest.mark.requirement("gate")
def test_a_gain_beyond_noise_is_accepted_and_the_rule_is_named(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Answer in capitals.")
        s = await ready(call, play, EXACT)
        step = await stepped(call, s, play)
        assert step["accepted"] is True
        assert (step["score_before"], step["score_after"]) == (0, 1)
        assert (
            "validation 0.00 -> 1.00 on 6 examples, gain 1.00, more than 1 standard error"
            in step["gate"]
        )
        assert "p = " in step["gate"]

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("gate")
def test_a_tie_does_not_move(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Answer politely.")
        s = await ready(call, play, EXACT)
        step = await stepped(call, s, play)
        assert step["accepted"] is False
        assert "a tie on the minibatch: 0.00 on 3 examples, and no shorter" in step["gate"]
        assert await text(call, s) == "Answer."

    drive(main, assisted(tmp_path / "t.db"))


def test_what_does_not_help_on_the_minibatch_costs_no_validation(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Answer politely.")
        s = await ready(call, play, EXACT)
        await stepped(call, s, play)
        held = [p for p in play.prompts("forward") if p.startswith("held")]
        assert sorted(held) == [row["q"] for row in VALIDATION]  # the present text's, once

    drive(main, assisted(tmp_path / "t.db"))


def test_a_gain_on_the_minibatch_that_validation_does_not_show_is_refused(tmp_path: Path) -> None:
    def model(question: str, system: str) -> str:
        return question.upper() if "only" in system and "train" in question else question

    async def main(call: Tools) -> None:
        play = Assistant("Capitals for trains only.", model=model)
        s = await ready(call, play, EXACT)
        step = await stepped(call, s, play)
        assert step["accepted"] is False
        assert "validation 0.00 -> 0.00 on 6 examples" in step["gate"]
        assert step["gate"].endswith(": a tie")

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("gate")
def test_a_gain_within_noise_is_refused_with_its_figures(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Mixed.", model=mixed)
        s = await ready(call, play, EXACT)
        step = await stepped(call, s, play)
        assert step["accepted"] is False
        assert "gain 0.17, not more than 1 standard error (0.31;" in step["gate"]

    drive(main, assisted(tmp_path / "t.db"))


def test_of_several_candidates_the_best_is_taken_and_each_has_its_reason(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        texts = ["Answer politely.", "Use big letters sometimes.", "Answer in capitals."]
        play = Assistant(*texts)
        s = await ready(call, play, EXACT)
        step = await stepped(call, s, play, candidates=3)
        found = {p["text"]: p for p in step["proposals"]}
        assert [found[t]["verdict"] for t in texts] == ["tie", "not taken", "accepted"]
        assert "a tie on the minibatch" in found[texts[0]]["reason"]
        assert "gained more" in found[texts[1]]["reason"]

    drive(main, assisted(tmp_path / "t.db"))


def test_the_same_text_twice_is_scored_once(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Answer in capitals.", "Answer in capitals.")
        s = await ready(call, play, EXACT)
        step = await stepped(call, s, play, candidates=2)
        [refused] = [p for p in step["proposals"] if p["verdict"] == "refused"]
        assert refused["reason"].startswith("the same text as candidate")
        # Each question once under the first prompt and once under the winner.
        assert len(play.prompts("forward")) == 2 * (len(TRAIN) + len(VALIDATION))

    drive(main, assisted(tmp_path / "t.db"))


def test_judges_without_scores_compare_in_both_orders(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Answer in capitals.")
        s = await ready(call, play, BETTER)
        step = await stepped(call, s, play)
        assert step["accepted"] is True
        assert "validation 0.00 -> 1.00" in step["gate"]
        compared = play.prompts("compare")
        assert len(compared) == 2 * (len(TRAIN) + len(VALIDATION))
        mine = [p for p in compared if "held 0" in p]
        assert {p.index("held 0") < p.index("HELD 0") for p in mine} == {True, False}

    drive(main, assisted(tmp_path / "t.db"))


def test_a_judge_that_always_prefers_the_first_moves_nothing(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Answer in capitals.", prefers=lambda *_: "first")
        s = await ready(call, play, BETTER)
        step = await stepped(call, s, play)
        assert step["accepted"] is False
        assert await text(call, s) == "Answer."

    drive(main, assisted(tmp_path / "t.db"))


def test_optimize_with_judges_without_scores_goes_on_from_each_accepted_text(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        play = Assistant("Use big letters sometimes.", "Answer politely.", "Answer in capitals.")
        s = await ready(call, play, BETTER)
        begun = await call(
            "optimize", session_id=s, strategy="gradient", steps=3, candidates=1, parents="best"
        )
        done = await answered(call, begun, play)
        assert (done["steps"], done["accepted"], done["stopped"]) == (3, 2, "steps")
        assert "score_after" not in done
        assert any("in both orders" in note for note in done["notes"])
        assert await text(call, s) == "Answer in capitals."

    drive(main, assisted(tmp_path / "t.db"))


def test_a_text_refused_within_noise_may_be_the_parent_of_one_that_wins_and_is_named(
    tmp_path: Path,
) -> None:
    def first_then_all(question: str, system: str) -> str:
        some = {"First.": ("train 0", "held 0"), "Answer in capitals.": ("train", "held")}
        return question.upper() if question.startswith(some.get(system, ("none",))) else question

    async def main(call: Tools) -> None:
        play = Assistant("First.", "Answer in capitals.", model=first_then_all)
        s = await ready(call, play, EXACT)
        begun = await call("optimize", session_id=s, strategy="gradient", steps=2, candidates=1)
        done = await answered(call, begun, play)
        assert (done["accepted"], done["score_after"]) == (1, 1)
        assert "not more than 1 standard error (0.17" in done["proposals"][0]["reason"]
        assert "(rewritten from candidate 1 of s1, not" in done["proposals"][1]["reason"]
        assert "First." in play.prompts("update")[1].partition("Tried before")[0]
        report = await call("inspect", session_id=s, what="report")
        [parameter] = report["view"]["parameters"]
        newest = parameter["lineage"][0]
        assert len(newest["feedback"]) == 2  # on the refused text's parent, and on it

    drive(main, assisted(tmp_path / "t.db"))
