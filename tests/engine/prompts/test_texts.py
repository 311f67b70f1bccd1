"""What is sent to models: material between fences, and lines of engine/prompts."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.constraints.constraints import parse, violations
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.program.operations.critique import GRADED_REPLY, read_critique
from textgrad_mcp.engine.replies.reply import Malformed, check_completion
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Purpose
from textgrad_mcp.schemas.graph import Value, number

from ...helpers import ME, Facts, Scripted, an_engine, made

TEXTS = Path(__file__).parent.parent.parent.parent / "engine" / "prompts"
USERS = (r"Instruction: Is it good\?", r"- No slang", r"Too long\.")
"""What else may stand there: what users said themselves."""
SENTENCES = ("labels", "rules", "problems", "reasons")
"""The files whose lines are put together, each beneath a key."""
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
    value = loss.pop("value", "Answer.")
    v = await engine.create_variable(ME, role="prompt", value=value, constraints=rules)
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
    session = await engine.store.sessions.get(s, ME.owner)
    last = await engine.store.runs.last(session.pk, s)
    while last is not None and last.status == "needs_completions":
        calls = await engine.store.calls.pending(session.pk, number(last.id, "r") or 0)
        boxes.extend(request for _, request in calls)
        said = {f"c{n}": {"feedback": f"ran as {n}", "score": 0.1} for n, _ in calls}
        await engine.resume(ME, session_id=s, completions=said)
        last = await engine.store.runs.last(session.pk, s)


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
    async with an_engine(critic, minibatch=4) as engine:
        for judge in (True, False):
            await by_reflection(engine, boxes, judge=judge)
    return [*critic.asked, *boxes]


async def by_reflection(engine: Engine, boxes: Asked, *, judge: bool) -> None:
    """Reflections on texts short and long, on examples and on none, that are shown each other."""
    asked: Facts = {"kind": "judge", "instruction": "Is it good?", "with_": {}}
    metric: Facts = {"kind": "metric", "metric": "exact_match", "with_": {"answer": "v3"}}
    long: Facts = metric | {"value": "Answer as well as you can. " * 200}
    s = await on_examples(engine, boxes, **(asked if judge else long))
    for accept in ("never", "if_better", "never"):
        await engine.step(ME, session_id=s, strategy="reflect", accept=accept, candidates=2)
        await run(engine, s, boxes)
    v = await engine.create_variable(ME, role="answer", value="It is 4.")
    good: Facts = {"kind": "judge", "instruction": "Is it good?", "inputs": {"text": "v1"}}
    await engine.compute_loss(ME, session_id=v.session_id, **good)
    await engine.step(ME, session_id=v.session_id, strategy="reflect", accept="always")


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


def patterns(name: str) -> list[str]:
    """The lines of a file, with anything in their places."""
    lines = (TEXTS / f"{name}.md").read_text("utf-8").split("\n")
    said = [line.partition(": ")[2] if name in SENTENCES else line for line in lines]
    return [re.sub(r"\\\{\w+\\\}", ".*", re.escape(line)) for line in said if line]


def problems() -> str:
    """Anything that may be wrong with a reply: one of the problems after the other."""
    one = "|".join([*patterns("problems"), *patterns("rules")])
    return rf"({one})(\s({one}))*"


def known_lines() -> list[re.Pattern[str]]:
    """Every line of engine/prompts, on its own or as an item of a list."""
    names = [path.stem for path in TEXTS.glob("*.md") if path.stem != "repair"]
    lines = [line for name in names for line in patterns(name) if line != ".*"]
    repair = [line.replace(".*", problems()) for line in patterns("repair")]
    rules = [rf"- {line}" for line in patterns("rules")]
    return [re.compile(line) for line in (*lines, *rules, *repair, *USERS)]


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


BAD_REPLIES = [
    Completion(text="", refusal="I would rather not."),
    Completion(text="", finish="length", reasoning="Well"),
    Completion(text="So far", finish="length"),
    Completion(text="", finish="content_filter"),
    Completion(text="", finish="error"),
    Completion(text="", reasoning="Well"),
    Completion(text="", finish="tool_calls"),
    Completion(text=" "),
    Completion(text="a\0b"),
    Completion(text="It is good."),
    Completion(text='{"feedback": "It is'),
    Completion(text='{"feedback": "It is" good, "score": 1}'),
    Completion(text='{"feedback": ' + "[" * 300 + "]" * 300 + "}"),
    Completion(text='{"feedback": "It is good.", "price": 3}'),
    Completion(text='{"feedback": "It is good.", "score": "high"}'),
    Completion(text='{"feedback": "It is good.", "score": 1e999}'),
    Completion(text='{"feedback": "It is good.", "score": 7}'),
]


def judged(reply: Completion) -> Value:
    """What a judge's reply says."""
    check_completion(reply)
    return read_critique(reply, GRADED_REPLY, "")


