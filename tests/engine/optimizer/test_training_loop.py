"""`optimize` through the tools: its strategies, its parents, its memory, and what it reports."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from ...helpers import Facts, Tools, answered, assisted, drive

WORDS = ["plainly", "briefly", "in digits", "in verse"]
USEFUL = {"v1": "in digits", "v4": "briefly"}


def rows(split: str, count: int) -> list[Facts]:
    """Sums that no other split has."""
    draw = random.Random(split)
    pairs = [(draw.randrange(1000), draw.randrange(1000)) for _ in range(count)]
    return [{"q": f"{a}+{b}", "a": str(a + b)} for a, b in pairs]


class Assistant:
    """Plays every part by rule: a sum is right when the prompts say the useful words.

    One of two is enough for odd sums. With `stubborn` no sum is ever right.
    """

    def __init__(self, *, stubborn: bool = False) -> None:
        self.stubborn = stubborn
        self.asked: list[Facts] = []

    def __call__(self, pending: Facts) -> Any:
        """The answer to one pending prompt: the same for the same prompt."""
        self.asked.append(pending)
        draw = random.Random(pending["prompt"] + pending["purpose"])
        match pending["purpose"].partition(":")[0]:
            case "forward":
                return self.model(pending["prompt"], pending["system"])
            case "gradient":
                asked = re.findall(r'"(v\d+(?: e\d+)?)": "<feedback', pending["prompt"])
                return {key: f"{key} lacks a word" for key in asked}
            case _:
                return {"value": f"Answer {draw.choice(WORDS)}, {draw.choice(WORDS)}."}

    def model(self, prompt: str, system: str) -> str:
        """A sum."""
        question, _, hint = prompt.partition("\n")
        a, b = map(int, question.split("+"))
        known = (USEFUL["v1"] in system) + (USEFUL["v4"] in (hint or USEFUL["v4"]))
        right = known == 2 or (known and hint and (a + b) % 2)
        return str(a + b) if right and not self.stubborn else "a lot"

    def prompts(self, purpose: str) -> list[str]:
        """What was asked for one purpose."""
        return [p["prompt"] for p in self.asked if p["purpose"].startswith(purpose)]


async def one(call: Tools) -> str:
    """A system prompt v1 on questions v2 with answers v3; the loss is v5."""
    s = await fields(call)
    llm = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
    return await loaded(call, s, llm, "v4")


async def two(call: Tools) -> str:
    """A system prompt v1 and a hint v4, both parameters; the loss is v6."""
    s = await fields(call)
    await call("create_variable", session_id=s, role="hint", value="Think.")
    inputs = {"q": "v2", "hint": "v4"}
    llm = {"operation": "llm", "system": "v1", "template": "{q}\n{hint}", "inputs": inputs}
    return await loaded(call, s, llm, "v5")


async def fields(call: Tools) -> str:
    """A session with a prompt, questions and answers."""
    made = await call("create_variable", role="system prompt", value="Answer.")
    s = str(made["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    return s


async def loaded(call: Tools, s: str, llm: Facts, output: str) -> str:
    """The program with its loss, and then its examples."""
    await call("forward", session_id=s, **llm)
    inputs = {"output": output, "answer": "v3"}
    await call("compute_loss", session_id=s, kind="metric", metric="exact_match", inputs=inputs)
    for split, count in (("train", 12), ("validation", 10), ("test", 10)):
        await call("add_examples", session_id=s, split=split, examples=rows(split, count))
    return s


async def optimized(call: Tools, s: str, play: Assistant, **arguments: Any) -> Facts:
    """The result of the whole loop."""
    chosen = {"strategy": "gradient"} | arguments
    return await answered(call, await call("optimize", session_id=s, **chosen), play)


async def view(call: Tools, s: str, what: str) -> Facts:
    """A view of the session."""
    return dict((await call("inspect", session_id=s, what=what))["view"])


async def text(call: Tools, s: str) -> str:
    """The system prompt as it is installed."""
    return str((await call("inspect", session_id=s, id="v1"))["view"]["text"])


def test_the_loop_reaches_its_goal_and_the_report_tells_how(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play, s = Assistant(), await one(call)
        done = await optimized(call, s, play, steps=10)
        assert (done["score_before"], done["score_after"], done["stopped"]) == (0.0, 1.0, "goal")
        report = await view(call, s, "report")
        assert (report["gated"]["before"], report["gated"]["after"]) == (0, 1)
        assert report["proposals"]["accepted"] == done["accepted"]
        [prompt] = report["parameters"]
        assert prompt["first_text"] == "Answer."
        assert USEFUL["v1"] in prompt["text"]
        assert "v1 lacks a word" in str(prompt["lineage"])
        assert report["price"]["calls"] == len(play.asked)
        [scores] = report["scores"]
        assert (scores["split"], scores["examples"]) == ("validation", 10)
        assert re.match(r"0\.000 ± 0\.000 at .*'?v1'?.*1", scores["first"])
        assert scores["latest"].startswith("1.000 ± 0.000 at ")

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("held-out")
def test_the_test_split_is_never_read_by_the_loop_and_each_reading_is_counted(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        play, s = Assistant(), await one(call)
        await optimized(call, s, play, steps=4)
        assert not {row["q"] for row in rows("test", 10)} & set(play.prompts("forward"))
        for reads in (1, 2):
            begun = await call("evaluate", session_id=s, split="test")
            found = await answered(call, begun, play)
            assert found["reads"] == reads
            assert "failures" not in found
            assert "no longer held-out" not in " ".join(found.get("notes", []))  # one text
        for version in (1, 2):
            await call("revert", session_id=s, variable="v1", version=version)
            found = await answered(call, await call("evaluate", session_id=s, split="test"), play)
        assert "no longer held-out" in " ".join(found["notes"])

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize("strategy", ["gradient", "rewrite", "exact"])
def test_each_strategy_runs_under_the_same_gate(tmp_path: Path, strategy: str) -> None:
    async def main(call: Tools) -> None:
        play, s = Assistant(), await one(call)
        done = await optimized(call, s, play, steps=6, strategy=strategy)
        critics = len(play.prompts("gradient"))
        steps = done["steps"]
        # exact: through the metric and through the model, for each of four examples
        assert critics == {"gradient": steps, "rewrite": 0, "exact": 2 * 4 * steps}[strategy]
        assert done["score_after"] >= done["score_before"]
        assert all(p["reason"] for p in done["proposals"])

    drive(main, assisted(tmp_path / "t.db"))


def test_a_plain_rewrite_sees_the_failures_themselves(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        play, s = Assistant(), await one(call)
        await optimized(call, s, play, steps=1, strategy="rewrite", candidates=1)
        update = play.prompts("update")[0]
        shown = [row for row in rows("train", 12) if row["q"] in update]
        assert len(shown) == 4
        assert all(row["a"] in update for row in shown)

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize("parents", ["newest", "best", "pareto"])
def test_each_choice_of_parents_gets_there(tmp_path: Path, parents: str) -> None:
    async def main(call: Tools) -> None:
        play, s = Assistant(), await two(call)
        done = await optimized(call, s, play, steps=20, patience=20, parents=parents, candidates=2)
        assert done["score_after"] == 1

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize(
    ("together", "changed"), [(False, ["v1", "v4", "v1", "v4"]), (True, ["v1", "v4"] * 4)]
)
def test_several_parameters_change_together_or_one_a_step_in_turn(
    tmp_path: Path, together: bool, changed: list[str]
) -> None:
    async def main(call: Tools) -> None:
        play, s = Assistant(stubborn=True), await two(call)
        arguments = {"steps": 4, "parents": "newest", "candidates": 1, "patience": 9}
        done = await optimized(call, s, play, together=together, **arguments)
        assert done["steps"] == 4
        proposals = (await view(call, s, "steps"))["proposals"]
        found = [p["variable"] for p in proposals]
        assert found[::-1] == changed or found == changed[::-1]

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize("memory", [0, 2])
def test_the_loop_remembers_so_many_spent_gradients(tmp_path: Path, memory: int) -> None:
    async def main(call: Tools) -> None:
        play, s = Assistant(stubborn=True), await one(call)
        arguments = {"steps": 4, "parents": "newest", "candidates": 1, "patience": 9}
        await optimized(call, s, play, memory=memory, **arguments)
        shown = [p.count("<earlier-feedback") for p in play.prompts("update")]
        assert shown == [min(step, memory) for step in range(4)]
        assert ("the rewrite was refused" in play.prompts("update")[-1]) == (memory > 0)

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("repeatable")
def test_an_epoch_shows_every_training_example_once_in_an_order_of_its_seed(
    tmp_path: Path,
) -> None:
    async def batches(call: Tools, seed: int) -> list[set[str]]:
        play, s = Assistant(stubborn=True), await one(call)
        arguments = {"steps": 3, "parents": "newest", "candidates": 1, "patience": 9}
        await optimized(call, s, play, seed=seed, **arguments)
        train = [row["q"] for row in rows("train", 12)]
        return [{q for q in train if q in p} for p in play.prompts("gradient")]

    async def main(call: Tools) -> None:
        first = await batches(call, 0)
        assert [len(batch) for batch in first] == [4, 4, 4]
        assert len(set.union(*first)) == 12
        assert await batches(call, 0) == first
        assert await batches(call, 1) != first

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("asked-once", "same-end")
def test_an_interrupted_loop_goes_on_where_it_was_and_asks_nothing_again(tmp_path: Path) -> None:
    path, play = tmp_path / "t.db", Assistant()
    sessions: list[str] = []

    async def begin(call: Tools) -> None:
        sessions.append(await two(call))
        result = await call("optimize", session_id=sessions[0], strategy="gradient", steps=6)
        for _ in range(5):
            given = {p["id"]: play(p) for p in result["pending"]}
            result = await call("resume", session_id=sessions[0], completions=given)
        assert result["status"] == "needs_completions"

    async def go_on(call: Tools) -> None:
        again = await call("optimize", session_id=sessions[0], strategy="gradient", steps=6)
        done = await answered(call, again, play)
        assert done["status"] == "done"
        assert done["calls"] == len(play.asked)

    async def undisturbed(call: Tools) -> None:
        other, s = Assistant(), await two(call)
        await optimized(call, s, other, steps=6)
        asked, asked_there = (sorted(map(words_of, p.asked)) for p in (other, play))
        assert asked == asked_there
        assert await text(call, s) == await text(call, sessions[0])

    drive(begin, assisted(path))
    drive(go_on, assisted(path))
    drive(undisturbed, assisted(path))


def words_of(pending: Facts) -> str:
    """A prompt without its id."""
    return f"{pending['purpose']} {pending.get('system')} {pending['prompt']}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"steps": 0}, "steps must be between 1"),
        ({"batch_size": 257}, "batch_size must be between 1"),
        ({"candidates": 17}, "candidates must be between 1"),
        ({"memory": 65}, "memory must be between 0"),
        ({"goal": 1.5}, "goal must be between 0"),
        ({"loss": "v4"}, "is no loss"),
        ({"parents": "oldest"}, "parents"),
        ({"strategy": "magic"}, "strategy"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_anything_is_asked(
    tmp_path: Path, arguments: Facts, says: str
) -> None:
    async def main(call: Tools) -> None:
        s = await one(call)
        assert says in await call.refused("optimize", session_id=s, **arguments)
        assert (await view(call, s, "calls"))["calls"] == []

    drive(main, assisted(tmp_path / "t.db"))
