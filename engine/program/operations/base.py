"""What every kind of operation is: an object, as autograd keeps a primitive beside its gradient."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ....schemas.checks import check_text
from ....schemas.errors import BadInput, ReplyError, TextGradError, TooLong
from ....schemas.graph import Operation, Value, Variable
from ...evaluators.evaluators import Evaluators
from ...prompts import sentence, text
from ...runs.context import RunContext
from ...workers.pool import Workers

Made = Value | Awaitable[Value]
Backwards = Literal["pass on", "split", "ask"]
Asked = Literal["forward", "backward", "caller"]
READ = 4
"""What one operation reads: at most so many times the longest value."""


@dataclass
class Inputs:
    """What one operation reads for one example, by the names of its inputs: the `texts`, the whole
    `values` (with scores), and the `images`.

    `about` names the computation in messages; `sample` numbers repeated runs of the same, `verdict`
    repeated judgements of one output. `model` is the model that is asked, where the kind asks one.
    """

    about: str
    texts: dict[str, str] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    system: str | None = None
    images: dict[str, str] = field(default_factory=dict)
    sample: int = 0
    verdict: int = 0
    model: str = "forward"


@dataclass(frozen=True)
class Making:
    """What a new operation is checked against: its `owner`, the `most` characters of a text, and
    the programs, worker processes and models there are."""

    owner: str
    most: int
    evaluators: Evaluators
    workers: Workers
    models: Collection[str]


class Primitive:
    """One kind of operation: how it is checked and computed, and where feedback on it goes.

    `backwards`: feedback on the output is passed on to the inputs as it is, split into that of the
    losses that the operation reads, or a model is asked to write it for each input. `asks` tells
    who is asked to make the output: a model, the caller, or nobody.
    """

    name: ClassVar[str]
    role: ClassVar[str] = ""
    """The role of an output for which the caller names none; else the kind's name."""
    summary: ClassVar[str] = ""
    """What it does, for the model that writes feedback through it."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Those of template, function, output, models and weights that may be given for it."""
    backwards: ClassVar[Backwards] = "ask"
    asks: ClassVar[Asked | None] = None
    sees_pictures: ClassVar[bool] = False
    """Whether it is shown pictures; the others get their data URLs as text."""
    reads_answers: ClassVar[bool] = False
    """Whether it may read right answers."""
    by_words: ClassVar[bool] = False
    """Whether it judges by what its inputs say of the task; other inputs beside the output are
    right answers."""
    of_losses: ClassVar[bool] = False
    """Whether all that it reads must be losses."""

    def compute(self, work: RunContext, operation: Operation, inputs: Inputs) -> Made:
        """The output, at once or to be awaited. Raises TextGradError."""
        raise NotImplementedError(f"{self.name} computes nothing")

    def spec(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What of the call's arguments is kept. Raises BadInput for what does not go with it."""
        if any(given[key] is not None for key in ("function", "output") if key not in self.takes):
            raise BadInput(
                "function and output belong to operation='external'.",
                f"Leave them out of {self.name}.",
            )
        if given["template"] is not None and "template" not in self.takes:
            raise BadInput(f"The operation {self.name} takes no template.", "Leave it out.")
        if (given.get("models") or given.get("worst")) and "models" not in self.takes:
            raise BadInput("models belong to operation='llm'.", f"Leave them out of {self.name}.")
        return dict(given)

    def check_form(self, operation: Operation, most: int) -> list[str]:
        """Notes on an operation, by itself alone. Raises BadInput for one that cannot be.

        No text of it may have more than `most` characters.
        """
        for key in ("template", "function"):
            if key in operation.spec:
                check_text(key, operation.spec[key], most)
        return []

    async def check(self, operation: Operation, making: Making) -> list[str]:
        """Notes on an operation that can be made. Raises BadInput for one that cannot."""
        return self.check_form(operation, making.most)

    def check_sources(self, sources: Sequence[Variable]) -> None:
        """Raises BadInput for variables that it must not read."""
        leaked = [v.label for v in sources if v.reference]
        if leaked and not self.reads_answers:
            raise BadInput(
                f"{', '.join(leaked)} is a reference (the right answer), which a forward "
                "operation must never see.",
                "Use it in compute_loss only.",
            )

    def was_given(self, operation: Operation) -> bool:
        """Whether the caller supplied the output with the call."""
        return "output" in operation.spec

    def shown(self, operation: Operation, inputs: Inputs) -> dict[str, str]:
        """What of the inputs the model is shown that writes feedback on them."""
        return {f"input {n}": t for n, t in inputs.texts.items()}

    def describe(self, operation: Operation) -> str:
        """What it does, in a sentence for that model."""
        return text("step_function", function=operation.spec.get("function") or self.summary)

    def use(self, operation: Operation) -> str:
        """What it is, in a few words for the model that rewrites a text which it reads."""
        return sentence("labels", "a_step", does=operation.spec.get("function") or self.summary)

    def answer_of(self, operation: Operation) -> str | None:
        """The name of the input that is a right answer, where one must be readable."""
        return None

    async def check_answer(self, work: RunContext, operation: Operation, answer: str) -> None:
        """Raises ExampleError for a right answer that cannot be read."""

    async def ballot(self, work: RunContext, operation: Operation, texts: Mapping[str, str]) -> str:
        """The part of an output that counts when the majority of several is taken; equal parts are
        equal votes."""
        return "\n".join(texts.values()).strip()


class Loss(Primitive):
    """A kind whose output is feedback, a score from 0 to 1, or both.

    Feedback on it is its own text, passed on to what it reads.
    """

    role: ClassVar[str] = "loss"
    backwards: ClassVar[Backwards] = "pass on"
    reads_answers: ClassVar[bool] = True

    def spec(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What of the call's arguments is kept; None for each of them that is not."""
        kept = {k: v for k, v in given.items() if k not in ("feedback", "graded")}
        return kept | {"function": None, "graded": None}

    def check_form(self, operation: Operation, most: int) -> list[str]:
        """As for any operation; none may be without inputs."""
        self.check_inputs(operation)
        self.check_spec(operation)
        if "weights" in operation.spec and "weights" not in self.takes:
            raise BadInput("weights go with kind='sum'.", "Leave them out.")
        return []

    def check_inputs(self, operation: Operation) -> None:
        """Raises BadInput where there are none."""
        if not operation.inputs:
            raise BadInput("A loss needs inputs.", "For example inputs={'output': 'v4'}.")

    def check_spec(self, operation: Operation) -> None:
        """Raises BadInput for what the loss cannot be made with."""

    def check_sources(self, sources: Sequence[Variable]) -> None:
        """Raises BadInput where there is nothing to be judged."""
        if not self.of_losses and all(v.reference for v in sources):
            raise BadInput(
                "All inputs of this loss are references.", "Give the output to be judged, too."
            )

    def describe(self, operation: Operation) -> str:
        """How it judges, in a sentence for the model that writes feedback."""
        spec = operation.spec
        how = spec.get("instruction") or spec.get("metric") or self.summary or self.name
        return text("step_judged", how=str(how))

    def rule(self, work: RunContext, operation: Operation) -> str:
        """By what it judges, in words for the model that rewrites the text that is judged."""
        told = operation.spec.get("instruction") or sentence("labels", "see_below")
        return sentence("labels", "measured", told=told)

    def in_pairs(self, operation: Operation) -> bool:
        """Whether it gives no score, so that results are compared two by two by its instruction."""
        return False

    def is_failure(self, value: Value) -> bool:
        """Whether `value` tells that it failed on the text, which got 0 for that."""
        return False


def check_room(work: RunContext, inputs: Inputs) -> None:
    """Raises TooLong (where outputs are measured, ReplyError) for more than fits into a request."""
    size, most = sum(map(len, inputs.texts.values())), READ * work.settings.max_value_chars
    if size > most:
        words = f"{inputs.about} reads {size:,} characters; at most {most:,} are taken."
        raise failure_in(work, TooLong(words, "Use shorter inputs, or fewer."))


def failure_in(work: RunContext, error: TooLong) -> TextGradError:
    """What `error` is to `work`: where outputs are measured, one that counts as 0; else the end."""
    if work.measures:
        return ReplyError(error.message, error.next)
    work.fatal = work.fatal or error
    return error
