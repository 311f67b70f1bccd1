"""TextGrad 0.1.8 on one task, within a budget of calls; runs in TextGrad's own environment.

The loop is that of its own prompt-optimisation notebook: minibatches of three, and validation
after each step, which is taken back where it did not help. It ends when validation is 1.00.
"""

from __future__ import annotations

import contextlib
import random
from statistics import fmean
from typing import Any

import textgrad as tg
from metered import Meter, Spent, meter
from textgrad.autograd import StringBasedFunction
from textgrad.engine.base import EngineLM

BATCH = 3
PURPOSE = "compares the output with what was expected, and tells the difference"


class Engine(EngineLM):
    """A role's endpoint, without TextGrad's cache: every call counts."""

    def __init__(self, found: Meter, role: str) -> None:
        self.found, self.role, self.model_string = found, role, role

    def generate(self, content: Any, system_prompt: str | None = None, **_: Any) -> str:
        """The reply to `content`."""
        messages = [{"role": "user", "content": str(content)}]
        if system_prompt is not None:
            messages.insert(0, {"role": "system", "content": system_prompt})
        return self.found.ask(self.role, messages)

    def __call__(self, content: Any, system_prompt: str | None = None, **_: Any) -> str:
        """The same."""
        return self.generate(content, system_prompt or self.system_prompt)


def main() -> None:
    """Run until the budget is spent or validation is perfect."""
    found = meter()
    with contextlib.suppress(Spent):
        _optimise(found)
    found.end()


def _optimise(found: Meter) -> None:
    forward, critic = Engine(found, "task"), Engine(found, "critic")
    tg.set_backward_engine(critic, override=True)
    prompt = tg.Variable(
        found.task.prompt,
        requires_grad=True,
        role_description="system prompt of a language model that does the task",
    )
    model = tg.BlackboxLLM(forward, prompt)
    optimizer = tg.TextualGradientDescent(engine=critic, parameters=[prompt])
    best = _validation(found, prompt.value)
    found.hand_out(prompt.value, best)
    draw = random.Random(found.order["seed"])
    while best < 1:
        optimizer.zero_grad()
        batch = draw.sample(found.task.splits["train"], BATCH)
        tg.sum([_loss(found, model, row) for row in batch]).backward()
        before = prompt.value
        try:
            optimizer.step()
        except IndexError:  # a reply without its tags
            continue
        after = _validation(found, prompt.value)
        if after < best:
            prompt.set_value(before)
        else:
            best = after
            found.hand_out(prompt.value, best)


def _loss(found: Meter, model: Any, row: dict[str, str]) -> Any:
    def judged(prediction: Any) -> str:
        score, feedback = found.task.score(prediction.value, row)
        return f"Score {score:.2f}. {feedback}"

    question = tg.Variable(row["input"], requires_grad=False, role_description="the input")
    return StringBasedFunction(judged, PURPOSE)(inputs={"prediction": model(question)})


def _validation(found: Meter, text: str) -> float:
    rows = found.task.splits["validation"]
    system = {"role": "system", "content": text}
    said = [found.ask("task", [system, {"role": "user", "content": r["input"]}]) for r in rows]
    return fmean(found.task.score(s, r)[0] for s, r in zip(said, rows, strict=True))


if __name__ == "__main__":
    main()
