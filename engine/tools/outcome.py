"""What an optimisation hands back: what it won, what it cost, and what more would cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ...schemas.graph import NO_EXAMPLE, Proposal
from ...schemas.results import OptimizeResult
from ..answerers import uncounted
from ..evaluation.statistics import mean_and_error
from ..optimizer import gate
from ..optimizer.cost_estimate import CostEstimate
from ..optimizer.progress import NO_FEEDBACK, NO_REWRITE, SearchState
from ..program.missing_fields import named
from ..runs.context import RunContext
from ..views import results as show

Usage = Mapping[str, Mapping[str, float]]
"""Calls, tokens and cost by purpose, as the store adds them up."""
PAIRED = (
    "The judges give no scores: each accepted text was preferred, in both orders, to the one "
    "before it; there is no mean to report."
)

FELL_BACK = (
    "A reflection could not be read: from then on feedback and rewrites were asked for one by one."
)
MEND = (
    "Mend what the notes say: usually a stronger model for the backward role, or longer replies "
    "(max_tokens). Then call optimize again: what could not be used is asked afresh."
)


def result(
    work: RunContext,
    loop: SearchState,
    stopped: str,
    usage: Usage,
    history: Sequence[Proposal],
    notes: Sequence[str],
    tested: bool,
) -> OptimizeResult:
    """The result of a loop that has ended; `tested` says whether there is a test split."""
    mean, error = mean_and_error(loop.current.scores)
    spent = figures(usage)
    found = history[: loop.refused + loop.accepted]
    higher = None if loop.paired else show.refused_higher(found, mean)
    shown = history[: show.VALUES]
    names = {answerer.name for answerer in work.ledger.answerers.values()}
    why = "" if spent["tokens"] else uncounted(names)
    unknown = [f"Tokens and cost: {why}."] if why else []
    return OptimizeResult(
        loss=", ".join(work.args["losses"]),
        steps=loop.steps,
        accepted=loop.accepted,
        refused=loop.refused,
        stopped=stopped,
        score_before=None if loop.paired else round(mean_and_error(loop.before)[0], 4),
        score_after=None if loop.paired else round(mean, 4),
        standard_error=None if error is None or loop.paired else round(error, 4),
        variables=sorted(loop.current.texts),
        proposals=show.proposals(shown[::-1], among=history)[0],
        refused_higher=higher.id if higher else None,
        by_model=loop.by_model or None,
        calls=int(spent["calls"]),
        tokens=None if unknown else int(spent["tokens"]),
        cost=spent["cost"] or None,
        notes=[*notes, *([PAIRED] if loop.paired else []), *_left_out(shown, loop), *unknown],
        next=show.installing(work.session, higher, found) + _what_now(work, loop, stopped, tested),
    )


def _what_now(work: RunContext, loop: SearchState, stopped: str, tested: bool) -> str:
    if stopped in (NO_FEEDBACK, NO_REWRITE):
        return MEND
    if stopped == "goal" and not loop.steps and gate.saturated(loop.before):
        return gate.harder(work.session)
    return _next(work.session.id, tested)


def _left_out(history: Sequence[Proposal], loop: SearchState) -> list[str]:
    total = loop.refused + loop.accepted
    if total <= len(history):
        return []
    return [f"The last {len(history)} proposals are shown; inspect(what='steps') has all."]


def still_failing(loop: SearchState, examples: Sequence[int]) -> list[str]:
    """A note on the validation examples that score below 1 with the installed texts."""
    if loop.paired or list(examples) == [NO_EXAMPLE]:
        return []
    failing = [n for n, one in zip(examples, loop.current.scores, strict=True) if one < 1]
    if not failing:
        return []
    of = f"{len(failing)} of {len(examples)} validation examples"
    return [f"Still below 1 with the installed texts: {of} ({named(failing)})."]


def copied(rows: Collection[int]) -> list[str]:
    """A note on the training examples, by number, that the installed texts quote."""
    if not rows:
        return []
    return [f"The installed texts quote training examples: {named(rows)}."]


def hopeless(loop: SearchState, why: str) -> str:
    """A note on what could not be used, so that there was no going on."""
    if why == NO_FEEDBACK:
        return f"{loop.unread} minibatches gave nothing to learn from: {loop.problem}"
    return f"{loop.unwritten} steps in a row brought no text that can be used: {loop.problem}"


NOTHING_TO_LEARN = (
    "Nothing was wrong on those of the last training examples that could be scored, so there was "
    "nothing to learn from. Add training examples like those that still fail (add_examples): more "
    "calls on the same ones would not help."
)


def no_headroom(loop: SearchState) -> str:
    """Why a run ended early."""
    return (
        f"{loop.tried} different rewrites were measured and none scored higher anywhere: more are "
        "not worth their calls. See what fails (evaluate): can the loss be met at all, do "
        "the examples show what is wanted, is the backward model able? patience=... goes on."
    )


def next_step(loop: SearchState, usage: Usage, first: CostEstimate) -> str:
    """What one more step would cost, in a sentence: as much as those before, or as `first`."""
    if not loop.steps:
        return (
            f"No step was finished: scoring the start and one step take about {first.calls} calls."
        )
    spent = figures(usage)
    mean = {k: (v - loop.start.get(k, 0)) / loop.steps for k, v in spent.items()}
    words = [f"{mean['calls']:.0f} calls", f"{mean['tokens']:.0f} tokens"]
    words += [f"{mean['cost']:.2g} dollars"] if mean["cost"] else []
    return f"The next step would cost about {', '.join(words)}, as much as those so far."


def figures(usage: Usage) -> dict[str, float]:
    """Calls, tokens and cost over all purposes."""
    every = list(usage.values())
    return {
        "calls": sum(u.get("calls", 0) for u in every),
        "tokens": sum(u.get("prompt_tokens", 0) + u.get("completion_tokens", 0) for u in every),
        "cost": sum(u.get("cost", 0.0) for u in every),
    }


def _next(session: str, tested: bool) -> str:
    held_out = (
        f"evaluate(session_id='{session}', split='test') shows what is left of the gain on "
        "examples nobody has seen; "
    )
    return (
        (held_out if tested else "")
        + f"inspect(session_id='{session}', what='report') has the whole story. Call optimize "
        "again (another seed, more steps) to go on."
    )
