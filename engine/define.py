"""What may be defined: checks of operations and losses before they enter a graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from typing import Any

from ..schemas.errors import BadInput
from ..schemas.graph import LOSSES, Kind, Op, Operation, Variable
from ..schemas.near import did_you_mean
from ..schemas.text import unstorable
from . import metrics, templates
from .evaluators import Evaluators
from .workers import Job, Workers

MOST_NAMED = 10_000
"""Ids, or completions, in one call."""
MOST_INPUTS = 1_000
TOGETHER = "Put some of them together outside."
NAME_A_SPLIT = "Name a split, which means all of it."


def check_text(what: str, value: str, most: int, *, empty: bool = False) -> None:
    """Raises BadInput for a text that is empty, too long, or cannot be stored."""
    if not empty and not value.strip():
        raise BadInput(f"{what} is empty.", "Give a text.")
    if len(value) > most:
        raise BadInput(
            f"{what} has {len(value):,} characters; at most {most:,} are taken.", "Shorten it."
        )
    if unstorable(value):
        raise BadInput(
            f"{what} holds a NUL or half of a surrogate pair, which cannot be stored.",
            "Remove it.",
        )


def check_count(what: str, given: Sized, advice: str, most: int = MOST_NAMED) -> None:
    """Raises BadInput for a call that names more than `most` things; a text is one."""
    if len(given) > most and not isinstance(given, str):
        raise BadInput(
            f"There are {len(given):,} {what} in one call; at most {most:,} are taken.", advice
        )


def operation_kind(name: str) -> Op:
    """The kind of a forward operation. Raises BadInput with the nearest name."""
    kinds = [k.value for k in Op if k not in LOSSES]
    if name not in kinds:
        raise BadInput(
            f"There is no operation {name!r}.{did_you_mean(name, kinds, 0.6)}", _one_of(kinds)
        )
    return Op(name)


def loss_kind(name: str) -> Op:
    """The kind of a loss. Raises BadInput with the nearest name."""
    kinds = [k.value for k in Op if k in LOSSES]
    if name not in kinds:
        raise BadInput(
            f"There is no loss of kind {name!r}.{did_you_mean(name, kinds, 0.6)}", _one_of(kinds)
        )
    return Op(name)


def _one_of(names: Sequence[str]) -> str:
    return f"Use one of {', '.join(names)}."


def forward_spec(
    operation: str, template: str | None, function: str | None, output: str | None
) -> dict[str, Any]:
    """What an operation needs beside its inputs. Raises BadInput for what does not go with it."""
    if operation == Op.EXTERNAL:
        if not function:
            raise BadInput(
                "An external operation needs function: what it does, in words.",
                "Also give output, if you have run it already.",
            )
        if template is not None:
            raise BadInput("An external operation takes no template.", "Describe it in function.")
    elif function is not None or output is not None:
        raise BadInput(
            "function and output belong to operation='external'.", f"Leave them out of {operation}."
        )
    spec = {"template": template, "function": function, "output": output}
    return {k: v for k, v in spec.items() if v is not None}


def check_operation(op: Operation, most: int) -> list[str]:
    """Notes on an operation that can be made. Raises BadInput for one that cannot."""
    for key, what in (("template", "template"), ("function", "function")):
        if key in op.spec:
            check_text(what, op.spec[key], most)
    if op.kind is Op.EXTERNAL:
        return []
    if op.kind is Op.FORMAT and "template" not in op.spec:
        raise BadInput(
            "A format operation needs a template.",
            "For example template='Question: {question}', inputs={'question': 'v2'}.",
        )
    if "template" in op.spec:
        return templates.check(op.spec["template"], op.inputs)
    if len(op.inputs) != 1:
        raise BadInput(
            f"Without a template an llm operation takes exactly one input, the prompt; "
            f"there are {len(op.inputs)}.",
            "Give template='... {name} ...' with a place for each input.",
        )
    return []


async def check_loss(op: Operation, evaluators: Evaluators, workers: Workers, owner: str) -> None:
    """Raises BadInput for a loss that cannot be made, for its `owner`."""
    check_loss_form(op, evaluators)
    if op.kind is Op.METRIC:
        await _check_metric(op, workers, owner)


def check_loss_form(op: Operation, evaluators: Evaluators) -> None:
    """Raises BadInput like `check_loss`, without a look at a metric's options."""
    if not op.inputs:
        raise BadInput("A loss needs inputs.", "For example inputs={'output': 'v4'}.")
    match op.kind:
        case Op.JUDGE:
            if not op.spec.get("instruction"):
                raise BadInput(
                    "A judge needs an instruction: what is good, what is bad.",
                    "For example instruction='Is the answer correct and short?'.",
                )
            check_text("instruction", op.spec["instruction"], 100_000)
        case Op.EVALUATOR:
            evaluators.check(op.spec.get("evaluator") or "")
        case Op.FEEDBACK:
            _check_feedback(op)
        case Op.SUM:
            check_weights(op)
    if "weights" in op.spec and op.kind is not Op.SUM:
        raise BadInput("weights go with kind='sum'.", "Leave them out.")


