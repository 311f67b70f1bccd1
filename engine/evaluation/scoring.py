"""Scores of a program over examples, with the parameters as they are or with others in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ...schemas.completions import Completion, CompletionRequest, Message, Purpose
from ...schemas.errors import BadInput, ExampleRefused, ReplyError
from ...schemas.graph import NO_EXAMPLE, Operation
from ..program.forward import Evaluation, evaluate, load
from ..program.lineups import lineups, worst_counts
from ..program.operations import loss_kind
from ..prompts import sentence, text
from ..prompts.fence import Fence
from ..replies.reply import object_schema, parse_object
from ..runs.context import RunContext
from ..runs.schedule import gather
from ..store import Program

Texts = Mapping[str, str]
"""Other texts for some parameters; empty for those that are installed."""


@dataclass
class Scored:
    """Scores by example, in order; `evaluation` holds the values behind them.

    An example whose program gave no usable reply counts as 0; it is in `unusable`. One that cannot
    be scored, whatever the program, is not in `scores` but in `left_out`, by its id. Where each
    example was run several times, `runs` has the single runs, and the scores are their means; of
    several line-ups of models the mean of those, or the worst.
    """

    evaluation: Evaluation
    scores: dict[int, float]
    unusable: dict[int, ReplyError] = field(default_factory=dict)
    runs: list[Scored] = field(default_factory=list)

    @property
    def left_out(self) -> dict[str, str]:
        """Why examples could not be scored, whatever the program: sentences by example id."""
        return self.evaluation.reasons

    @property
    def why_unusable(self) -> dict[str, str]:
        """Why examples count as 0 for want of a usable reply: sentences by example id."""
        return {f"e{n}" if n != NO_EXAMPLE else "": e.why for n, e in self.unusable.items()}

    @property
    def mean(self) -> float:
        """The mean score. Raises ZeroDivisionError where no example was scored."""
        return sum(self.scores.values()) / len(self.scores)

    @property
    def failed(self) -> dict[int, str]:
        """The examples where an evaluator failed on the program's output, and how."""
        if self.runs:
            return {n: how for run in reversed(self.runs) for n, how in run.failed.items()}
        found: dict[int, str] = {}
        operations = self.evaluation.program.operations.values()
        for kind, loss in [(loss_kind(o.kind), o.output) for o in operations if o.is_loss]:
            for example in self.scores:
                if self.evaluation.has(loss, example):
                    value = self.evaluation.value(loss, example)
                    found |= {example: value.text} if kind.is_failure(value) else {}
        return found

    @property
    def by_model(self) -> dict[str, float]:
        """The mean score of each line-up of models by its name, to four decimals; empty where
        there is one alone."""
        names = lineups(self.evaluation.program)
        found: dict[str, list[float]] = {}
        for run in self.runs if len(names) > 1 else []:
            scores = [run.scores[n] for n in self.scores if n in run.scores]
            found.setdefault(names[run.evaluation.lineup], []).extend(scores)
        return {name: round(fmean(scores), 4) for name, scores in found.items() if scores}

    def worst_run(self, example: int) -> Scored:
        """Of several runs the one with the lowest score on `example`, the first of equals; of a
        single run, itself."""
        there = [run for run in self.runs if example in run.scores]
        return min(there, key=lambda run: run.scores[example], default=self)


async def score(
    work: RunContext,
    losses: Sequence[str],
    examples: Sequence[int],
    texts: Texts | None = None,
    *,
    sample: int = 0,
    verdict: int = 0,
    lineup: int = 0,
    part: bool = False,
) -> Scored:
    """The mean of the losses' scores on each example; another `sample` asks the model afresh,
    another `verdict` the judges, another `lineup` the next models.

    Raises BadInput when a loss gives no score, ExampleError when no example can be scored; that of
    texts other than the installed ones, and of a `part` of what is measured, is 0 then.
    """
    evaluation = await load(work, losses, examples, overrides=texts, sample=sample, lineup=lineup)
    evaluation.verdict = verdict
    return await _scored(work, losses, examples, evaluation, part)


async def _scored(
    work: RunContext,
    losses: Sequence[str],
    examples: Sequence[int],
    evaluation: Evaluation,
    part: bool,
) -> Scored:
    await evaluate(work, evaluation, examples, tolerant=True)
    scores: dict[int, float] = {}
    unusable: dict[int, ReplyError] = {}
    for example in examples:
        if example in evaluation.left_out:
            continue
        if all(evaluation.has(loss, example) for loss in losses):
            scores[example] = sum(_score(evaluation, x, example) for x in losses) / len(losses)
        else:
            scores[example] = 0.0
            unusable[example] = _reason(evaluation, example)
    if not evaluation.overrides and not part:
        _check_any(examples, unusable)
    return Scored(evaluation, scores, unusable)


