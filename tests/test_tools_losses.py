"""Losses, black boxes and examples through the real server in memory."""

from __future__ import annotations

import json

import pytest

from .helpers import Facts, Tools, answered, assisted, drive


async def started(call: Tools, value: str = "seed") -> str:
    """A session with the parameter v1."""
    return str((await call("create_variable", role="a text", value=value))["session_id"])


async def fed(call: Tools, rows: list[Facts] | str, template: str = "{q}") -> str:
    """A session whose v3 is made by a template from the field q (v2), and its examples."""
    s = await started(call)
    await call("create_variable", session_id=s, role="q", example_field="q")
    inputs = {"q": "v2"} | ({"p": "v1"} if "{p}" in template else {})
    await call("forward", session_id=s, operation="format", template=template, inputs=inputs)
    await call("add_examples", session_id=s, split="train", examples=rows)
    return s


@pytest.mark.requirement("told")
def test_a_black_box_whose_output_is_known_takes_it() -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        box = await call(
            "forward",
            session_id=s,
            operation="external",
            function="count the letters",
            inputs={"text": "v1"},
            output="4",
        )
        assert box["status"] == "done"
        assert [v["text"] for v in box["values"]] == ["4"]

    drive(main, assisted())


@pytest.mark.requirement("told")
def test_what_was_told_of_a_black_box_stands_beside_what_was_told_of_another_like_it() -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        loss = {"kind": "feedback", "feedback": "dull", "inputs": {"text": "v1"}}
        first = await call("compute_loss", session_id=s, score=0.25, **loss)
        second = await call("compute_loss", session_id=s, score=0.75, **loss)
        assert (first["mean_score"], second["mean_score"]) == (0.25, 0.75)
        box = {"operation": "external", "function": "throw a die", "inputs": {"text": "v1"}}
        thrown = [await call("forward", session_id=s, output=o, **box) for o in ("4", "6")]
        assert [v["text"] for box in thrown for v in box["values"]] == ["4", "6"]

    drive(main, assisted())


def test_what_waits_for_examples_does_not_hold_up_what_needs_none() -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        await call("create_variable", session_id=s, role="a field", example_field="q")
        for name in ("v1", "v2"):
            made = {"operation": "format", "template": "<{x}>", "inputs": {"x": name}}
            await call("forward", session_id=s, **made)
        await call("create_variable", session_id=s, role="text", value="new")
        made = {"operation": "llm", "inputs": {"x": "v3"}}
        await call("forward", session_id=s, **made)
        await call("resume", session_id=s, cancel=True)
        again = await call("forward", session_id=s)
        assert again["status"] == "needs_completions"
        done = await call("resume", session_id=s, completions={again["pending"][0]["id"]: "said"})
        assert [v["text"] for v in done["values"]] == ["said"]
        assert "v4 need training examples" in done["next"]

    drive(main, assisted())


def test_a_black_box_that_is_stale_is_asked_for_again_with_its_inputs() -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        box = {"operation": "external", "function": "count the letters", "inputs": {"text": "v1"}}
        asked = await call("forward", session_id=s, **box)
        [pending] = asked["pending"]
        assert "count the letters" in pending["prompt"]
        assert "seed" in pending["prompt"]
        await call("resume", session_id=s, completions={pending["id"]: "4"})
        words = "too few letters"
        loss = await call(
            "compute_loss",
            session_id=s,
            kind="feedback",
            feedback=words,
            score=0.2,
            inputs={"count": "v2"},
        )
        assert (loss["values"][0]["text"], loss["mean_score"]) == (words, 0.2)

        def play(pending: Facts) -> object:
            if pending["purpose"].startswith("gradient"):
                return {"v1": "Add letters."}
            return {"value": "seedling"}

        back = await answered(call, await call("backward", session_id=s), play)
        assert [g["text"] for g in back["gradients"]] == ["Add letters."]
        await answered(call, await call("step", session_id=s), play)
        again = await call("forward", session_id=s)
        [box_again] = again["pending"]
        assert "seedling" in box_again["prompt"]
        measured = await call("resume", session_id=s, completions={box_again["id"]: "8"})
        [loss_again] = measured["pending"]
        assert words in loss_again["prompt"]
        given = {loss_again["id"]: {"feedback": "fine now", "score": 1}}
        done = await call("resume", session_id=s, completions=given)
        assert done["mean_score"] == 1

    drive(main, assisted())


@pytest.mark.parametrize("output", ["", "\n", "error: 42"])
def test_a_black_box_may_print_nothing(output: str) -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        box = {"operation": "external", "function": "f", "inputs": {"text": "v1"}}
        [pending] = (await call("forward", session_id=s, **box))["pending"]
        done = await call("resume", session_id=s, completions={pending["id"]: output})
        assert done["status"] == "done"

    drive(main, assisted())


