"""llm: a language model answers a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....schemas.checks import MOST_MODELS
from ....schemas.completions import CompletionRequest, Message, Purpose
from ....schemas.errors import BadInput
from ....schemas.graph import Operation, Value
from ...answerers import no_model
from ...prompts import sentence, template, text
from ...runs.context import RunContext
from .base import Inputs, Making, Primitive
from .templates import filled, prompt_of


class Llm(Primitive):
    """A template or one input is the prompt, with a system prompt before it if there is one."""

    name = "llm"
    role = "response of a language model"
    takes = frozenset({"template", "models"})
    asks = "forward"
    sees_pictures = True

    def check_form(self, operation: Operation, most: int) -> list[str]:
        """Without a template there is one input."""
        super().check_form(operation, most)
        check_models(operation.spec)
        if "template" in operation.spec:
            return template.check(operation.spec["template"], operation.inputs)
        if len(operation.inputs) != 1:
            raise BadInput(
                f"Without a template an llm operation takes exactly one input, the prompt; "
                f"there are {len(operation.inputs)}.",
                "Give template='... {name} ...' with a place for each input.",
            )
        return []

    async def check(self, operation: Operation, making: Making) -> list[str]:
        """As for its form; a note on what several models mean. Raises BadInput for a model that is
        not configured."""
        notes = await super().check(operation, making)
        for name in operation.models:
            if name not in making.models:
                raise no_model(name, making.models)
        if len(operation.models) == 1:
            return notes
        first, *_ = names = operation.models
        how = "worst" if operation.spec.get("worst") else "mean"
        return [
            *notes,
            f"{first} answers here. What measures and learns (evaluate, backward, step, optimize) "
            f"runs the program with each of {', '.join(names)}: the {how} of an example's scores "
            "counts.",
        ]

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
            by="" if inputs.model == self.asks else inputs.model,
            about=inputs.about,
        )
        return Value(text=await work.ask(request, lambda c: c.text))

    def shown(self, operation: Operation, inputs: Inputs) -> dict[str, str]:
        """The prompt, as the model got it; and which model, where there are several."""
        asked = {"answered by": inputs.model} if len(operation.models) > 1 else {}
        return {**asked, "prompt": prompt_of(operation, inputs)}

    def describe(self, operation: Operation) -> str:
        """That a language model answers a prompt."""
        return text("step_llm")


def check_models(spec: Mapping[str, Any]) -> None:
    """Raises BadInput for models that cannot be, configured or not."""
    models = spec.get("models", ["forward"])
    fits = isinstance(models, list) and all(isinstance(m, str) for m in models)
    if not fits or not 1 <= len({*models}) == len(models) <= MOST_MODELS:
        raise BadInput(f"models are 1 to {MOST_MODELS} different names.", "Name each model once.")
    if spec.get("worst") and len(models) == 1:
        raise BadInput("worst is said of several models.", "Name them in models.")


LLM = Llm()