def _check_any(examples: Sequence[int], unusable: Mapping[int, ReplyError]) -> None:
    """Raise what an endpoint says where it refuses every example: then no example is to blame."""
    refused = [e for e in unusable.values() if isinstance(e, ExampleRefused)]
    if len(refused) == len(examples) > 0:
        first = refused[0]
        raise ExampleRefused(f"Every example was refused. {first.message}", first.next)


async def measure(
    work: RunContext,
    losses: Sequence[str],
    examples: Sequence[int],
    texts: Texts | None = None,
    *,
    part: bool = False,
    repeats: int | None = None,
) -> Scored:
    """As `score`, with each example run with each line-up of models, and as often as `repeats`
    says, or else the call (its argument of that name): its score is the mean of its runs, or the
    worst line-up's."""
    first = await load(work, losses, examples, overrides=texts)
    others = [
        score(work, losses, examples, texts, sample=i, verdict=i, lineup=n, part=part)
        for n, i in _runs(work, first.program, repeats)[1:]
    ]
    return combined(await gather([_scored(work, losses, examples, first, part), *others]))


def _runs(work: RunContext, program: Program, repeats: int | None = None) -> list[tuple[int, int]]:
    """Every run of what is measured: the number of its line-up, and of its sample."""
    samples = range(repeats or work.args.get("repeats", 1))
    return [(n, i) for n in range(len(lineups(program))) for i in samples]


def combined(runs: list[Scored]) -> Scored:
    """The scores of several runs on the examples of the first: the mean of each line-up of models,
    and the mean of those, or the worst where the program says so."""
    if len(runs) == 1:
        return runs[0]
    pick = min if worst_counts(runs[0].evaluation.program) else fmean
    every = {run.evaluation.lineup for run in runs}
    groups = [[run for run in runs if run.evaluation.lineup == i] for i in sorted(every)]
    scores: dict[int, float] = {}
    for n in runs[0].scores:
        of = [[run.scores[n] for run in group if n in run.scores] for group in groups]
        scores[n] = pick([fmean(found) for found in of if found])
    unusable = {n: why for run in reversed(runs) for n, why in run.unusable.items()}
    return Scored(runs[0].evaluation, scores, {n: unusable[n] for n in sorted(unusable)}, runs)


async def compare(
    work: RunContext,
    losses: Sequence[str],
    examples: Sequence[int],
    present: Texts,
    others: Sequence[Texts],
    *,
    part: bool = False,
) -> tuple[Scored, list[Scored]]:
    """Scores with the `present` texts and with each of the others, all at once, on those `examples`
    where the present texts have one; these may be `part` of what is compared.

    Where the losses are judges without a score, each result is judged against the present one in
    both orders: 1 if it is better both times, -1 if worse, else 0; the present one has 0. With
    `repeats`, each counts by the mean of its runs.
    """
    judges = await _ungraded_judges(work, losses)
    if judges is None:
        texts = [present, *others]
        found = await gather([measure(work, losses, examples, t, part=part) for t in texts])
        return found[0], [_beside(found[0], other) for other in found[1:]]
    texts = [present, *others]
    program = await work.store.graph.program(work.session.pk, losses, everything=True)
    runs = _runs(work, program)
    rounds = await gather([_round(work, losses, judges, examples, texts, *run) for run in runs])
    return rounds[0][0], [combined(list(won)) for won in zip(*(r[1] for r in rounds), strict=True)]


async def _round(
    work: RunContext,
    losses: Sequence[str],
    judges: Sequence[Operation],
    examples: Sequence[int],
    texts: Sequence[Texts],
    lineup: int,
    sample: int,
) -> tuple[Scored, list[Scored]]:
    """One run of all `texts`, each compared with the first of them."""
    runs = await gather([_values(work, losses, examples, t, lineup, sample) for t in texts])
    examples = [n for n in examples if n not in runs[0].left_out]
    won = await gather([_contests(work, judges, examples, runs[0], run) for run in runs[1:]])
    return Scored(runs[0], dict.fromkeys(examples, 0.0)), won


def _beside(present: Scored, other: Scored) -> Scored:
    """The `other` scores where there are present ones: 0 for what only these texts lost."""
    scores = {n: other.scores.get(n, 0.0) for n in present.scores}
    return Scored(other.evaluation, scores, other.unusable, other.runs)


