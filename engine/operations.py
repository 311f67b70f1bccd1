"""How each kind of operation makes its output: one rule a kind, in a table."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..schemas.completions import Completion, CompletionRequest, Message, Purpose
from ..schemas.errors import (
    BadInput,
    EndpointDown,
    EndpointRefused,
    ProgramFailed,
    ReplyError,
    TextGradError,
    TooLong,
)
from ..schemas.graph import Op, Operation, Value
from . import metrics
from .answerers import Go, RecordAttempt
from .define import check_weights
from .evaluator_command import FIX
from .evaluators import Evaluators
from .fence import Fence, read_named
from .ledger import Work
from .replies import Malformed, object_schema, parse_object
from .templates import render
from .texts import text
from .workers import Job


@dataclass
class Inputs:
    """What one operation reads at one place: `texts`, `values` and `images` by input name."""

    about: str
    texts: dict[str, str] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    system: str | None = None
    images: dict[str, str] = field(default_factory=dict)
    sample: int = 0


READ = 4
"""What one operation reads: at most so many times the longest value."""
Rule = Callable[[Work, Operation, Inputs], "Value | Awaitable[Value]"]


def check_room(work: Work, inputs: Inputs) -> None:
    """Raises TooLong (where outputs are measured, ReplyError) for more than fits into a request."""
    size, most = sum(map(len, inputs.texts.values())), READ * work.settings.max_value_chars
    if size > most:
        words = f"{inputs.about} reads {size:,} characters; at most {most:,} are taken."
        raise failure_in(work, TooLong(words, "Use shorter inputs, or fewer."))


def prompt_of(operation: Operation, inputs: Inputs, most: int | None = None) -> str:
    """The user prompt of an llm or format operation: its template, filled in, or its one input.

    Raises TooLong, before it is built, where it would have more than `most` characters.
    """
    template = operation.spec.get("template")
    if template is None:
        return next(iter(inputs.texts.values()), "")
    shown = {name: f"[image: {name}]" for name in inputs.images}
    return render(template, inputs.texts | shown, most)


def _prompt(work: Work, operation: Operation, inputs: Inputs) -> str:
    try:
        return prompt_of(operation, inputs, work.settings.max_value_chars)
    except TooLong as error:
        about = TooLong(f"{inputs.about}: {error.message}", error.next)
        raise failure_in(work, about) from error


def _format(work: Work, operation: Operation, inputs: Inputs) -> Value:
    return Value(text=_prompt(work, operation, inputs))


async def _llm(work: Work, operation: Operation, inputs: Inputs) -> Value:
    user = Message(
        role="user", content=_prompt(work, operation, inputs), images=tuple(inputs.images.values())
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


def read_critique(completion: Completion, schema: dict[str, Any], material: str) -> Value:
    """Feedback and score out of a reply to a prompt that shows `material`.

    Raises Malformed, also for a score outside 0 to 1.
    """
    reply = parse_object(completion.text, schema, material=material)
    score = reply.get("score")
    if score is not None and not 0 <= score <= 1:
        raise Malformed(f"The score must be between 0 and 1, not {score}.")
    return Value(text=reply["feedback"].strip(), score=score)


async def _feedback(work: Work, operation: Operation, inputs: Inputs) -> Value:
    found = {"feedback": operation.spec["function"], "score": operation.spec.get("score")}
    request = await _told(work, operation, inputs, json.dumps(found, ensure_ascii=False))
    return await work.ask(request, lambda c: read_critique(c, FEEDBACK_REPLY, request.prompt))


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
    return await work.ask(request, lambda c: read_critique(c, schema, user))


def _metric(work: Work, operation: Operation, inputs: Inputs) -> Value | Awaitable[Value]:
    metric, options = operation.spec["metric"], operation.spec.get("options", {})
    if not metrics.is_quick(metric, inputs.texts.values()):
        return _scored(work, metric, inputs, options)
    try:
        return metrics.score(metric, inputs.texts, options)
    except TooLong as error:
        raise failure_in(work, error) from error


async def _scored(work: Work, metric: str, inputs: Inputs, options: dict[str, Any]) -> Value:
    size = sum(map(len, inputs.texts.values()))
    what = f"The metric {metric} on {size:,} characters, {inputs.about},"
    job = Job(work.session.owner, what, metrics.advice(metric), work.check)
    try:
        said, score = await work.workers.run(job, metrics.scored, metric, inputs.texts, options)
    except TooLong as error:
        raise failure_in(work, error) from error
    return Value(text=said, score=score)


def failure_in(work: Work, error: TooLong) -> TextGradError:
    """What `error` is to `work`: where outputs are measured, one that counts as 0; else the end."""
    if work.measures:
        return ReplyError(error.message, error.next)
    work.fatal = work.fatal or error
    return error


def _sum(work: Work, operation: Operation, inputs: Inputs) -> Value:
    check_weights(operation)  # some were taken before they were checked
    weights = operation.spec.get("weights", {})
    parts = [(n, v, float(weights.get(n, 1.0))) for n, v in inputs.values.items()]
    said = "\n\n".join(f"{name}: {value.text}" for name, value, _ in parts if value.text)
    graded = [(v.score, w) for _, v, w in parts if v.score is not None]
    if not graded:
        return Value(text=said)
    total = sum(w for _, w in graded)
    score = sum(s * w for s, w in graded) / total if total else None
    return Value(text=said, score=score)


RULES: dict[Op, Rule] = {
    Op.LLM: _llm,
    Op.FORMAT: _format,
    Op.EXTERNAL: _external,
    Op.FEEDBACK: _feedback,
    Op.JUDGE: _judge,
    Op.METRIC: _metric,
    Op.SUM: _sum,
}


FEW = 8
"""An evaluator that has scored nothing in its session may fail on so many texts, then no more."""
CONTROLS = "\b\f\r"
"""What a program may print, and means as it stands: no model forgot a backslash there."""


class _Program:
    """The answerer that is a registered program, for one set of inputs.

    Where it fails, the texts are to blame if it has scored others in this session, and still does:
    then the failure is its answer. Else it is an error, and nothing is recorded.
    """

    model = ""

    def __init__(
        self, work: Work, evaluators: Evaluators, loss: Operation, texts: dict[str, str]
    ) -> None:
        self._work, self._evaluators, self._loss, self._texts = work, evaluators, loss, texts
        self._evaluator = loss.spec["evaluator"]
        self.name = f"evaluator {self._evaluator}"

    @property
    def params(self) -> dict[str, object]:
        return {}

    async def answer(self, request: CompletionRequest, record: RecordAttempt, go: Go) -> Completion:
        go()
        noted = self._work.failed.get((self.name, request.key))  # it was run a moment ago
        before, failure = noted or (self._evaluators.scored[self._evaluator], None)
        try:
            if failure is not None:
                raise failure
            value = await self._evaluators.score(self._evaluator, self._texts, go)
        except BadInput as error:
            raise EndpointRefused(error.message, self._way_out()) from error
        except ProgramFailed as error:
            await self._check_fault(request.key, before, error, go)
            return Completion(text="", refusal=error.message, model=self.name)
        found = {"feedback": value.text, "score": value.score}
        return Completion(text=json.dumps(found, ensure_ascii=False), model=self.name)

    async def _check_fault(self, key: str, before: int, failure: ProgramFailed, go: Go) -> None:
        """Raises unless the texts are to blame, `before` being how much was scored before them."""
        scored = await self._work.store.last_answered(self._work.session.pk, self.name)
        if scored is None:
            self._work.failed[self.name, key] = before, failure
            raise self._unknown(failure)
        if self._evaluators.scored[self._evaluator] != before:
            return  # it has scored something since
        try:
            await self._evaluators.score(self._evaluator, read_named(scored.prompt), go)
        except ProgramFailed:
            raise EndpointDown(
                f"{failure.message} It now fails on a text that it has scored before, too.", FIX
            ) from failure

    def _unknown(self, failure: ProgramFailed) -> TextGradError:
        if sum(name == self.name for name, _ in self._work.failed) < FEW:
            return failure
        return EndpointRefused(
            f"{failure.message} It failed on {FEW} texts and has scored none in this session.",
            failure.next,
        )

    def _way_out(self) -> str:
        session, loss = self._work.session.id, self._loss.output
        return (
            "The operator can register it (again); or take the loss out: "
            f"revert(session_id='{session}', remove=['{loss}'])."
        )

    async def close(self) -> None:
        pass


def evaluator_rule(evaluators: Evaluators) -> Rule:
    """The rule of losses that are programs: run once for the same texts, like any completion."""

    async def rule(work: Work, operation: Operation, inputs: Inputs) -> Value:
        fence = Fence(inputs.texts.values())
        values = [fence.wrap("input", t, name=n) for n, t in inputs.texts.items()]
        request = CompletionRequest(
            purpose=Purpose.JUDGE,
            model=f"evaluator {operation.spec['evaluator']}",
            messages=(Message(role="user", content="\n\n".join(values)),),
            about=inputs.about,
        )
        program = _Program(work, evaluators, operation, inputs.texts)
        completion = await work.ledger.need(work, request, program)
        if completion.refusal is not None:  # it failed on these texts, which is what they get
            await work.store.set_unusable(work.session.pk, request.key)  # may be tried again
            return Value(text=completion.refusal, score=0.0)
        return read_critique(completion, FEEDBACK_REPLY, CONTROLS)

    return rule
