"""How each kind of operation makes its output: one rule a kind, in a table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..schemas.completions import Completion, CompletionRequest, Message, Purpose
from ..schemas.graph import Op, Operation, Value
from . import metrics
from .answerers import Go, RecordAttempt
from .evaluators import Evaluators
from .fence import Fence
from .ledger import Work
from .replies import Malformed, object_schema, parse_object
from .templates import render
from .texts import text


@dataclass
class Inputs:
    """What one operation reads at one place: `texts`, `values` and `images` by input name."""

    about: str
    texts: dict[str, str] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    system: str | None = None
    images: dict[str, str] = field(default_factory=dict)
    sample: int = 0


Rule = Callable[[Work, Operation, Inputs], "Value | Awaitable[Value]"]


def prompt_of(operation: Operation, inputs: Inputs) -> str:
    """The user prompt of an llm or format operation: its template, filled in, or its one input."""
    template = operation.spec.get("template")
    if template is None:
        return next(iter(inputs.texts.values()), "")
    shown = {name: f"[image: {name}]" for name in inputs.images}
    return render(template, inputs.texts | shown)


def _format(work: Work, operation: Operation, inputs: Inputs) -> Value:
    return Value(text=prompt_of(operation, inputs))


async def _llm(work: Work, operation: Operation, inputs: Inputs) -> Value:
    user = Message(
        role="user", content=prompt_of(operation, inputs), images=tuple(inputs.images.values())
    )
    system = [Message(role="system", content=inputs.system)] if inputs.system else []
    request = CompletionRequest(
        purpose=Purpose.FORWARD,
        messages=(*system, user),
        sample=inputs.sample,
        about=inputs.about,
    )
    return Value(text=await work.ask(request, lambda c: c.text))


def external_request(operation: Operation, inputs: Inputs) -> CompletionRequest:
    """What is asked of whoever runs a black box, or measures a loss."""
    fence = Fence(inputs.texts.values())
    values = [fence.wrap("input", t, name=n) for n, t in inputs.texts.items()]
    how = operation.spec.get("function", "")
    if operation.kind is Op.FEEDBACK:
        how = operation.spec.get("instruction") or text("feedback_before", found=how)
        told = text("feedback", function=how)
    else:
        told = text("external", function=how)
    return CompletionRequest(
        purpose=Purpose.EXTERNAL,
        messages=(Message(role="user", content="\n\n".join([told, *values])),),
        about=inputs.about,
    )


def _was_given(work: Work, operation: Operation) -> bool:
    """Whether this is the call that made `operation` and told what comes out."""
    return bool(work.args.get("given")) and operation.output in work.args["targets"]


async def _told(work: Work, operation: Operation, inputs: Inputs, said: str) -> CompletionRequest:
    """The request for an operation whose maker told `said`: on these inputs, or on others.

    What was told has a key of its own: two boxes of one description may do different things.
    """
    request = external_request(operation, inputs)
    told = request.model_copy(update={"params": {"told": said}})
    if _was_given(work, operation):
        await work.supply(told, said)
        return told
    return told if await work.store.answered(work.session.pk, told.key) else request


async def _external(work: Work, operation: Operation, inputs: Inputs) -> Value:
    said = operation.spec.get("output")
    if said is None:
        request = external_request(operation, inputs)
    else:
        request = await _told(work, operation, inputs, said)
    return Value(text=await work.ask(request, lambda c: c.text))


FEEDBACK_REPLY = object_schema(
    {"feedback": {"type": "string"}, "score": {"type": ["number", "null"]}}
)
CRITIQUE_REPLY = object_schema({"feedback": {"type": "string"}})
GRADED_REPLY = object_schema({"feedback": {"type": "string"}, "score": {"type": "number"}})


def read_critique(completion: Completion, schema: dict[str, Any]) -> Value:
    """Feedback and score out of a reply. Raises Malformed, also for a score outside 0 to 1."""
    reply = parse_object(completion.text, schema)
    score = reply.get("score")
    if score is not None and not 0 <= score <= 1:
        raise Malformed(f"The score must be between 0 and 1, not {score}.")
    return Value(text=reply["feedback"].strip(), score=score)


async def _feedback(work: Work, operation: Operation, inputs: Inputs) -> Value:
    found = {"feedback": operation.spec["function"], "score": operation.spec.get("score")}
    request = await _told(work, operation, inputs, json.dumps(found, ensure_ascii=False))
    return await work.ask(request, lambda c: read_critique(c, FEEDBACK_REPLY))


async def _judge(work: Work, operation: Operation, inputs: Inputs) -> Value:
    graded = operation.spec.get("graded", True)
    schema = GRADED_REPLY if graded else CRITIQUE_REPLY
    system = text("judge") + ("\n\n" + text("judge_score") if graded else "")
    fence = Fence(inputs.texts.values())
    values = [fence.wrap("text", t, name=n) for n, t in inputs.texts.items()]
    form = '{"feedback": "...", "score": 0.0}' if graded else '{"feedback": "..."}'
    user = "\n\n".join(
        [f"Instruction: {operation.spec['instruction']}", *values, text("reply", form=form)]
    )
    request = CompletionRequest(
        purpose=Purpose.JUDGE,
        messages=(
            Message(role="system", content=system),
            Message(role="user", content=user, images=tuple(inputs.images.values())),
        ),
        reply=schema,
        about=inputs.about,
    )
    return await work.ask(request, lambda c: read_critique(c, schema))


def _metric(work: Work, operation: Operation, inputs: Inputs) -> Value | Awaitable[Value]:
    metric, options = operation.spec["metric"], operation.spec.get("options", {})
    if metric in metrics.SLOW:  # these wait for a child process
        return asyncio.to_thread(metrics.score, metric, inputs.texts, options)
    return metrics.score(metric, inputs.texts, options)


def _sum(work: Work, operation: Operation, inputs: Inputs) -> Value:
    weights = operation.spec.get("weights", {})
    parts = [(n, v, float(weights.get(n, 1.0))) for n, v in inputs.values.items()]
    said = "\n\n".join(f"{name}: {value.text}" for name, value, _ in parts if value.text)
    graded = [(v.score, w) for _, v, w in parts if v.score is not None]
    if not graded:
        return Value(text=said)
    total = sum(w for _, w in graded)
    return Value(text=said, score=sum(s * w for s, w in graded) / total)


RULES: dict[Op, Rule] = {
    Op.LLM: _llm,
    Op.FORMAT: _format,
    Op.EXTERNAL: _external,
    Op.FEEDBACK: _feedback,
    Op.JUDGE: _judge,
    Op.METRIC: _metric,
    Op.SUM: _sum,
}


class _Program:
    """The answerer that is a registered program, for one set of inputs."""

    model = ""

    def __init__(self, evaluators: Evaluators, name: str, texts: dict[str, str]) -> None:
        self.name = f"evaluator {name}"
        self._evaluators, self._evaluator, self._texts = evaluators, name, texts

    @property
    def params(self) -> dict[str, object]:
        return {}

    async def answer(self, request: CompletionRequest, record: RecordAttempt, go: Go) -> Completion:
        go()
        value = await self._evaluators.score(self._evaluator, self._texts)
        found = {"feedback": value.text, "score": value.score}
        return Completion(text=json.dumps(found, ensure_ascii=False), model=self.name)

    async def close(self) -> None:
        pass


def evaluator_rule(evaluators: Evaluators) -> Rule:
    """The rule of losses that are programs: run once for the same texts, like any completion."""

    async def rule(work: Work, operation: Operation, inputs: Inputs) -> Value:
        name = operation.spec["evaluator"]
        fence = Fence(inputs.texts.values())
        values = [fence.wrap("input", t, name=n) for n, t in inputs.texts.items()]
        request = CompletionRequest(
            purpose=Purpose.JUDGE,
            model=f"evaluator {name}",
            messages=(Message(role="user", content="\n\n".join(values)),),
            about=inputs.about,
        )
        program = _Program(evaluators, name, inputs.texts)
        completion = await work.ledger.need(work, request, program)
        return read_critique(completion, FEEDBACK_REPLY)

    return rule
