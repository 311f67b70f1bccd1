"""Evaluate: a split's mean score with its error and its failures; and `revert`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from statistics import fmean
from typing import get_args

from ..schemas.errors import BadInput, NotFound
from ..schemas.graph import HERE, Session, Split, Variable, number
from ..schemas.results import EvaluateResult, Failure, Result, VariableResult
from . import show
from .complete import complete, left_out, named, unusable
from .core import Core
from .define import check_text
from .guard import Guard
from .ledger import Work
from .runs import Caller
from .scoring import Scored, score, vote
from .stats import mean_and_error

FAIR = 2
"""Texts that may be measured on the test split: those at the start, and those at the end."""


class Evaluating(Core):
    """The tools that measure, and the one that undoes."""

    async def evaluate(
        self,
        caller: Caller,
        *,
        session_id: str,
        loss: str | None = None,
        split: str = "validation",
        votes: int = 1,
    ) -> Result:
        """The mean score on a split and its failures. Raises BadInput, NotFound, Conflict.

        With `votes`, each example is run so often and the most frequent output is scored.
        """
        session = await self.store.session(session_id, caller.owner)
        if split not in get_args(Split):
            raise BadInput(f"There is no split {split!r}.", "Use train, validation or test.")
        named = await self.losses(session, [loss] if loss is not None else None)
        if not 1 <= votes <= 64:
            raise BadInput(f"votes must be between 1 and 64, not {votes}.", "5 is usual.")
        args: dict[str, object] = {"loss": named[0].id, "split": split, "votes": votes}
        return await self.run(caller, session, "evaluate", args)

    async def _evaluate_body(self, work: Work) -> Result:
        loss, split = work.args["loss"], work.args["split"]
        variable = await self.one_variable(work.session, loss)
        places = await self.named_examples(work.session, split) if variable.per_example else [HERE]
        full, lacking = await complete(self.store, work.session.pk, [loss], places)
        places = full or places  # with none, whatever reads the field says what is missing
        work.phase = f"evaluating on {split}"
        votes = work.args.get("votes", 1)
        scored = await (
            vote(work, loss, places, votes) if votes > 1 else score(work, [loss], places)
        )
        mean, error = mean_and_error(list(scored.scores.values()))
        versions = {
            v.id: v.version for v in scored.evaluation.program.variables.values() if v.requires_grad
        }
        known = work.state.get("reads")
        if known is None:
            known = await self.store.note_evaluation(
                work.session.pk, loss, split, versions, mean, error, len(scored.scores), work.fence
            )
        result = EvaluateResult(
            loss=loss,
            split=split,
            mean_score=round(mean, 4),
            standard_error=None if error is None else round(error, 4),
            examples=len(scored.scores),
            notes=[
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
        else:
            result.failures, result.next = _improve(work.session.id, scored, loss)
        return result

    async def _flattered(self, work: Work, scored: Scored) -> list[str]:
        """A note where the texts quote examples that they are measured on."""
        program = scored.evaluation.program
        texts = [v.value for v in program.variables.values() if v.is_leaf and v.value]
        quoted = await Guard.for_program(work, program).quoted(texts)
        found = [p for p in scored.scores if p in quoted]
        others = [s for p, s in scored.scores.items() if p not in quoted]
        if not found:
            return []
        rest = f": without them it is {fmean(others):.2f}" if others else ""
        return [f"The texts quote {named(found)}, which flatters the score{rest}."]

    async def revert(
        self,
        caller: Caller,
        *,
        session_id: str,
        variable: str,
        version: int | str | None = None,
    ) -> VariableResult:
        """Make an earlier version current again, as a new version, or a proposal (`p4`).

        Without a version, take the text of the file that the variable is bound to.
        Raises BadInput, NotFound, Conflict.
        """
        session = await self.store.session(session_id, caller.owner)
        await self.runs.admit(session, "")
        v = await self.one_variable(session, variable)
        if not v.is_leaf or v.value is None:
            raise BadInput(f"{v.label} has no versions: it is computed.", "Revert a parameter.")
        if version is None:
            return await self._reread(session, v)
        await self.reconcile_files(session)
        name, text = await self._text_of(session, v, version)
        if text == v.value:
            return VariableResult(
                session_id=session.id,
                variable=v.id,
                version=v.version,
                notes=[f"{name} has the text that is current already."],
                next="Nothing changed.",
            )
        made = await self.store.set_value(session.pk, v.id, text, v.version, "revert")
        await self.reconcile_files(session)
        return VariableResult(
            session_id=session.id,
            variable=v.id,
            version=made,
            next=f"{v.id} has the text of {name.lower()} now, as version {made}. Call "
            f"forward(session_id='{session.id}') to recompute what depends on it.",
        )

    async def _text_of(self, session: Session, v: Variable, asked: int | str) -> tuple[str, str]:
        """The name and the text of a version, or of a proposal that was not installed."""
        if isinstance(asked, str) and not asked.isdecimal():
            proposal = await self.store.proposal(session.pk, asked)
            if proposal is None or proposal.variable != v.id:
                raise NotFound(
                    f"{v.label} has no proposal {asked!r}.",
                    "inspect(session_id, what='steps') lists them; a version is a number.",
                )
            return f"Proposal {asked}", proposal.text
        n = number(f"v{asked}", "v")
        old = await self.store.version(session.pk, v.id, n) if n else None
        if old is None:
            raise NotFound(
                f"{v.label} has no version {asked}; it is at {v.version}.",
                f"inspect(session_id, what='variable', id='{v.id}') lists its versions.",
            )
        return f"Version {asked}", old.text

    async def _reread(self, session: Session, v: Variable) -> VariableResult:
        """Take the text of a bound file as a new version."""
        if v.file is None:
            raise BadInput(
                f"{v.label} is bound to no file, so a version is needed.",
                f"inspect(session_id, what='variable', id='{v.id}') lists its versions.",
            )
        path = v.file.path
        text, binding = await asyncio.to_thread(self.workspace.bind, path, write=v.file.write)
        check_text(f"the file {path!r}", text, self.settings.max_value_chars, empty=True)
        made = v.version
        if text != v.value:
            made = await self.store.set_value(session.pk, v.id, text, v.version, "edit")
        await self.store.note_file(session.pk, v.id, binding.digest)
        return VariableResult(
            session_id=session.id,
            variable=v.id,
            version=made,
            next=f"{v.id} has the text of {path!r}, as version {made}. Call "
            f"forward(session_id='{session.id}') to recompute what depends on it.",
        )


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


def _failed(places: Collection[int]) -> list[str]:
    """Which examples count as 0 because the evaluator failed on what was made for them."""
    if not places:
        return []
    which = "" if HERE in places else f": {named(places)}"
    many = f"{len(places)} example{'s' if len(places) > 1 else ''}"
    return [f"{many} made the evaluator fail, which counts as 0{which}."]


def _improve(session: str, scored: Scored, loss: str) -> tuple[list[Failure], str]:
    """The worst failures, and what to do about them."""
    worst = sorted((s, p) for p, s in scored.scores.items() if s < 1)
    failures = [show.failure(scored, loss, place, value) for value, place in worst[: show.FAILURES]]
    if not worst:
        return failures, "Every example scores 1."
    more = len(worst) - len(failures)
    return failures, (f"Not shown: {more} more that score below 1. " if more > 0 else "") + (
        f"Call backward(session_id='{session}') and step to improve on train."
    )
