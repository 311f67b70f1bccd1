"""What the TextGrad library can express, said through the tools (docs/textgrad-parity.md)."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.schemas.settings import EvaluatorSettings

from ..helpers import Facts, Tools, answered, assisted, drive, served_by
from ..standin import StandIn, default_reply

Play = Callable[[Facts], Any]
PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n not much").decode()


def play(**parts: Any) -> Play:
    """An assistant: what it answers for each purpose, as a value or a function of the prompt."""

    def reply(pending: Facts) -> Any:
        part = parts[pending["purpose"].partition(":")[0]]
        return part(pending) if callable(part) else part

    return reply


async def variable(call: Tools, s: str | None, value: str, **facts: Any) -> str:
    """A variable's id; without a session the session's."""
    known = {"session_id": s} if s else {}
    made = await call("create_variable", value=value, **known, **({"role": "a text"} | facts))
    return str(made["variable"] if s else made["session_id"])


def test_an_llm_call_has_a_system_prompt_that_learns(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, "Answer in verse.", role="system prompt")
        await variable(call, s, "What is rain?", requires_grad=False)
        inputs = {"question": "v2"}
        asked = await call("forward", session_id=s, operation="llm", system="v1", inputs=inputs)
        [prompt] = asked["pending"]
        assert (prompt["system"], prompt["prompt"]) == ("Answer in verse.", "What is rain?")
        await answered(call, asked, play(forward="Water."))
        judge = {"kind": "judge", "instruction": "Is it a poem?", "inputs": {"text": "v3"}}
        judged = {"feedback": "No rhyme.", "score": 0.1}
        await answered(call, await call("compute_loss", session_id=s, **judge), play(judge=judged))
        asked = await call("backward", session_id=s)
        [critic] = asked["pending"]
        for words in ("Answer in verse.", "What is rain?", "Water.", "No rhyme.", "system prompt"):
            assert words in critic["prompt"]
        back = await answered(call, asked, play(gradient={"v1": "Ask for rhymes."}))
        assert [(g["variable"], g["text"]) for g in back["gradients"]] == [
            ("v1", "Ask for rhymes.")
        ]

    drive(main, assisted(tmp_path / "t.db"))


def test_one_text_of_an_instance_needs_a_judgement_and_a_rewrite(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, "x = 1 +", role="python code")
        judge = {"kind": "judge", "instruction": "Does it run?", "graded": False}
        loss = await call("compute_loss", session_id=s, inputs={"code": "v1"}, **judge)
        loss = await answered(call, loss, play(judge={"feedback": "It ends in +."}))
        assert "mean_score" not in loss
        back = await call("backward", session_id=s)
        assert [g["text"] for g in back["gradients"]] == ["It ends in +."]
        step = await call("step", session_id=s)
        [update] = step["pending"]
        assert "It ends in +." in update["prompt"]
        step = await answered(call, step, play(update={"value": "x = 1 + 1"}))
        assert step["variables"] == ["v1"]
        shown = await call("inspect", session_id=s, id="v1")
        assert shown["view"]["text"] == "x = 1 + 1"

    drive(main, assisted(tmp_path / "t.db"))


def test_a_formatted_call_takes_several_inputs_and_one_of_them_twice(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, "blue")
        await variable(call, s, "whale", requires_grad=False)
        asked = await call(
            "forward",
            session_id=s,
            operation="llm",
            template="A {colour} {thing}, very {again}: {as_it_is}",
            inputs={"colour": "v1", "thing": "v2", "again": "v1"},
        )
        [prompt] = asked["pending"]
        assert prompt["prompt"] == "A blue whale, very blue: {as_it_is}"
        assert any("{as_it_is}" in note for note in asked.get("notes", []))
        await answered(call, asked, play(forward="Hm."))
        common = {"kind": "feedback", "inputs": {"text": "v3"}}
        await call("compute_loss", session_id=s, feedback="Too blue.", score=0, **common)
        asked = await call("backward", session_id=s)
        [critic] = asked["pending"]
        assert "used as colour and again" in critic["prompt"]
        await answered(call, asked, play(gradient={"v1": "Less."}))
        graph = await call("inspect", session_id=s, what="graph")
        assert graph["view"]["operations"][0]["inputs"] == {
            "colour": "v1",
            "thing": "v2",
            "again": "v1",
        }

    drive(main, assisted(tmp_path / "t.db"))


def test_texts_put_together_share_their_feedback(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, "one")
        await variable(call, s, "two")
        both = {"template": "{a}{b}", "inputs": {"a": "v1", "b": "v2"}}
        made = await call("forward", session_id=s, operation="format", **both)
        assert made["values"][0]["text"] == "onetwo"
        await call(
            "compute_loss",
            session_id=s,
            kind="feedback",
            feedback="A space is missing.",
            inputs={"text": "v3"},
        )
        back = await call("backward", session_id=s)
        said = {(g["variable"], g["text"]) for g in back["gradients"]}
        assert said == {("v1", "A space is missing."), ("v2", "A space is missing.")}

    drive(main, assisted(tmp_path / "t.db"))


async def on_examples(call: Tools, rows: list[Facts], **prompt: Any) -> str:
    """A prompt v1 on the examples' field q (v2), with the right answers v3; the output is v4."""
    s = await variable(call, None, "Answer.", role="system prompt", **prompt)
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    await call("add_examples", session_id=s, split="train", examples=rows)
    return s


