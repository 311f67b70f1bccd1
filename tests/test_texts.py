"""What is sent to models: material between fences, labels that name it, and engine/texts."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.graph import number

from .helpers import ME, Facts, Scripted, an_engine, made

TEXTS = Path(__file__).parent.parent / "engine" / "texts"
LABELS = (
    r"The text to (improve|check):",
    r"The text before:",
    r"The improved text must satisfy:",
    r"Rules:",
    r"- (No slang|It must have at most 40 characters\.)",
    r"Feedback on the text:",
    r"Feedback on a text whose role is: .*",
    r"Write feedback on:",
    r'"v\d+": feedback on v\d+ \(role: .*\)( for all examples together)?',
    r'"v\d+ eN" for each example N: feedback on what v\d+ \(role: .*; used as .*\) was there',
    r"v\d+, used as .*:",
    r"Example e\d+:",
    r"(First|Second) candidate:",
    r"Instruction: Is it good\?",
    r"Too long\.",
)
"""What else may stand there: names of what follows, which tell nobody to do anything, and what
users said themselves."""
FENCED = re.compile(r"<([\w-]+-[0-9a-f]{6})[^>]*>\n.*?\n</\1>", re.DOTALL)
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def reply(request: CompletionRequest) -> str:
    """A reply in the form that was asked for, long where feedback is to be merged."""
    if request.reply is None:
        return "merged" if request.purpose is Purpose.REDUCE else f"said {request.key[:6]}"
    said = f"{request.key[:6]}: longer, please. " * 100
    kinds = request.reply["properties"]
    return json.dumps({key: _value(key, kind, said) for key, kind in kinds.items()})


def _value(key: str, kind: dict[str, Any], said: str) -> Any:
    if "enum" in kind:
        return kind["enum"][0]
    if kind["type"] != "string":
        return 0.5
    return "A better text." if key == "value" else said


class Forgetful(Scripted):
    """Its first reply to anything in a form of its own is in no form."""

    async def answer(self, request: CompletionRequest, *rest: Any) -> Any:
        """The reply of a model that is told once what was wrong."""
        told = len(request.messages) > 2
        self.reply = reply if told or request.reply is None else lambda _: "sorry"
        return await super().answer(request, *rest)


Asked = list[CompletionRequest]


async def on_examples(engine: Engine, boxes: Asked, **loss: Any) -> str:
    """A prompt with rules on examples, judged by `loss`, with a template and a black box."""
    rules = ["No slang", "max_chars=40"]
    v = await engine.create_variable(ME, role="prompt", value="Answer.", constraints=rules)
    s = v.session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    rows = [{"q": f"question {n}", "a": f"right {n}"} for n in range(4)]
    for split in ("train", "validation"):
        given = [{k: f"{t} {split}" for k, t in row.items()} for row in rows]
        await engine.add_examples(ME, session_id=s, split=split, examples=given)
    at = "v2"
    steps: list[Facts] = [
        {"operation": "llm", "system": "v1"},
        {"operation": "external", "function": "turns it"},
        {"operation": "format", "template": "It says {x}"},
    ]
    for more in steps:
        at = made(await engine.forward(ME, session_id=s, inputs={"x": at}, **more))
        await run(engine, s, boxes)
    await engine.compute_loss(ME, session_id=s, inputs={"output": at} | loss.pop("with_"), **loss)
    return s


async def run(engine: Engine, s: str, boxes: Asked) -> None:
    """Play the black boxes that the session waits for, until it waits for none; keep what they
    were asked in `boxes`."""
    session = await engine.store.session(s, ME.owner)
    last = await engine.store.last_run(session.pk, s)
    while last is not None and last.status == "needs_completions":
        calls = await engine.store.pending(session.pk, number(last.id, "r") or 0)
        boxes.extend(request for _, request in calls)
        said = {f"c{n}": {"feedback": f"ran as {n}", "score": 0.1} for n, _ in calls}
        await engine.resume(ME, session_id=s, completions=said)
        last = await engine.store.last_run(session.pk, s)


async def everything(critic: Scripted) -> Asked:
    """What is asked in sessions that come by every kind of call."""
    boxes: Asked = []
    async with an_engine(critic, prompt_budget=500, minibatch=4, group_size=2) as engine:
        judged: Facts = {
            "kind": "judge",
            "instruction": "Is it good?",
            "graded": False,
            "with_": {},
        }
        s = await on_examples(engine, boxes, **judged)
        await engine.backward(ME, session_id=s)
        await engine.step(ME, session_id=s, accept="if_better")
        await run(engine, s, boxes)
        metric: Facts = {"kind": "metric", "metric": "exact_match", "with_": {"answer": "v3"}}
        s = await on_examples(engine, boxes, **metric)
        for exact in (False, True, False):
            await engine.backward(ME, session_id=s, exact=exact)
            await run(engine, s, boxes)
            await engine.step(ME, session_id=s, memory=2)
        await with_a_picture(engine, boxes)
    return [*critic.asked, *boxes]


async def with_a_picture(engine: Engine, boxes: Asked) -> None:
    """A picture that is described, and a loss that somebody measures anew after a step."""
    v = await engine.create_variable(ME, role="prompt", value="Describe it.")
    s = v.session_id or ""
    picture: Facts = {"role": "picture", "value": PICTURE, "requires_grad": False}
    await engine.create_variable(ME, session_id=s, **picture)
    more: Facts = {"operation": "llm", "system": "v1", "inputs": {"x": "v2"}}
    at = made(await engine.forward(ME, session_id=s, **more))
    measured: Facts = {"kind": "feedback", "feedback": "Too long.", "inputs": {"text": at}}
    await engine.compute_loss(ME, session_id=s, **measured)
    await engine.backward(ME, session_id=s)
    await engine.step(ME, session_id=s)
    await engine.forward(ME, session_id=s)
    await run(engine, s, boxes)


def lines_of_code(request: CompletionRequest) -> Iterator[str]:
    """The lines that are neither a user's nor a model's own words nor between fences."""
    if request.purpose is Purpose.FORWARD:
        return
    for message in request.messages:
        if message.role != "assistant":
            yield from filter(None, FENCED.sub("", message.content).split("\n"))


def known_lines() -> list[re.Pattern[str]]:
    """Every line of engine/texts, with anything in its places, and the labels."""
    lines = [line for path in TEXTS.glob("*.md") for line in path.read_text("utf-8").split("\n")]
    written = [re.sub(r"\\\{\w+\\\}", ".*", re.escape(line)) for line in lines if line != "{found}"]
    return [re.compile(line) for line in (*filter(None, written), *LABELS)]


def unknown(requests: Asked) -> set[str]:
    """Lines that nobody knows."""
    known = known_lines()
    lines = {line for request in requests for line in lines_of_code(request)}
    return {line for line in lines if not any(one.fullmatch(line) for one in known)}


@pytest.mark.parametrize("critic", [Scripted(reply), Forgetful(reply)])
def test_instructions_to_models_stand_in_the_texts_alone(critic: Scripted) -> None:
    asked = asyncio.run(everything(critic))
    assert {request.purpose for request in asked} == set(Purpose)
    assert unknown(asked) == set()


def test_an_instruction_in_the_code_would_be_found() -> None:
    asked = asyncio.run(everything(Scripted(reply)))
    [last] = asked[-1].messages[-1:]
    worse = last.model_copy(update={"content": f"{last.content}\n\nThink step by step."})
    bad = asked[-1].model_copy(update={"messages": (worse,)})
    assert unknown([bad]) == {"Think step by step."}
