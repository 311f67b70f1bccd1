"""Tools called in a wrong order, or again: each outcome is defined, and says what to do."""

from __future__ import annotations

import pytest

from ...helpers import Facts, Tools, answered, assisted, drive

JUDGE = {"kind": "judge", "instruction": "Is it clear?"}


def critic(pending: Facts) -> Facts:
    """Judges, criticises and rewrites; a new text each time it is asked."""
    if pending["purpose"].startswith("update"):
        return {"value": f"better than ({pending['prompt'].count('better')})"}
    return {"feedback": "Too vague.", "score": 0.5}


async def judged(call: Tools) -> str:
    """A session with one text v1 and a judge's loss v2 on it."""
    s = (await call("create_variable", role="a text", value="draft"))["session_id"]
    loss = await call("compute_loss", session_id=s, inputs={"text": "v1"}, **JUDGE)
    await answered(call, loss, critic)
    return str(s)


async def stepped(call: Tools, s: str) -> Facts:
    """One backward and one step."""
    await answered(call, await call("backward", session_id=s), critic)
    return await answered(call, await call("step", session_id=s), critic)


def test_a_step_without_a_gradient_refuses() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        for extra in ({}, {"variables": ["v1"]}):
            words = await call.refused("step", session_id=s, **extra)
            assert "backward" in words
        assert (await call("inspect", session_id=s, id="v1"))["view"]["text"] == "draft"

    drive(main, assisted())


def test_gradients_are_spent_by_the_step_that_uses_them() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        assert (await stepped(call, s))["variables"] == ["v1"]
        words = await call.refused("step", session_id=s)
        assert "backward" in words
        gradients = (await call("inspect", session_id=s, what="gradients"))["view"]["gradients"]
        assert [g["spent_by"] for g in gradients] == ["s1"]

    drive(main, assisted())


def test_a_step_that_only_proposes_changes_nothing() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        await answered(call, await call("backward", session_id=s), critic)
        step = await answered(call, await call("step", session_id=s, accept="never"), critic)
        assert step["accepted"] is False
        assert "variables" not in step
        view = (await call("inspect", session_id=s, id="v1"))["view"]
        assert (view["text"], view["variable"]["version"]) == ("draft", 1)

    drive(main, assisted())


@pytest.mark.requirement("changed-underneath")
def test_a_text_reverted_since_makes_its_gradients_stale_and_they_say_so() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        await stepped(call, s)
        await answered(call, await call("backward", session_id=s), critic)
        back = await call("revert", session_id=s, variable="v1", version=1)
        assert back["version"] == 3
        words = await call.refused("step", session_id=s)
        assert "stale" in words
        assert "backward" in words
        assert (await stepped(call, s))["accepted"] is True

    drive(main, assisted())


@pytest.mark.requirement("versions-kept")
def test_revert_brings_a_text_back_as_a_new_version_and_only_its_dependants_are_recomputed() -> (
    None
):
    async def main(call: Tools) -> None:
        s = await judged(call)
        await call("create_variable", session_id=s, role="other", value="other")
        await call("forward", session_id=s, operation="format", template="{x}!", inputs={"x": "v3"})
        await stepped(call, s)
        await answered(call, await call("forward", session_id=s), critic)
        await call("revert", session_id=s, variable="v1", version=1)
        again = await call("forward", session_id=s)
        assert again["status"] == "done"  # the judge has seen that text: nothing is asked
        assert again["recomputed"] == ["v2"]
        view = (await call("inspect", session_id=s, id="v1"))["view"]
        assert [v["origin"] for v in view["versions"]] == ["revert", "step", "created"]

    drive(main, assisted())


def test_all_that_changed_between_two_versions_is_shown_under_their_names() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        await stepped(call, s)
        await stepped(call, s)
        view = (await call("inspect", session_id=s, id="v1@1..3"))["view"]
        assert view["diff"].splitlines()[:2] == ["--- v1@1", "+++ v1@3"]
        assert "-draft" in view["diff"]
        assert "-draft" not in (await call("inspect", session_id=s, id="v1@3"))["view"]["diff"]
        words = await call.refused("inspect", session_id=s, id="v1@1..9")
        assert "v1@1..3" in words

    drive(main, assisted())


@pytest.mark.requirement("versions-kept")
def test_a_revert_to_the_text_there_is_changes_nothing() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        same = await call("revert", session_id=s, variable="v1", version=1)
        assert same["version"] == 1
        assert "current already" in same["notes"][0]
        words = await call.refused("revert", session_id=s, variable="v1", version=7)
        assert "no version 7" in words
        words = await call.refused("revert", session_id=s, variable="v2", version=1)
        assert "computed" in words

    drive(main, assisted())


def test_forward_with_nothing_stale_does_nothing() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        again = await call("forward", session_id=s)
        assert again["status"] == "done"
        assert "Nothing was stale" in again["next"]
        assert "recomputed" not in again

    drive(main, assisted())