ROWS = [{"q": f"{n}+1?", "a": str(n + 1)} for n in range(5)]
EXACT = {"kind": "metric", "metric": "exact_match", "inputs": {"output": "v4", "answer": "v3"}}
LLM = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}


def test_a_batch_keeps_the_gradient_of_every_example(tmp_path: Path) -> None:
    def critic(pending: Facts) -> Any:
        [row] = [r for r in ROWS if r["q"] in pending["prompt"]]
        return {"v1": f"wrong on {row['q']}"}

    async def main(call: Tools) -> None:
        s = await on_examples(call, ROWS)
        await answered(call, await call("forward", session_id=s, **LLM), play(forward="?"))
        await call("compute_loss", session_id=s, **EXACT)
        asked = await call("backward", session_id=s, exact=True)
        # The metric's words are handed on through the metric (one call) and the model (another).
        parts = play(gradient=lambda p: critic(p) if "v1" in p["purpose"] else {"v4 e": ""})

        def reply(pending: Facts) -> Any:
            if "feedback on v1" in pending["purpose"]:
                return parts(pending)
            example = pending["purpose"].rpartition(" ")[2]
            return {f"v4 {example}": f"not right in {example}"}

        back = await answered(call, asked, reply)
        texts = [g["text"] for g in back["gradients"]]
        assert texts == [f"wrong on {row['q']}" for row in ROWS]
        assert [g["examples"] for g in back["gradients"]] == [[f"e{n}"] for n in range(1, 6)]
        step = await call("step", session_id=s)
        assert all(text in step["pending"][0]["prompt"] for text in texts)

    drive(main, assisted(tmp_path / "t.db"))


def content_of(server: StandIn, index: int) -> Any:
    """The user message of a request as it was sent."""
    return server.log[index].body["messages"][-1]["content"]


def test_a_picture_is_shown_to_the_model_and_gets_no_gradient(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, "Look closely.", role="system prompt")
        made = await call("create_variable", session_id=s, role="a picture", value=PICTURE)
        await variable(call, s, "What is it?", requires_grad=False)
        await call(
            "forward",
            session_id=s,
            operation="llm",
            system="v1",
            template="{question} See {picture}.",
            inputs={"question": "v3", "picture": made["variable"]},
        )
        await call(
            "compute_loss",
            session_id=s,
            kind="judge",
            instruction="Is the answer right?",
            inputs={"picture": "v2", "question": "v3", "answer": "v4"},
        )
        back = await call("backward", session_id=s)
        assert {g["variable"] for g in back["gradients"]} == {"v1"}
        words = await call.refused("step", session_id=s, variables=["v2"])
        assert "not a parameter" in words

    with StandIn(reply=default_reply) as server:
        drive(main, served_by(server, tmp_path / "t.db"))
        for index, words in ((0, "What is it? See [image: picture]."), (1, "Is the answer right?")):
            text, image = content_of(server, index)
            assert words in text["text"]
            assert image == {"type": "image_url", "image_url": {"url": PICTURE}}
            assert PICTURE not in text["text"]
        text, image = content_of(server, 2)
        assert "feedback on v1" in text["text"]
        assert "pictures that are named above follow" in text["text"]
        assert PICTURE not in text["text"]
        assert image == {"type": "image_url", "image_url": {"url": PICTURE}}  # the critic sees it


