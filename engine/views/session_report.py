"""The report's figures: computed here once, for whoever draws them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...schemas.graph import Fate, Session, Variable
from ...schemas.report import OWN_LOSS, Change, Funnel, Parameter, Price, SessionReport
from ..evaluation.statistics import figures
from ..store import Store
from .comparisons import Comparisons, Paired, paired
from .lineage import add_texts

FAIR = 2
"""Texts that may be measured on the test split: those at the start, and those at the end."""
PARAMETERS = 50
"""Parameters of a report without texts."""
UNUSABLE = (Fate.UNCHANGED, Fate.COPIED, Fate.LEAKED, Fate.BROKEN, Fate.UNUSABLE, Fate.TWICE)
UNCOMPARED = (*UNUSABLE, Fate.MINIBATCH, Fate.NOT_COMPARED)


async def session_report(
    store: Store,
    session: Session,
    comparisons: Comparisons | None = None,
    *,
    texts: bool = False,
) -> SessionReport:
    """The session's report; with `texts`, parameters tell theirs and how they came to be.

    The difference between the first and the latest score of a split is a gain only where the loss
    is the same; scores on train and validation have steered the search, test has not. What
    `comparisons` has compared before is not compared again.
    """
    known = comparisons or Comparisons()
    spans = await _spans(store, session.pk)
    progress = await store.evaluations.progress(session.pk)
    proposals = await store.evaluations.verdicts(session.pk)
    parameters = await store.overview.learnt(session.pk, None if texts else PARAMETERS)
    report = SessionReport(
        session_id=session.id,
        title=session.title,
        owner=session.owner,
        created=session.created,
        updated=session.updated,
        headline="",
        scores=[await change_of(store, session.pk, one, known) for one in spans],
        **progress,
        proposals=proposals,
        funnel=_funnel(proposals),
        test_reads=session.test_reads,
        examples=await store.examples.split_sizes(session.pk),
        parameters=[_parameter(v) for v in parameters],
        price=Price(
            calls=session.used_calls,
            tokens=session.used_tokens,
            cost=round(session.used_cost, 6),
            by_purpose=await store.calls.usage(session.pk),
        ),
    )
    report.headline = headline(report)
    if texts:
        await add_texts(store, session.pk, report, parameters)
    return report


async def _spans(store: Store, session: int) -> list[dict[str, Any]]:
    """First and latest scores; those of a loss that no example feeds are on no split."""
    spans = await store.evaluations.spans(session)
    losses = await store.graph.variables(session, {one["loss"] for one in spans})
    alone = {v.id for v in losses.values() if not v.per_example}
    return [one | ({"split": OWN_LOSS} if one["loss"] in alone else {}) for one in spans]


async def change_of(
    store: Store, session: int, span: Mapping[str, Any], comparisons: Comparisons
) -> Change:
    """The first and the latest of a loss's readings on a split, and what lies between them."""
    change = Change.model_validate(span)
    for one, end in ((change.first, span["first"]), (change.latest, span["latest"])):
        one.by_model = await store.overview.by_model(session, end["n"])
    if change.evaluations == 1:
        return change
    ends = [(span[end]["n"], span[end]["created"]) for end in ("first", "latest")]

    async def compare() -> Paired | None:
        before, after = [await store.overview.scores_of(session, n) for n, _ in ends]
        return await asyncio.to_thread(paired, before, after)

    found = await comparisons.once((session, *ends), compare)
    if found is not None:
        return change.model_copy(update={"paired": True, **asdict(found)})
    errors = (change.first.error, change.latest.error)
    change.gain = change.latest.mean - change.first.mean
    change.error = None if None in errors else math.hypot(*(e or 0.0 for e in errors))
    return change


def _funnel(proposals: Mapping[str, int]) -> Funnel:
    fates = {name.removeprefix("refused: "): n for name, n in proposals.items()}
    total = sum(fates.values())
    return Funnel(
        proposed=total,
        usable=total - sum(fates.get(fate, 0) for fate in UNUSABLE),
        compared=total - sum(fates.get(fate, 0) for fate in UNCOMPARED),
        accepted=fates.get(Fate.ACCEPTED, 0),
    )


def _parameter(v: Variable) -> Parameter:
    return Parameter(
        id=v.id,
        role=v.role,
        name=v.name,
        kind=v.kind,
        version=v.version,
        file=v.file.path if v.file else None,
    )


def headline(report: SessionReport) -> str:
    """What the figures prove, in one or two sentences."""
    by_split = {one.split: one for one in report.scores}
    test = by_split.get("test")
    if test is not None:
        return _held_out(test)
    seen = by_split.get("validation") or by_split.get("train") or by_split.get(OWN_LOSS)
    if seen is None:
        return _unmeasured(report)
    if seen.evaluations == 1:
        return (
            f"The score was {_figure(seen.first.mean)} {_where(seen)} when it was read; "
            "there is no second reading to compare it with."
        )
    if seen.split == OWN_LOSS:
        return f"{moved(seen, OWN_LOSS)} It steered the search; no examples were held out."
    return (
        f"{moved(seen, seen.split)} These examples steered the search, so part of the gain may "
        "be luck: evaluate(split='test') gives a held-out figure."
    )


def _held_out(test: Change) -> str:
    if test.evaluations == 1:
        return (
            f"The score is {_figure(test.latest.mean)} {_where(test)} that no step saw; it "
            "was read once, so there is no figure from before to compare it with."
        )
    words = moved(test, "held-out")
    if test.texts > FAIR:
        words += (
            f" {test.texts} different texts were measured there; whoever chose among them by "
            "these figures has no held-out figure any more."
        )
    return words


def moved(one: Change, kind: str) -> str:
    """What the first and the latest reading of a split prove, in a sentence."""
    gain, error = one.gain or 0.0, one.error
    moved = f"{_figure(one.first.mean)} to {_figure(one.latest.mean)} {_where(one, kind)}"
    if gain == 0:
        return f"The score did not change: {moved}."
    size = f"a {'gain' if gain > 0 else 'loss'} of {_figure(abs(gain))}"
    size += "" if error is None else f" ± {_figure(error)}"
    verb = "rose" if gain > 0 else "fell"
    if error is not None and abs(gain) <= 2 * error:
        return (
            f"The score {verb} from {moved}, {size}: within two standard errors, it may be noise."
        )
    return f"The score {verb} from {moved}, {size}."


def _unmeasured(report: SessionReport) -> str:
    if report.accepted:
        return (
            f"{report.accepted} of {report.steps} steps changed a text; nothing was measured on "
            "examples, so what it is worth was judged step by step."
        )
    if report.steps:
        return f"{report.steps} steps were tried and none was taken; nothing was measured yet."
    return "Nothing has been measured yet."


def _where(one: Change, kind: str = "") -> str:
    if one.split == OWN_LOSS:
        return f"by {OWN_LOSS}"
    return f"on {one.latest.examples} {kind or one.split} example" + (
        "" if one.latest.examples == 1 else "s"
    )


def _figure(value: float) -> str:
    """Two decimals, halves up, or enough to show that a small figure is not 0: 0.625 to 0.875 is
    told as 0.63 to 0.88, and not as 0.62. What is below 1 is not told as 1.00."""
    if value != 0 and abs(value) < 0.01:
        return f"{value:.1g}"
    return f"{value + 1e-9:.2f}" if round(value, 2) < 1 or value >= 1 else figures(value)[0]