@pytest.mark.parametrize("bad", BAD_REPLIES)
def test_what_is_wrong_with_a_reply_is_said_in_the_texts(bad: Completion) -> None:
    with pytest.raises(Malformed) as told:
        judged(bad)
    assert re.fullmatch(problems(), told.value.reason), told.value.reason


BROKEN = {
    "max_chars=3": "longer",
    "max_words=1": "two words",
    "max_tokens=1": "more than four",
    "contains=digits": "none",
    "keep=as it was": "none",
    "max_change=0.1": "all is new",
    "parses=json": "```json\n{\n```",
    "placeholders=keep": "none",
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_rule_and_what_breaks_it_are_said_in_the_texts(line: str) -> None:
    rules = parse([line])
    said = [*rules.words, *violations(rules, "keep {this} as it was", BROKEN[line])]
    one = re.compile("|".join(patterns("rules")))
    assert len(said) == 2
    assert [s for s in said if not re.fullmatch(f"({one.pattern})( Leave out .*)?", s)] == []


def spoken(tree: ast.AST) -> Iterator[str]:
    """The words of the code's own in what is wrong with a reply, in a rule or in a reason."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Malformed", "Rule", "Reason"):
            for part in chain(*map(ast.walk, node.args)):
                if isinstance(part, ast.Constant) and " " in str(part.value).strip():
                    yield str(part.value)


def test_no_fault_no_rule_and_no_reason_is_told_in_words_of_the_code() -> None:
    paths = TEXTS.parent.rglob("*.py")
    assert [w for path in paths for w in spoken(ast.parse(path.read_text("utf-8")))] == []
    assert list(spoken(ast.parse("raise Malformed(f'It has {n} words.')"))) == ["It has "]
    assert list(spoken(ast.parse("Reason(fate, 'it is late')"))) == ["it is late"]


NOT_SENT = ("Job", "Conflict", "result.notes.append", "shuffled")
"""Calls with words for whoever calls a tool; and the seed of a shuffle."""
SPEAKS_TO_CALLERS = ("cost_estimate", "sizes", "progress", "repeats")
"""Modules of the optimizer that ask no model and refuse no text; what they say, callers read."""
FOR_CALLERS = ("harder", "_best_refusal", "usable_gradients", "told")
"""Functions of the others that speak to callers alone."""


def own_words(tree: ast.AST) -> Iterator[str]:
    """The words of the code's own, but for those that only people or callers of tools read: in
    docstrings, in errors, in what a request is about, in the phase and the notes of a run."""
    for node in ast.iter_child_nodes(tree):
        a_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        about = isinstance(node, ast.keyword) and node.arg == "about"
        told = isinstance(node, ast.Call) and ast.unparse(node.func) in NOT_SENT
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = node.name in FOR_CALLERS
        phase = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "work.phase"
        if isinstance(node, ast.Constant) and " " in str(node.value).strip():
            yield str(node.value)
        elif not (a_docstring or about or told or phase or isinstance(node, ast.Raise)):
            yield from own_words(node)


OPTIMIZER = sorted((TEXTS.parent / "optimizer").glob("*.py"))
SPEAKING = [path for path in OPTIMIZER if path.stem not in SPEAKS_TO_CALLERS]


@pytest.mark.parametrize("path", SPEAKING, ids=lambda path: path.stem)
def test_where_texts_are_rewritten_and_refused_the_code_has_no_words_of_its_own(path: Path) -> None:
    assert list(own_words(ast.parse(path.read_text("utf-8")))) == []


def test_words_of_the_code_are_seen_wherever_they_go() -> None:
    assert list(own_words(ast.parse("parts.append(f'Result: {it}')"))) == []
    assert list(own_words(ast.parse("parts.append(f'The text: {it}')"))) == ["The text: "]
    assert list(own_words(ast.parse("words = f'no gain: {it}'\nReason(fate, words)"))) != []
    assert list(own_words(ast.parse("def why() -> str:\n return 'no gain'"))) == ["no gain"]


def test_no_key_of_a_sentence_stands_there_in_vain() -> None:
    code = "".join(path.read_text("utf-8") for path in TEXTS.parent.rglob("*.py"))
    keys = [
        line.partition(": ")[0]
        for name in SENTENCES
        for line in (TEXTS / f"{name}.md").read_text("utf-8").strip().split("\n")
    ]
    assert [k for k in keys if f'"{k}"' not in code and f"'{k}'" not in code] == []
