"""format: a template is filled in."""

from __future__ import annotations

from collections.abc import Sequence

from ....schemas.errors import BadInput
from ....schemas.graph import Kind, Operation, Value, Variable
from ...prompts import sentence, template, text
from ...runs.context import RunContext
from .base import Inputs, Primitive
from .templates import filled


class Format(Primitive):
    """Texts put together, which nobody has to be asked for; right answers may be among them."""

    name = "format"
    role = "formatted text"
    takes = frozenset({"template"})
    backwards = "pass on"
    reads_answers = True

    def check_form(self, operation: Operation, most: int) -> list[str]:
        """There must be a template."""
        super().check_form(operation, most)
        if "template" not in operation.spec:
            raise BadInput(
                "A format operation needs a template.",
                "For example template='Question: {question}', inputs={'question': 'v2'}.",
            )
        return template.check(operation.spec["template"], operation.inputs)

    def use(self, operation: Operation) -> str:
        """That a template shows it."""
        return sentence("labels", "a_template")

    def check_sources(self, sources: Sequence[Variable]) -> None:
        """No picture can stand in a text."""
        images = [v.label for v in sources if v.kind is Kind.IMAGE]
        if images:
            raise BadInput(
                f"{', '.join(images)} is an image, which a template cannot hold.",
                "Give it to the llm operation or the judge itself, as one more input.",
            )

    def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Value:
        """The template, filled in."""
        return Value(text=filled(work, operation, inputs))

    def describe(self, operation: Operation) -> str:
        """That texts are put together by a template."""
        return text("step_format")


FORMAT = Format()
