"""The stages of learning, shared by the single tools and by `optimize`: gradients, then a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...schemas.errors import Conflict
from ...schemas.graph import Gradient, Variable
from ..program.backward import Plan, backward, requires_grad
from ..program.forward import Evaluation, load
from ..program.missing_fields import complete, left_out
from ..runs.context import RunContext
from . import weakest
from .candidate import Candidate
from .demonstrations import demonstrations


@dataclass
class BackwardPass:
    """What a backward pass found: the values, the gradients that were stored, and `examples`, the
    numbers of the examples that gave usable replies (NO_EXAMPLE alone in a program without).

    `notes` are sentences on examples that were left out; `others` are examples that the critic was
    shown without their being run. `fewer` is how many were not run that usually are.
    `elsewhere` has, by example, the scores of other texts that were run on it.
    """

    evaluation: Evaluation
    gradients: list[Gradient]
    examples: list[int]
    notes: list[str]
    others: list[int] = field(default_factory=list)
    fewer: int = 0
    elsewhere: dict[int, list[float]] = field(default_factory=dict)


async def backward_pass(
    work: RunContext,
    losses: Sequence[str],
    examples: Sequence[int],
    *,
    exact: bool = False,
    direct: bool = False,
    texts: Mapping[str, str] | None = None,
) -> BackwardPass:
    """Compute the losses on `examples`, with other `texts` for some parameters, and gradients.

    Raises Conflict when no parameter is upstream, ReplyError when no example gave a usable reply,
    ExampleError when none can be scored.
    """
    learnt = await outputs_on(work, losses, examples, texts=texts)
    evaluation, usable = learnt.evaluation, learnt.examples
    work.phase = "writing feedback"
    plan = Plan(work.settings.group_size, work.settings.prompt_budget, exact, direct)
    found = await backward(work, evaluation, list(losses), usable, plan)
    stored = await work.store.history.add_gradients(work.session.pk, found, work.fence, work.chain)
    return BackwardPass(evaluation, stored, usable, learnt.notes)


async def outputs_on(
    work: RunContext,
    losses: Sequence[str],
    examples: Sequence[int],
    *,
    texts: Mapping[str, str] | None = None,
) -> BackwardPass:
    """Compute the losses on `examples`, with other `texts` for some parameters; no gradients yet.

    Of several line-ups of models each example has the values of the one that did worst there. An
    answer that was cut off is among them, as far as it goes, and counts as 0. Raises as
    `backward_pass`.
    """
    work.phase = "computing losses"
    full, notes = await complete(work.store, work.session.pk, losses, examples)
    examples = full or examples
    evaluation = await load(work, losses, examples, overrides=texts)
    if not requires_grad(evaluation.program) & set(losses):
        raise Conflict(
            "No parameter is upstream of these losses, so there is nothing to give feedback on.",
            "Create a variable with a value and requires_grad=true and use it in forward.",
        )
    evaluation = await weakest.computed(work, evaluation, losses, examples)
    usable = [n for n in examples if all(evaluation.has(loss, n) for loss in losses)]
    if not usable:
        raise next(iter(evaluation.unusable.values()))
    notes = [*notes, *left_out(evaluation.reasons), *weakest.told(evaluation, usable)]
    return BackwardPass(evaluation, [], usable, notes)


async def choose(
    work: RunContext,
    variables: Sequence[Variable],
    losses: Sequence[str],
    avoid: Sequence[int],
    count: int,
) -> list[Candidate]:
    """Up to `count` candidates for each demonstrations variable, each of which shows other training
    examples there; those numbered in `avoid` are not shown."""
    turn = await work.store.history.last_step(work.session.pk)
    candidates = []
    for v in variables:
        texts = await demonstrations(work, v, losses, avoid, count, turn)
        candidates += [Candidate(texts={v.id: t}) for t in texts if t != v.value]
    return candidates


async def usable_gradients(
    work: RunContext, parameters: Sequence[Variable]
) -> tuple[dict[str, list[Gradient]], list[str]]:
    """The gradients of each parameter that no step has used and that are of its present version, by
    its id; and notes on those of earlier versions, which are left out.

    Raises Conflict when a parameter has none.
    """
    found = await work.store.history.gradients(work.session.pk, [p.id for p in parameters])
    fresh: dict[str, list[Gradient]] = {}
    notes = []
    for p in parameters:
        mine = [g for g in found if g.variable == p.id]
        fresh[p.id] = [g for g in mine if g.version == p.version]
        stale = len(mine) - len(fresh[p.id])
        if stale:
            notes.append(
                f"{p.label} changed since {stale} of its gradients were computed; those are stale "
                "and were not used."
            )
    bare = [p.label for p in parameters if not fresh[p.id]]
    if bare:
        raise Conflict(
            " ".join([f"No gradient to step from on {', '.join(bare)}.", *notes]),
            "Call backward first: a step spends the gradients it uses, and a change of the text "
            "makes the others stale.",
        )
    return fresh, notes
