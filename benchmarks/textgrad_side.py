"""One optimisation step with the real TextGrad package; runs in TextGrad's own environment.

    OPENAI_BASE_URL=... python benchmarks/textgrad_side.py judge 16 3

Prints one JSON line for each step: its wall time in seconds. One request warms up.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import tasks
import textgrad as tg
from textgrad.autograd import FormattedLLMCall, StringBasedFunction


def main() -> None:
    """Run the shape, the size and the number of steps that were asked for."""
    shape, size, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tg.set_backward_engine("gpt-4o")
    engine = tg.get_engine("gpt-4o")
    engine("Are you there?")  # opens its connection; the caller leaves this request out
    one_step = MAKERS[shape](engine, size)
    for attempt in range(steps):
        started = time.perf_counter()
        one_step()
        print(json.dumps({"step": attempt, "seconds": time.perf_counter() - started}), flush=True)


def _parameter(text: str, role: str) -> Any:
    return tg.Variable(text.format(attempt=0), requires_grad=True, role_description=role)


def _given(text: str, role: str) -> Any:
    return tg.Variable(text, requires_grad=False, role_description=role)


def _on_examples(
    size: int, parameters: list[Any], loss_of: Callable[[Any, Any], Any]
) -> Callable[[], None]:
    optimizer = tg.TextualGradientDescent(parameters=parameters)

    def one_step() -> None:
        optimizer.zero_grad()
        rows = zip(tasks.questions(size), tasks.answers(size), strict=True)
        losses = [loss_of(_given(q, "question"), _given(a, "right answer")) for q, a in rows]
        tg.sum(losses).backward()
        optimizer.step()

    return one_step


def judge(engine: Any, size: int) -> Callable[[], None]:
    """A system prompt on examples, criticised by a model."""
    system = _parameter(tasks.SYSTEM, "system prompt")
    model, loss = tg.BlackboxLLM(engine, system), tg.TextLoss(tasks.JUDGE)
    return _on_examples(size, [system], lambda question, _: loss(model(question)))


def metric(engine: Any, size: int) -> Callable[[], None]:
    """A system prompt on examples, compared with the right answer by code."""
    system = _parameter(tasks.SYSTEM, "system prompt")
    model = tg.BlackboxLLM(engine, system)
    loss = StringBasedFunction(
        lambda prediction, answer: int(prediction.value == answer.value), tasks.PURPOSE
    )

    def loss_of(question: Any, answer: Any) -> Any:
        return loss(inputs={"prediction": model(question), "answer": answer})

    return _on_examples(size, [system], loss_of)


def two_stage(engine: Any, size: int) -> Callable[[], None]:
    """Two prompts, one after the other, criticised by a model."""
    first, second = _parameter(tasks.SYSTEM, "system prompt"), _parameter(tasks.SECOND, "checker")
    one, two = tg.BlackboxLLM(engine, first), tg.BlackboxLLM(engine, second)
    loss = tg.TextLoss(tasks.JUDGE)
    return _on_examples(size, [first, second], lambda question, _: loss(two(one(question))))


def diamond(engine: Any, size: int) -> Callable[[], None]:
    """Eight nodes: a text, two branches of two calls each, their union, a last call, a judge."""
    text = _parameter(tasks.SNIPPET, "notice")
    optimizer = tg.TextualGradientDescent(parameters=[text])
    branches = [FormattedLLMCall(engine, b, {"x": {}}) for b in tasks.BRANCHES]
    follow = FormattedLLMCall(engine, tasks.FOLLOW, {"x": {}})
    join = FormattedLLMCall(engine, tasks.JOIN, {"a": {}, "b": {}})
    final = FormattedLLMCall(engine, tasks.FINAL, {"x": {}})
    loss = tg.TextLoss(tasks.JUDGE)

    def one_step() -> None:
        optimizer.zero_grad()
        a, b = (follow({"x": branch({"x": text})}) for branch in branches)
        loss(final({"x": join({"a": a, "b": b})})).backward()
        optimizer.step()

    return one_step


MAKERS = {"judge": judge, "metric": metric, "two-stage": two_stage, "diamond": diamond}

if __name__ == "__main__":
    main()
