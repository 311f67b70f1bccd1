"""What a text did on some examples, as whoever rewrites it is shown it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...schemas.graph import NO_EXAMPLE, Kind, Variable, number
from ..program.forward import IMAGE_URL, Evaluation, made_from
from ..program.lineups import lineups
from ..prompts import sentence
from .training import Row


@dataclass(frozen=True)
class Seen:
    """What a text did: an evaluation of the program with it in place, on some examples.

    `losses` are the variables that judge it; `scores` are the means of their scores by example
    (from 0 to 1; the key 0, NO_EXAMPLE, in a program without examples). `others` are examples that
    were not run, as rows like those of `pieces`. `elsewhere` has, by example, the scores of other
    texts that were run on it.
    """

    evaluation: Evaluation
    losses: list[str]
    scores: dict[int, float]
    others: list[Row] = field(default_factory=list)
    elsewhere: dict[int, list[float]] = field(default_factory=dict)

    def said(self, example: int) -> str:
        """What the losses say of the output on an example; empty if nothing is wrong."""
        words = [self.evaluation.value(x, example).text.strip() for x in self.losses]
        return "\n\n".join(w for w in words if w)

    def pieces(self, parameter: Variable, example: int) -> Row:
        """An example as kinds, names and texts: what went in (`input`), what was made of
        it with the parameter's text (`output`), by which of several models (`model`), what is right
        (`expected`), and what the losses say (`said`)."""
        evaluation = self.evaluation
        fields = [v for v in evaluation.program.variables.values() if v.kind is Kind.FIELD]
        found = [("input", v) for v in fields if not v.reference]
        made = made_from(evaluation.program, [parameter.id])
        losses = {o.output for o in evaluation.program.operations.values() if o.is_loss}
        outputs = sorted(made - losses, key=lambda v: number(v, "v") or 0)
        found += [("output", evaluation.program.variables[v]) for v in outputs]
        found += [("expected", v) for v in fields if v.reference]
        pieces = self._answered(example)
        for kind, variable in found:
            if example == NO_EXAMPLE and variable.kind is Kind.FIELD:
                continue
            if evaluation.has(variable.id, example):
                value = evaluation.value(variable.id, example).text
                value = sentence("labels", "picture") if value.startswith(IMAGE_URL) else value
                pieces.append((kind, variable.name or variable.field or variable.id, value))
        return [*pieces, ("said", sentence("labels", "said_of"), self.said(example))]

    def _answered(self, example: int) -> Row:
        """Which of several models made the output, and how all of them scored."""
        scores = self.evaluation.by_model.get(example)
        if not scores:
            return []
        model = lineups(self.evaluation.program)[self.evaluation.lineups[example]]
        each = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
        return [("model", model, sentence("labels", "answered_by", model=model, each=each))]

    def pictures(self, example: int) -> list[str]:
        """The pictures of an example, as data URLs."""
        fields = [v for v in self.evaluation.program.variables.values() if v.kind is Kind.FIELD]
        values = [
            self.evaluation.value(v.id, example).text for v in fields if example != NO_EXAMPLE
        ]
        return [value for value in values if value.startswith(IMAGE_URL)]


def seen_in(evaluation: Evaluation, losses: Sequence[str], examples: Sequence[int]) -> Seen | None:
    """What an evaluation shows on those `examples` where all losses have a value; None if there is
    none.

    A loss that gives no score counts as 1 where it finds nothing to say, else as 0.
    """
    scores = {}
    for example in examples:
        if all(evaluation.has(x, example) for x in losses):
            found = [evaluation.value(x, example).score for x in losses]
            bare = [float(not evaluation.value(x, example).text.strip()) for x in losses]
            graded = [b if s is None else s for s, b in zip(found, bare, strict=True)]
            scores[example] = sum(graded) / len(graded)
    return Seen(evaluation, list(losses), scores) if scores else None