async def _values(
    work: RunContext,
    losses: Sequence[str],
    examples: Sequence[int],
    texts: Texts,
    lineup: int,
    sample: int,
) -> Evaluation:
    evaluation = await load(work, losses, examples, overrides=texts, sample=sample, lineup=lineup)
    evaluation.verdict = sample
    # The judges' own critiques are not needed to compare.
    evaluation.program.operations = {
        k: o for k, o in evaluation.program.operations.items() if o.output not in losses
    }
    await evaluate(work, evaluation, examples, tolerant=True)
    return evaluation


async def in_pairs(work: RunContext, losses: Sequence[str]) -> bool:
    """Whether these losses give no scores, so that texts are compared two by two."""
    return await _ungraded_judges(work, losses) is not None


async def _ungraded_judges(work: RunContext, losses: Sequence[str]) -> list[Operation] | None:
    """The losses' operations, if all are judges that give no score; else None."""
    found = await work.store.graph.variables(work.session.pk, losses)
    made_by = [v.operation for v in found.values() if v.operation]
    operations = await work.store.graph.operations(work.session.pk, made_by)
    plain = all(loss_kind(o.kind).in_pairs(o) for o in operations)
    return operations if plain else None


async def _contests(
    work: RunContext,
    judges: Sequence[Operation],
    examples: Sequence[int],
    present: Evaluation,
    other: Evaluation,
) -> Scored:
    won = await gather([_contest(work, judges, n, present, other) for n in examples])
    return Scored(
        other,
        dict(zip(examples, won, strict=True)),
        {n: _reason(other, n) for n in examples if not _complete(other, judges, n)},
    )


def _complete(evaluation: Evaluation, judges: Sequence[Operation], example: int) -> bool:
    return all(evaluation.has(v, example) for judge in judges for v in judge.inputs.values())


async def _contest(
    work: RunContext,
    judges: Sequence[Operation],
    example: int,
    present: Evaluation,
    other: Evaluation,
) -> float:
    if not _complete(other, judges, example):
        return -1.0
    if not _complete(present, judges, example):
        return 1.0
    asked = [
        _preferred(work, judge, example, *pair)
        for judge in judges
        for pair in ((other, present), (present, other))
    ]
    try:
        said = await gather(asked)
    except ExampleRefused:
        return 0.0  # the endpoint will not compare the two
    total = 0.0
    for forth, back in zip(said[::2], said[1::2], strict=True):
        total += {("first", "second"): 1.0, ("second", "first"): -1.0}.get((forth, back), 0.0)
    return total / len(judges)


COMPARISON = object_schema(
    {
        "reason": {"type": "string"},
        "better": {"type": "string", "enum": ["first", "second", "equal"]},
    }
)


async def _preferred(
    work: RunContext, judge: Operation, example: int, first: Evaluation, second: Evaluation
) -> str:
    one, two = first.inputs(judge, example), second.inputs(judge, example)
    a, b = one.texts, two.texts
    images = tuple(dict.fromkeys([*one.images.values(), *two.images.values()]))
    if a == b:
        return "equal"
    fence = Fence([*a.values(), *b.values()])
    parts = [sentence("labels", "instruction", instruction=str(judge.spec["instruction"]))]
    for title, texts in (("first", a), ("second", b)):
        parts.append(sentence("labels", title))
        parts += [fence.wrap("text", t, name=n) for n, t in texts.items()]
    parts.append(text("reply", form=sentence("labels", "compare_form")))
    request = CompletionRequest(
        purpose=Purpose.COMPARE,
        messages=(
            Message(role="system", content=text("compare")),
            Message(role="user", content="\n\n".join(parts), images=images),
        ),
        reply=COMPARISON,
        sample=first.verdict,
        about="which of two results is better"
        + (f" for e{example}" if example != NO_EXAMPLE else ""),
    )

    def read(completion: Completion) -> str:
        return str(parse_object(completion.text, COMPARISON)["better"])

    return await work.ask(request, read)


def _score(evaluation: Evaluation, loss: str, example: int) -> float:
    value = evaluation.value(loss, example)
    if value.score is None:
        raise BadInput(
            f"{loss} gives feedback but no score, so nothing can be compared by it.",
            "Use a loss with a score: a metric, a judge with graded=true, or feedback with score.",
        )
    return value.score


def _reason(evaluation: Evaluation, example: int) -> ReplyError:
    here = [e for (_, n), e in evaluation.unusable.items() if n in (example, NO_EXAMPLE)]
    return here[0] if here else ReplyError("No usable reply.", "Call resume to ask afresh.")