def test_every_example_may_have_a_picture_of_its_own(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        rows = [{"q": PICTURE + "A" * n, "a": "cat"} for n in (4, 8)]
        s = await on_examples(call, rows)
        await call("forward", session_id=s, **LLM)

    with StandIn(reply=default_reply) as server:
        drive(main, served_by(server, tmp_path / "t.db"))
        sent = {content_of(server, i)[-1]["image_url"]["url"] for i in range(2)}
        assert sent == {PICTURE + "AAAA", PICTURE + "A" * 8}


def test_a_picture_may_be_a_file_of_the_workspace(tmp_path: Path) -> None:
    data = base64.b64decode(PICTURE.partition(",")[2])
    (tmp_path / "cat.png").write_bytes(data)
    (tmp_path / "large.png").write_bytes(bytes(2000))

    async def main(call: Tools) -> None:
        made = await call("create_variable", role="a picture", file="cat.png")
        s = made["session_id"]
        shown = await call("inspect", session_id=s, id=made["variable"])
        assert shown["view"]["variable"]["kind"] == "image"
        assert shown["view"]["text"] == PICTURE
        words = await call.refused("create_variable", role="p", file="large.png")
        assert "smaller" in words
        words = await call.refused("create_variable", role="p", file="../cat.png")
        assert "workspace" in words
        words = await call.refused("create_variable", role="p", file="cat.png", write=True)
        assert "parameter" in words

    drive(main, assisted(tmp_path / "t.db", workspace=tmp_path, max_value_chars=1000))


def test_a_template_operation_refuses_a_picture_and_says_where_it_goes(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, PICTURE)
        words = await call.refused(
            "forward", session_id=s, operation="format", template="{p}", inputs={"p": "v1"}
        )
        assert "llm operation" in words

    drive(main, assisted(tmp_path / "t.db"))


def test_an_evaluation_of_several_fields_names_each_and_its_score_is_parsed(
    tmp_path: Path,
) -> None:
    async def main(call: Tools) -> None:
        s = await on_examples(call, ROWS[:1])
        await answered(call, await call("forward", session_id=s, **LLM), play(forward="one"))
        asked = await call(
            "compute_loss",
            session_id=s,
            kind="judge",
            instruction="Is the prediction the same as the ground truth?",
            inputs={"question": "v2", "ground_truth": "v3", "prediction": "v4"},
        )
        [judge] = asked["pending"]
        for name, text in (("question", "0+1?"), ("ground_truth", "1"), ("prediction", "one")):
            assert f'name="{name}"' in judge["prompt"]
            assert text in judge["prompt"]
        reply = 'Let me see.\n{"feedback": "The same in words.", "score": "0.75"}'
        loss = await answered(call, asked, play(judge=reply))
        assert (loss["values"][0]["text"], loss["mean_score"]) == ("The same in words.", 0.75)

    drive(main, assisted(tmp_path / "t.db"))


def test_multiple_choice_by_majority_vote_at_test_time(tmp_path: Path) -> None:
    said = iter(["Answer: B", "It is (A).", "a)"])

    async def main(call: Tools) -> None:
        s = await on_examples(call, ROWS[:1])
        rows = [{"q": "Which? A) one B) two", "a": "A"}]
        await call("add_examples", session_id=s, split="test", examples=rows)
        await answered(call, await call("forward", session_id=s, **LLM), play(forward="A"))
        letters = EXACT | {"metric": "multiple_choice"}
        await call.raw("compute_loss", {"session_id": s} | letters)
        asked = await call("evaluate", session_id=s, loss="v5", split="test", votes=3)
        assert len(asked["pending"]) == 3
        assert len({p["prompt"] for p in asked["pending"]}) == 1
        voted = await answered(call, asked, play(forward=lambda _: next(said)))
        assert voted["mean_score"] == 1
        once = await call("evaluate", session_id=s, loss="v5", split="test")
        assert once["status"] == "done"  # the first of the three samples; nothing is asked again
        assert once["reads"] == 2

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.parametrize(
    ("metric", "output", "score"),
    [
        ({"metric": "numeric"}, "So it is 1.0", 1),
        ({"metric": "numeric", "options": {"absolute_tolerance": 1}}, "2", 1),
        ({"metric": "contains"}, "one, or 1", 1),
        ({"metric": "f1"}, "1 or 2", 0.5),
        ({"metric": "edit_similarity"}, "12", 0.5),
    ],
)
def test_numeric_and_graded_losses_are_computed_by_code(
    tmp_path: Path, metric: Facts, output: str, score: float
) -> None:
    async def main(call: Tools) -> None:
        s = await on_examples(call, ROWS[:1])
        await answered(call, await call("forward", session_id=s, **LLM), play(forward=output))
        loss = await call("compute_loss", session_id=s, **(EXACT | metric))
        assert loss["status"] == "done"
        assert loss["mean_score"] == pytest.approx(score)

    drive(main, assisted(tmp_path / "t.db"))


LENGTH = """
import json, sys
given = json.load(sys.stdin)
print(json.dumps({"score": 0.0, "feedback": f"{len(given['inputs']['text'])} letters"}))
"""


def test_a_program_of_the_operator_is_a_loss_by_name(tmp_path: Path) -> None:
    program = EvaluatorSettings(command=[sys.executable, "-c", LENGTH])

    async def main(call: Tools) -> None:
        s = await variable(call, None, "four")
        common = {"session_id": s, "kind": "evaluator", "inputs": {"text": "v1"}}
        loss = await call("compute_loss", evaluator="length", **common)
        assert loss["values"][0]["text"] == "4 letters"
        back = await call("backward", session_id=s)
        assert [g["text"] for g in back["gradients"]] == ["4 letters"]
        words = await call.refused("compute_loss", evaluator="lenght", **common)
        assert "length" in words

    drive(main, assisted(tmp_path / "t.db", evaluators={"length": program}))


def test_several_losses_send_their_feedback_back_together(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, "Dear all")
        common = {"session_id": s, "kind": "feedback", "inputs": {"text": "v1"}}
        await call("compute_loss", feedback="Too cold.", **common)
        await call("compute_loss", feedback="Too short.", **common)
        back = await call("backward", session_id=s, losses=["v2", "v3"])
        assert [g["text"] for g in back["gradients"]] == ["Too cold.", "Too short."]

    drive(main, assisted(tmp_path / "t.db"))


def test_braces_in_prompts_and_answers_are_only_text(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, 'Reply as {"a": {x}} or {0}.', role="system prompt")
        await variable(call, s, "{y}", requires_grad=False)
        asked = await call(
            "forward",
            session_id=s,
            operation="llm",
            template="{prompt} {question}",
            inputs={"prompt": "v1", "question": "v2"},
        )
        assert asked["pending"][0]["prompt"] == 'Reply as {"a": {x}} or {0}. {y}'

    drive(main, assisted(tmp_path / "t.db"))


def test_only_losses_can_be_summed(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await variable(call, None, "one")
        words = await call.refused("compute_loss", session_id=s, kind="sum", inputs={"a": "v1"})
        assert "is no loss" in words

    drive(main, assisted(tmp_path / "t.db"))


def test_every_test_that_the_parity_page_names_exists() -> None:
    here = Path(__file__).parent.parent
    page = (here.parent / "docs" / "textgrad-parity.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 50
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^def {name}\(", next(here.rglob(file)).read_text("utf-8"), re.MULTILINE)
    ]
    assert not missing