def test_backward_twice_gives_the_same_gradients_once() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        first = await answered(call, await call("backward", session_id=s), critic)
        second = await answered(call, await call("backward", session_id=s), critic)
        assert [g["text"] for g in first["gradients"]] == ["Too vague."]
        assert [g["text"] for g in second["gradients"]] == ["Too vague."]
        view = (await call("inspect", session_id=s, what="gradients"))["view"]
        assert len(view["gradients"]) == 1

    drive(main, assisted())


def test_backward_says_what_is_missing() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="c", value="C", requires_grad=False))["session_id"]
        assert "compute_loss" in await call.refused("backward", session_id=s)
        loss = await call("compute_loss", session_id=s, inputs={"text": "v1"}, **JUDGE)
        await answered(call, loss, critic)
        assert "No parameter is upstream" in await call.refused("backward", session_id=s)
        assert "is no loss" in await call.refused("backward", session_id=s, losses=["v1"])
        assert "'v9'" in await call.refused("backward", session_id=s, losses=["v9"])

    drive(main, assisted())


def test_with_several_losses_the_ones_meant_must_be_named() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        other = {"kind": "metric", "metric": "contains", "inputs": {"output": "v1", "answer": "v3"}}
        await call("create_variable", session_id=s, role="a", value="draft", reference=True)
        await call("compute_loss", session_id=s, **other)
        words = await call.refused("backward", session_id=s)
        assert "v2, v4" in words
        both = await call("backward", session_id=s, losses=["v2", "v4"])
        assert both["mean_score"] == 0.75

    drive(main, assisted())


def test_examples_in_use_must_exist() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="p", value="P"))["session_id"]
        await call("create_variable", session_id=s, role="q", example_field="q")
        first = await call(
            "forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"}
        )
        assert first["status"] == "done"
        assert "add_examples" in first["next"]
        loss = await call("compute_loss", session_id=s, inputs={"output": "v3"}, **JUDGE)
        assert "add_examples" in loss["next"]
        assert "add_examples" in await call.refused("backward", session_id=s)
        assert "add_examples" in await call.refused("evaluate", session_id=s)
        assert "e9" in await call.refused("backward", session_id=s, examples=["e9"])

    drive(main, assisted())


@pytest.mark.requirement("owners")
def test_a_foreign_session_and_a_missing_one_get_the_same_answer() -> None:
    async def main(call: Tools) -> None:
        for tool in ("forward", "backward", "inspect", "resume"):
            words = await call.refused(tool, session_id="tg_nothing")
            assert "There is no session with this session_id." in words

    drive(main, assisted())


def test_if_better_needs_validation_examples_and_a_score() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="p", value="P"))["session_id"]
        await call("create_variable", session_id=s, role="q", example_field="q")
        await call("add_examples", session_id=s, split="train", examples=[{"q": "one"}])
        first = await call(
            "forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"}
        )
        say = {p["id"]: "said" for p in first["pending"]}
        await call("resume", session_id=s, completions=say)
        loss = await call("compute_loss", session_id=s, inputs={"output": "v3"}, **JUDGE)
        await answered(call, loss, critic)

        def write(pending: Facts) -> Facts:
            return {"v1": "Say more."} if "gradient" in pending["purpose"] else critic(pending)

        await answered(call, await call("backward", session_id=s), write)
        asked = await call.raw("step", {"session_id": s, "accept": "if_better"})
        facts = asked.structured_content or {}
        if facts["status"] == "needs_completions":
            given = {p["id"]: write(p) for p in facts["pending"]}
            words = await call.refused("resume", session_id=s, completions=given)
        else:
            words = str(facts["error"])
        assert "validation" in words

    drive(main, assisted())


def test_a_proposal_that_was_not_installed_can_be() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        await answered(call, await call("backward", session_id=s), critic)
        await answered(call, await call("step", session_id=s, accept="never"), critic)
        proposed = (await call("inspect", session_id=s, what="steps"))["view"]["proposals"][0]
        done = await call("revert", session_id=s, variable="v1", version=proposed["id"])
        assert done["version"] == 2
        view = (await call("inspect", session_id=s, id="v1"))["view"]
        assert view["text"] == proposed["text"]
        assert "'p9'" in await call.refused("revert", session_id=s, variable="v1", version="p9")

    drive(main, assisted())


def test_what_is_not_to_blame_is_said() -> None:
    async def main(call: Tools) -> None:
        s = await judged(call)
        await call("create_variable", session_id=s, role="rules", value="Be kind.", name="rules")
        both = {"system": "v3", "inputs": {"text": "v1"}}
        out = await answered(
            call, await call("forward", session_id=s, operation="llm", **both), lambda _: "out"
        )
        asked = await call("compute_loss", session_id=s, inputs={"x": out["variable"]}, **JUDGE)
        loss = (await answered(call, asked, critic))["variable"]
        asked = await call("backward", session_id=s, losses=[loss])
        found = await answered(call, asked, lambda _: {"v1": "Shorter.", "v3": ""})
        assert [g["variable"] for g in found["gradients"]] == ["v1"]
        assert any("v3" in note and "nothing to change" in note for note in found["notes"])

    drive(main, assisted())