def test_a_black_box_runs_on_every_example() -> None:
    async def main(call: Tools) -> None:
        s = await fed(call, [{"q": "one"}, {"q": "two"}])
        box = {"operation": "external", "function": "shout", "inputs": {"text": "v3"}}
        words = await call.refused("forward", session_id=s, output="ONE", **box)
        assert "2 examples" in words
        asked = await call("forward", session_id=s, **box)
        shout = {p["id"]: "ONE" if "one" in p["prompt"] else "TWO" for p in asked["pending"]}
        done = await call("resume", session_id=s, completions=shout)
        assert [(v["example"], v["text"]) for v in done["values"]] == [("e1", "ONE"), ("e2", "TWO")]

    drive(main, assisted())


def test_a_sum_of_losses_has_the_weighted_score_and_the_feedback_of_its_parts() -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        common = {"session_id": s, "kind": "feedback", "inputs": {"text": "v1"}}
        await call("compute_loss", **common, feedback="too short", score=0.0)
        await call("compute_loss", **common, feedback="too dry", score=1.0)
        await call("compute_loss", **common, feedback="too plain", score=0.5)
        total = await call(
            "compute_loss",
            session_id=s,
            kind="sum",
            inputs={"a": "v2", "b": "v3", "c": "v4"},
            weights={"a": 2, "c": 2},
        )
        assert total["mean_score"] == pytest.approx((0 * 2 + 1 + 0.5 * 2) / 5)
        back = await call("backward", session_id=s)
        said = [g["text"] for g in back["gradients"]]
        assert said == ["too short", "too plain"]  # what scores 1 has nothing to improve

    drive(main, assisted())


def test_a_loss_with_nothing_to_improve_gives_no_gradient() -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        await call("create_variable", session_id=s, role="a", value="seed", reference=True)
        metric = {"kind": "metric", "metric": "exact_match"}
        await call("compute_loss", session_id=s, inputs={"output": "v1", "answer": "v2"}, **metric)
        back = await call("backward", session_id=s)
        assert back["mean_score"] == 1
        assert "gradients" not in back
        assert "nothing to improve" in back["next"]

    drive(main, assisted())


def test_a_row_without_a_field_that_is_needed_is_left_out_and_named() -> None:
    async def main(call: Tools) -> None:
        s = await fed(call, [{"q": "one"}, {"other": "two"}])
        done = await call("forward", session_id=s)
        assert done["examples"] == ["e1"]
        assert done["notes"] == ["Left out, as they lack a field (q): 1 (e2)."]
        words = await call.refused("forward", session_id=s, examples=["e2"])
        assert "e2" in words
        assert "'q'" in words
        assert "other" in words

    drive(main, assisted())


def test_rows_that_a_split_has_already_are_skipped_and_counted() -> None:
    async def main(call: Tools) -> None:
        s = await fed(call, [{"q": "one"}, {"q": "two"}])
        again = {"session_id": s, "examples": [{"q": "two"}, {"q": "three"}, {"q": "three"}]}
        added = await call("add_examples", split="train", **again)
        assert (added["added"], added["skipped"], added["total"]) == (1, 2, 3)
        other = await call("add_examples", split="test", **again)
        assert other["added"] == 2
        assert "another split too" in " ".join(other["notes"])

    drive(main, assisted())


def test_a_row_added_between_two_others_has_the_next_id() -> None:
    async def main(call: Tools) -> None:
        s = await fed(call, [{"q": "one"}, {"q": "one"}, {"q": "two"}])
        values = (await call("forward", session_id=s))["values"]
        assert [(v["example"], v["text"]) for v in values] == [("e1", "one"), ("e2", "two")]

    drive(main, assisted())


@pytest.mark.parametrize(
    "text",
    [
        '{"q": "one"}\n{"q": "two"}',
        '\ufeff{"q": "one"}\r\n\r\n{"q": "two"}\r\n',
        '[{"q": "one"}, {"q": "two"}]',
        "q\none\ntwo\n",
        "q,z\n" + '"one",1\n"two","2, 3"\n',
    ],
)
def test_rows_come_as_json_lines_json_or_csv(text: str) -> None:
    async def main(call: Tools) -> None:
        s = await fed(call, text)
        assert [v["text"] for v in (await call("forward", session_id=s))["values"]] == [
            "one",
            "two",
        ]

    drive(main, assisted())


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ('{"q": "one"}\n{"q": ', "Line 2"),
        ('{"q": "one"}\n[1]', "Line 2"),
        ("q,z\none\n", "Line 2"),
        ("q\n", "no rows"),
        ("", "no "),
        ("[]", "no "),
        ([], "no "),
        ([{}], "no "),
        ([{"q": "one"}, 7], "Row 2"),
    ],
)
def test_rows_that_cannot_be_read_are_refused_by_number(rows: object, named: str) -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        words = await call.refused("add_examples", session_id=s, split="train", examples=rows)
        assert named in words

    drive(main, assisted())


