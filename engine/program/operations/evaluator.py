"""evaluator: a program that the operator registered gives score and feedback."""

from __future__ import annotations

import json

from ....schemas.completions import Completion, CompletionRequest, Message, Purpose
from ....schemas.errors import (
    BadInput,
    EndpointDown,
    EndpointRefused,
    ProgramFailed,
    TextGradError,
)
from ....schemas.graph import Operation, Value
from ...answerers import PROGRAM, Go, RecordAttempt
from ...evaluators.command import FIX
from ...evaluators.reply import is_failure
from ...prompts import sentence
from ...prompts.fence import Fence, read_named
from ...runs.context import RunContext
from .base import Inputs, Loss, Making
from .critique import FEEDBACK_REPLY, read_critique

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

    def __init__(self, work: RunContext, loss: Operation, texts: dict[str, str]) -> None:
        self._work, self._loss, self._texts = work, loss, texts
        self._evaluators = work.evaluators
        self._evaluator = loss.spec["evaluator"]
        self.name = f"{PROGRAM}{self._evaluator}"

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
        scored = await self._work.store.calls.last_answered(self._work.session.pk, self.name)
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


class Evaluator(Loss):
    """The score and feedback of the operator's program, run once for the same texts."""

    name = "evaluator"
    by_words = True

    def check_form(self, operation: Operation, most: int) -> list[str]:
        """It names an evaluator, which may be registered later."""
        if not operation.spec.get("evaluator"):
            raise BadInput("It names no evaluator.", "Name one.")
        return []

    async def check(self, operation: Operation, making: Making) -> list[str]:
        """There must be such an evaluator now."""
        self.check_inputs(operation)
        making.evaluators.check(operation.spec.get("evaluator") or "")
        return super().check_form(operation, making.most)

    def rule(self, work: RunContext, operation: Operation) -> str:
        """The program's name, and what the operator says of it."""
        found = work.settings.evaluators.get(operation.spec["evaluator"])
        words = f" ({found.description})" if found and found.description else ""
        return sentence("labels", "a_program", name=operation.spec["evaluator"] + words)

    async def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Value:
        """What the program says of these texts."""
        fence = Fence(inputs.texts.values())
        values = [fence.wrap("input", t, name=n) for n, t in inputs.texts.items()]
        request = CompletionRequest(
            purpose=Purpose.JUDGE,
            model=f"{PROGRAM}{operation.spec['evaluator']}",
            messages=(Message(role="user", content="\n\n".join(values)),),
            about=inputs.about,
        )
        program = _Program(work, operation, inputs.texts)
        completion = await work.ledger.need(work, request, program)
        if completion.refusal is not None:  # it failed on these texts, which is what they get
            await work.store.calls.set_unusable(work.session.pk, request.key)  # may be tried again
            return Value(text=completion.refusal, score=0.0)
        return read_critique(completion, FEEDBACK_REPLY, CONTROLS)

    def is_failure(self, value: Value) -> bool:
        """Whether the program failed on the text."""
        return is_failure(value)


EVALUATOR = Evaluator()