def check_weights(op: Operation) -> None:
    """Raises BadInput for weights of a sum that give no mean of its losses."""
    weights = op.spec.get("weights", {})
    unknown = [name for name in weights if name not in op.inputs]
    if unknown:
        raise BadInput(
            f"weights name {', '.join(map(repr, unknown[:5]))}, which is no input of the sum.",
            f"Its inputs are {', '.join(op.inputs)}; those without a weight count 1.",
        )
    wrong = [name for name, w in weights.items() if not 0 <= w < math.inf]
    if wrong:
        raise BadInput(
            f"The weight of {wrong[0]!r} is {weights[wrong[0]]}; it must be 0 or more.",
            "To count against, word the loss the other way round.",
        )
    total = sum(float(weights.get(name, 1.0)) for name in op.inputs)
    if not 0 < total < math.inf:
        raise BadInput(f"The weights add up to {total:g}.", "Give one of them more than 0.")


async def _check_metric(op: Operation, workers: Workers, owner: str) -> None:
    metric, options = op.spec.get("metric") or "", op.spec.get("options", {})
    if metrics.is_quick(metric):
        metrics.check(metric, list(op.inputs), options)
        return
    job = Job(owner, f"Checking the options of {metric}", metrics.advice(metric))
    await workers.run(job, metrics.check, metric, list(op.inputs), options)


def _check_feedback(op: Operation) -> None:
    if not op.spec.get("function"):
        raise BadInput("A feedback loss needs feedback: what you found.", "Give feedback='...'.")
    score = op.spec.get("score")
    if score is not None and not 0 <= score <= 1:
        raise BadInput(f"score must be between 0 and 1, not {score}.", "Scale it.")


def was_given(op: Operation, places: Sequence[int]) -> bool:
    """Whether the caller has run this black box (or measured this loss) already."""
    given = "output" in op.spec or op.kind is Op.FEEDBACK
    if given and len(places) > 1 and "output" in op.spec:
        raise BadInput(
            f"One output was given, but the operation runs on {len(places)} examples.",
            "Leave output out: each example's run is then asked for, and resume takes the outputs.",
        )
    return given and len(places) == 1


def output_of(op: Operation, sources: Mapping[str, Variable], role: str, name: str) -> Variable:
    """The variable that an operation will make."""
    default = {Op.LLM: "response of a language model", Op.FORMAT: "formatted text"}
    return Variable(
        id="",
        kind=Kind.OUTPUT,
        role=role or default.get(op.kind, op.kind.value),
        name=name,
        per_example=any(v.per_example for v in sources.values()),
        reference=not op.is_loss and any(v.reference for v in sources.values()),
    )


def demonstrations_leaf(leaf: Variable, shots: int) -> Variable:
    """The leaf as a choice of at most `shots` training examples. Raises BadInput."""
    if not 1 <= shots <= 64:
        raise BadInput(f"demonstrations must be between 1 and 64, not {shots}.", "4 is usual.")
    rule = f"demonstrations={shots}"
    return leaf.model_copy(update={"kind": Kind.DEMONSTRATIONS, "constraints": [rule]})
