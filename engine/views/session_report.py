"""The report's figures: computed here once, for whoever draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...schemas.graph import Fate, Kind, Session
from ...schemas.report import Change, Funnel, Measured, Parameter, SessionReport, Spent
from ..stats import paired_gain
from ..store import Store

FAIR = 2
"""Texts that may be measured on the test split: those at the start, and those at the end."""
PARAMETERS = 50
UNUSABLE = (Fate.UNCHANGED, Fate.COPIED, Fate.LEAKED, Fate.BROKEN, Fate.UNUSABLE, Fate.TWICE)
UNCOMPARED = (*UNUSABLE, Fate.MINIBATCH, Fate.NOT_COMPARED)


async def session_report(
    store: Store,
    session: Session,
    readings: Sequence[Mapping[str, Any]] | None = None,
    steps: Mapping[str, list[Any]] | None = None,
) -> SessionReport:
    """The session's report. `readings` and `steps` are the store's, where they were read already.

    The difference between the first and the latest score of a split is a gain only where the loss
    is the same; scores on train and validation have steered the search, test has not.
    """
    readings = await store.readings(session.pk) if readings is None else readings
    steps = await store.step_columns(session.pk) if steps is None else steps
    scores = [await _change(store, session.pk, one) for one in grouped(readings)]
    verdicts = await store.verdicts(session.pk)
    fates = {name.removeprefix("refused: "): n for name, n in verdicts.items()}
    report = SessionReport(
        title=session.title,
        created=session.created,
        updated=session.updated,
        headline="",
        scores=scores,
        steps=len(steps["n"]),
        accepted=sum(steps["accepted"]),
        fates=fates,
        funnel=_funnel(fates),
        test_reads=session.test_reads,
        examples=await store.split_sizes(session.pk),
        parameters=await _parameters(store, session),
        spent=Spent(
            calls=session.used_calls,
            tokens=session.used_tokens,
            cost=round(session.used_cost, 6),
            by_purpose=await store.usage(session.pk),
        ),
    )
    report.headline = headline(report)
    return report


def grouped(readings: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The evaluations of each loss and split, the oldest first."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in readings:
        found.setdefault((one["loss"], one["split"]), []).append(one)
    return list(found.values())


async def _change(store: Store, session: int, found: Sequence[Mapping[str, Any]]) -> Change:
    first, latest = found[0], found[-1]
    change = Change(
        loss=first["loss"],
        split=first["split"],
        first=_measured(first),
        latest=_measured(latest),
        evaluations=len(found),
        texts=len({tuple(sorted(one["versions"].items())) for one in found}),
    )
    if len(found) == 1:
        return change
    before, after = [await store.scores_of(session, one["n"]) for one in (first, latest)]
    both = [n for n in before if n in after]
    if both and len(both) == len(before) == len(after):
        _compare(change, [before[n] for n in both], [after[n] for n in both])
        return change
    errors = (change.first.error, change.latest.error)
    change.gain = change.latest.mean - change.first.mean
    change.error = None if None in errors else math.hypot(*(e or 0.0 for e in errors))
    return change


def _compare(change: Change, before: Sequence[float], after: Sequence[float]) -> None:
    gain = paired_gain(before, after)
    change.gain, change.error, change.p, change.paired = (
        gain.gain,
        gain.standard_error,
        gain.p,
        True,
    )
    change.better = sum(b > a for a, b in zip(before, after, strict=True))
    change.worse = sum(b < a for a, b in zip(before, after, strict=True))
    change.same = len(before) - change.better - change.worse


def _measured(one: Mapping[str, Any]) -> Measured:
    return Measured(**{key: one[key] for key in ("mean", "error", "examples", "versions")})


def _funnel(fates: Mapping[str, int]) -> Funnel:
    total = sum(fates.values())
    return Funnel(
        proposed=total,
        usable=total - sum(fates.get(fate, 0) for fate in UNUSABLE),
        compared=total - sum(fates.get(fate, 0) for fate in UNCOMPARED),
        accepted=fates.get(Fate.ACCEPTED, 0),
    )


async def _parameters(store: Store, session: Session) -> list[Parameter]:
    variables = await store.variables(session.pk)
    wanted = (Kind.PARAMETER, Kind.DEMONSTRATIONS)
    return [
        Parameter(
            id=v.id,
            role=v.role,
            name=v.name,
            kind=v.kind,
            version=v.version,
            file=v.file.path if v.file else None,
        )
        for v in variables.values()
        if v.kind in wanted
    ][:PARAMETERS]


def headline(report: SessionReport) -> str:
    """What the figures prove, in one or two sentences."""
    by_split = {one.split: one for one in report.scores}
    test = by_split.get("test")
    if test is not None:
        return _held_out(test)
    seen = by_split.get("validation") or by_split.get("train")
    if seen is None:
        return _unmeasured(report)
    if seen.evaluations == 1:
        return (
            f"The score was {_figure(seen.first.mean)} on {_examples(seen)} when it was read; "
            "there is no second reading to compare it with."
        )
    return (
        f"{_moved(seen, seen.split)} These examples steered the search, so part of the gain may "
        "be luck: evaluate(split='test') gives a held-out figure."
    )


def _held_out(test: Change) -> str:
    if test.evaluations == 1:
        return (
            f"The score is {_figure(test.latest.mean)} on {_examples(test)} that no step saw; it "
            "was read once, so there is no figure from before to compare it with."
        )
    words = _moved(test, "held-out")
    if test.texts > FAIR:
        words += (
            f" {test.texts} different texts were measured there; whoever chose among them by "
            "these figures has no held-out figure any more."
        )
    return words


def _moved(one: Change, kind: str) -> str:
    gain, error = one.gain or 0.0, one.error
    where = f"on {one.latest.examples} {kind} example{'' if one.latest.examples == 1 else 's'}"
    moved = f"{_figure(one.first.mean)} to {_figure(one.latest.mean)} {where}"
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


def _examples(one: Change) -> str:
    n = one.latest.examples
    return f"{n} {one.split} example{'' if n == 1 else 's'}"


def _figure(value: float) -> str:
    """Two decimals, or enough to show that a small figure is not 0."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.1g}"