def test_a_field_that_is_no_text_is_kept_as_json() -> None:
    async def main(call: Tools) -> None:
        s = await fed(call, [{"q": 7}, {"q": {"a": [1, None]}}, {"q": None}])
        values = (await call("forward", session_id=s))["values"]
        assert [v["text"] for v in values] == ["7", json.dumps({"a": [1, None]})]

    drive(main, assisted())


def test_evaluate_gives_mean_spread_and_the_failures() -> None:
    async def main(call: Tools) -> None:
        s = await fed(call, [{"q": "A", "a": "A"}])
        await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
        inputs = {"output": "v3", "answer": "v4"}
        metric = {"kind": "metric", "metric": "exact_match", "inputs": inputs}
        await call("compute_loss", session_id=s, **metric)
        rows = [{"q": x, "a": "A"} for x in "ABCA"] + [{"q": "A ", "a": "A"}]
        await call("add_examples", session_id=s, split="validation", examples=rows)
        found = await call("evaluate", session_id=s)
        assert found["examples"] == 4
        assert found["mean_score"] == 0.5
        assert found["standard_error"] > 0
        assert [f["output"] for f in found["failures"]] == ["B", "C"]
        assert found["failures"][0]["fields"] == {"q": "B", "a": "A"}
        await call("add_examples", session_id=s, split="test", examples=[{"q": "A", "a": "A"}])
        first = await call("evaluate", session_id=s, split="test")
        assert (first["mean_score"], first["reads"]) == (1, 1)
        second = await call("evaluate", session_id=s, split="test")
        assert second["reads"] == 2

    drive(main, assisted())


def test_new_examples_make_the_default_batch_stale() -> None:
    async def main(call: Tools) -> None:
        s = await fed(call, [{"q": "one"}])
        await call("forward", session_id=s)
        await call("add_examples", session_id=s, split="train", examples=[{"q": "two"}])
        again = await call("forward", session_id=s)
        assert again["recomputed"] == ["v3"]
        assert again["examples"] == ["e1", "e2"]

    drive(main, assisted())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"kind": "judge"}, "instruction"),
        ({"kind": "metric"}, "metric"),
        ({"kind": "metric", "metric": "exact_mach"}, "exact_match"),
        ({"kind": "evaluator", "evaluator": "nobody"}, "nobody"),
        ({"kind": "feedback"}, "feedback"),
        ({"kind": "feedback", "feedback": "f", "score": 1.5}, "between 0 and 1"),
        ({"kind": "judge", "instruction": "i", "inputs": {}}, "inputs"),
        ({"kind": "judge", "instruction": "i", "inputs": {"x": "v99"}}, "'v99'"),
        ({"kind": "judge", "instruction": "i", "inputs": {"x": "hello"}}, "'hello'"),
    ],
)
def test_a_loss_that_cannot_be_is_refused_in_words(arguments: Facts, named: str) -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        given = {"inputs": {"output": "v1"}} | arguments
        assert named in await call.refused("compute_loss", session_id=s, **given)
        graph = await call("inspect", session_id=s, what="graph")
        assert "operations" not in graph.get("view", {}) or not graph["view"]["operations"]

    drive(main, assisted())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"operation": "format"}, "template"),
        ({"operation": "format", "template": "no place", "inputs": {"x": "v1"}}, "{x}"),
        ({"operation": "llm", "inputs": {"a": "v1", "b": "v1"}}, "template"),
        ({"operation": "llm", "inputs": {"a": "v7"}}, "'v7'"),
        ({"operation": "llm", "inputs": {"a": "v1"}, "system": "v8"}, "'v8'"),
        ({"operation": "external", "inputs": {"a": "v1"}}, "function"),
        ({"operation": "llm", "inputs": {"a": "v1"}, "output": "x"}, "external"),
        ({"template": "{x}"}, "operation"),
    ],
)
def test_an_operation_that_cannot_be_is_refused_in_words(arguments: Facts, named: str) -> None:
    async def main(call: Tools) -> None:
        s = await started(call)
        assert named in await call.refused("forward", session_id=s, **arguments)

    drive(main, assisted())
