"""judge: a language model criticises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....schemas.checks import check_text
from ....schemas.completions import CompletionRequest, Message, Purpose
from ....schemas.errors import BadInput
from ....schemas.graph import Operation, Value
from ...prompts import sentence, text
from ...prompts.fence import Fence
from ...runs.context import RunContext
from .base import Inputs, Loss
from .critique import CRITIQUE_REPLY, GRADED_REPLY, read_critique

MOST_INSTRUCTION = 100_000
"""Characters of an instruction."""


class Judge(Loss):
    """A model's critique by an instruction, with a score from 0 to 1 or (graded=false) without."""

    name = "judge"
    asks = "backward"
    sees_pictures = True
    by_words = True

    def spec(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that are kept, with whether a score is wanted."""
        return super().spec(given) | {"graded": given["graded"]}

    def check_spec(self, operation: Operation) -> None:
        """There must be an instruction."""
        if not operation.spec.get("instruction"):
            raise BadInput(
                "A judge needs an instruction: what is good, what is bad.",
                "For example instruction='Is the answer correct and short?'.",
            )
        check_text("instruction", operation.spec["instruction"], MOST_INSTRUCTION)

    async def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Value:
        """The model's critique."""
        graded = operation.spec.get("graded", True)
        schema = GRADED_REPLY if graded else CRITIQUE_REPLY
        system = text("judge") + ("\n\n" + text("judge_score") if graded else "")
        fence = Fence(inputs.texts.values())
        values = [fence.wrap("text", t, name=n) for n, t in inputs.texts.items()]
        form = sentence("labels", "graded_form" if graded else "critique_form")
        user = "\n\n".join(
            [
                sentence("labels", "instruction", instruction=str(operation.spec["instruction"])),
                *values,
                text("reply", form=form),
            ]
        )
        request = CompletionRequest(
            purpose=Purpose.JUDGE,
            messages=(
                Message(role="system", content=system),
                Message(role="user", content=user, images=tuple(inputs.images.values())),
            ),
            reply=schema,
            sample=inputs.verdict,
            about=inputs.about,
        )
        return await work.ask(request, lambda c: read_critique(c, schema, user))

    def rule(self, work: RunContext, operation: Operation) -> str:
        """That a judge reads the output, and its instruction."""
        return sentence("labels", "a_judge", instruction=operation.spec["instruction"])

    def in_pairs(self, operation: Operation) -> bool:
        """Whether it gives no score."""
        return not operation.spec.get("graded", True)


JUDGE = Judge()
