"""The tool `evaluate`: a split's mean score with its error and its failures."""

from __future__ import annotations

from collections.abc import Collection
from statistics import fmean

from pydantic import BaseModel

from ...schemas.arguments.evaluate import EvaluateArguments
from ...schemas.graph import NO_EXAMPLE, STATE_VERSION, Session, Variable
from ...schemas.results import EvaluateResult, Failure, Result
from ..evaluation.scoring import Scored, measure
from ..evaluation.statistics import figure, mean_and_error
from ..evaluation.votes import vote
from ..optimizer import cost_estimate, repeats
from ..optimizer.quote_guard import QuoteGuard
from ..program.lineups import asked
from ..program.missing_fields import complete, left_out, named, unusable
from ..runs import saved_state as saved
from ..runs.basis import Stands, stands_on
from ..runs.context import RunContext
from ..runs.digest import digest_of
from ..runs.runner import Caller, Start
from ..views import hints
from ..views import results as show
from ..views.comparisons import Comparisons
from ..views.lineups import by_model
from ..views.session_report import change_of, moved
from .base import Tool

STEP = {"batch_size": 4, "candidates": 3}
"""What a step of `optimize` takes unless it is told otherwise."""
SEEN = (
    "Whoever answered these prompts has read the test examples: they stay held-out only where that "
    "does not steer a rewrite, or a fresh helper answered."
)
FAIR = 2
"""Texts that may be measured on the test split: those at the start, and those at the end."""


class Noted(BaseModel):
    """What an evaluation remembers once it is noted: the readings of the test split and the texts
    it has measured by then, and what the figure stands on (unknown in earlier versions)."""

    reads: tuple[int, int]
    stands: Stands | None = None


