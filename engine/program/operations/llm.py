"""llm: a language model answers a prompt."""

from __future__ import annotations

from ....schemas.completions import CompletionRequest, Message, Purpose
from ....schemas.errors import BadInput
from ....schemas.graph import Operation, Value
from ...prompts import sentence, template, text
from ...runs.context import RunContext
from .base import Inputs, Primitive
from .templates import filled, prompt_of


class Llm(Primitive):
    """A template or one input is the prompt, with a system prompt before it if there is one."""

    name = "llm"
    role = "response of a language model"
    takes = frozenset({"template"})
    asks = "forward"
    sees_pictures = True

    def check_form(self, operation: Operation, most: int) -> list[str]:
        """Without a template there is one input."""
        super().check_form(operation, most)
        if "template" in operation.spec:
            return template.check(operation.spec["template"], operation.inputs)
        if len(operation.inputs) != 1:
            raise BadInput(
                f"Without a template an llm operation takes exactly one input, the prompt; "
                f"there are {len(operation.inputs)}.",
                "Give template='... {name} ...' with a place for each input.",
            )
        return []

    def use(self, operation: Operation) -> str:
        """That a language model reads it."""
        return sentence("labels", "a_model")

    async def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Value:
        """The model's reply."""
        prompt, images = filled(work, operation, inputs), tuple(inputs.images.values())
        user = Message(role="user", content=prompt, images=images)
        system = [Message(role="system", content=inputs.system)] if inputs.system else []
        request = CompletionRequest(
            purpose=Purpose.FORWARD,
            messages=(*system, user),
            sample=inputs.sample,
            about=inputs.about,
        )
        return Value(text=await work.ask(request, lambda c: c.text))

    def shown(self, operation: Operation, inputs: Inputs) -> dict[str, str]:
        """The prompt, as the model got it."""
        return {"prompt": prompt_of(operation, inputs)}

    def describe(self, operation: Operation) -> str:
        """That a language model answers a prompt."""
        return text("step_llm")


LLM = Llm()