class Evaluate(Tool[EvaluateArguments, Result]):
    """Measures a program on a split."""

    arguments = EvaluateArguments

    async def run(self, caller: Caller, args: EvaluateArguments) -> Result:
        """The mean score on a split and its failures. Raises BadInput, NotFound, Conflict.

        With `votes`, each example is run so often and the most frequent output is scored; with
        `repeats`, so often, and has the mean score.
        """
        session = await self.parts.store.sessions.get(args.session_id, caller.owner)
        given = args.asked()

        async def prepare(session: Session) -> Start:
            named = None if args.loss is None else [args.loss]
            [loss] = await self.parts.losses(session, named)
            if args.repeats == 1:
                return Start(given | {"loss": loss.id})
            graph = self.parts.store.graph
            program = await graph.program(session.pk, [loss.id], everything=True)
            return Start(repeats.settled(given | {"loss": loss.id}, program))

        digest = digest_of("evaluate", given)
        return await self.parts.runs.call(caller, session, "evaluate", digest, prepare)

    async def body(self, work: RunContext) -> Result:
        """What a run of it does; executed again from the top when the run is resumed."""
        loss, split = work.args["loss"], work.args["split"]
        variable = await self.parts.one_variable(work.session, loss)
        examples = (
            await self.parts.named_examples(work.session, split)
            if variable.per_example
            else [NO_EXAMPLE]
        )
        full, lacking = await complete(self.parts.store, work.session.pk, [loss], examples)
        examples = full or examples  # with none, whatever reads the field says what is missing
        work.phase = f"evaluating on {split}"
        votes = work.args.get("votes", 1)
        scored = await (
            vote(work, loss, examples, votes) if votes > 1 else measure(work, [loss], examples)
        )
        mean, error = mean_and_error(list(scored.scores.values()))
        known = await self._noted(work, variable, scored)
        result = EvaluateResult(
            loss=loss,
            split=split,
            mean_score=round(mean, 4),
            standard_error=None if error is None else round(error, 4),
            examples=len(scored.scores),
            by_model=scored.by_model or None,
            notes=[
                *work.args.get("notes", []),
                *repeats.spread(scored),
                *by_model(scored.evaluation.program, scored.by_model),
                *lacking,
                *left_out(scored.left_out),
                *unusable(scored.why_unusable),
                *_failed(scored.failed),
            ],
        )
        if split == "train":
            result.notes += await self._flattered(work, scored)
        if split == "test":
            _hold_out(result, *known)
            names = [*asked(scored.evaluation.program), "backward"]
            if any(show.is_known(work, name) for name in names):
                result.notes.append(SEEN)
            result.next = f"{await self._since(work, loss)}{result.next}"
        else:
            result.failures = _worst(scored, loss)
            result.next = await self._improve(work, scored, len(result.failures))
        return result

    async def _noted(self, work: RunContext, loss: Variable, scored: Scored) -> tuple[int, int]:
        """Note a measurement, once; gives how often the test split was read, and how many texts it
        has measured. One of what the run no longer stands on was another."""
        split = work.args["split"]
        stands = await stands_on(work, [loss.id], split if loss.per_example else None)
        before = saved.state_of(work.run, Noted) if "reads" in work.state else None
        if before is not None and before.stands in (None, stands):
            return before.reads
        program = scored.evaluation.program
        versions = {v.id: v.version for v in program.variables.values() if v.requires_grad}
        mean, error = mean_and_error(list(scored.scores.values()))
        state = {"version": STATE_VERSION, "stands": stands.model_dump()}
        return await self.parts.store.evaluations.add(
            work.session.pk,
            loss.id,
            split,
            versions,
            mean,
            error,
            len(scored.scores),
            work.fence,
            state,
            work.chain,
            scored.scores,
            scored.by_model,
        )

    async def _since(self, work: RunContext, loss: str) -> str:
        """How the held-out score has moved since it was first read; empty the first time."""
        await work.chain.settled()
        found = await self.parts.store.evaluations.spans(work.session.pk)
        read = [one for one in found if (one["loss"], one["split"]) == (loss, "test")]
        if not read or read[0]["evaluations"] == 1:
            return ""
        change = await change_of(self.parts.store, work.session.pk, read[0], Comparisons())
        return f"{moved(change, 'held-out')} "

    async def _improve(self, work: RunContext, scored: Scored, shown: int) -> str:
        """What there is to gain, and what a step towards it costs."""
        session, split = work.session.id, work.args["split"]
        below = sum(one < 1 for one in scored.scores.values())
        alone = NO_EXAMPLE in scored.scores
        if not below:
            return hints.saturated(session, "" if alone else split)
        more = f"Not shown: {below - shown} more that score below 1. " if below > shown else ""
        if split == "train" and not alone:
            return f"{more}Call backward(session_id='{session}') and step to improve on train."
        sizes = await self.parts.store.examples.split_sizes(work.session.pk)
        train = sizes.get("train", 0)
        untested = "test" in sizes and not work.session.test_reads
        examples = 0 if alone else len(scored.scores)
        calls = cost_estimate.step_calls(scored.evaluation.program, STEP, examples, train)
        on = "" if alone else f", on {below} of {examples} examples"
        gain = f"There is {figure(1 - scored.mean)} to gain{on}. "
        learnt = [v for v in scored.evaluation.program.variables.values() if v.requires_grad]
        next_ = hints.how_to_gain(
            session, calls, train, alone=alone, one=len(learnt) == 1, untested=untested
        )
        return more + gain + next_

    async def _flattered(self, work: RunContext, scored: Scored) -> list[str]:
        """A note where the texts quote examples that they are measured on."""
        program = scored.evaluation.program
        texts = [v.value for v in program.variables.values() if v.is_leaf and v.value]
        quoted = await QuoteGuard.for_program(work, program).quoted(texts)
        found = [n for n in scored.scores if n in quoted]
        others = [s for n, s in scored.scores.items() if n not in quoted]
        if not found:
            return []
        rest = f": without them it is {fmean(others):.2f}" if others else ""
        return [f"The texts quote {named(found)}, which flatters the score{rest}."]


def _hold_out(result: EvaluateResult, reads: int, texts: int) -> None:
    """Leave the held-out figure alone: failures that are seen could steer the next rewrite."""
    result.reads = reads
    if texts > FAIR:
        result.notes.append(
            f"{texts} different texts have been measured on the test split: if they were chosen or "
            "changed by what it said, it is no longer held-out. Say so when you report it."
        )
    result.next = (
        "The held-out figure of the present texts. Its failures are not shown, so that it stays "
        "held-out: evaluate validation to see what goes wrong, and improve on train."
    )


def _failed(examples: Collection[int]) -> list[str]:
    """Which examples count as 0 because the evaluator failed on what was made for them."""
    if not examples:
        return []
    which = "" if NO_EXAMPLE in examples else f": {named(examples)}"
    many = f"{len(examples)} example{'s' if len(examples) > 1 else ''}"
    return [f"{many} made the evaluator fail, which counts as 0{which}."]


def _worst(scored: Scored, loss: str) -> list[Failure]:
    """The worst failures."""
    worst = sorted((s, n) for n, s in scored.scores.items() if s < 1)
    shown = worst[: show.FAILURES]
    return [show.failure(scored.worst_run(n), loss, n, value) for value, n in shown]
