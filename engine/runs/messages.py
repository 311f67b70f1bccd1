"""What the caller of a run is told while it is not done: what is pending, how far it is, why it
failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ...schemas.completions import CompletionRequest, Pending, Purpose
from ...schemas.errors import Conflict, Outdated, TextGradError
from ...schemas.graph import Run
from ...schemas.results import Result

PENDING_CHARS = 24_000
RUN_IT = (
    "where a function or a measurement is described, run it on the text that is shown: a file "
    "still has the installed one"
)
Kinds = Mapping[str, type[Result]]
"""The kind of each tool's results."""


def result_of(kinds: Kinds, run: Run) -> Result:
    """What a run that has ended gave. Raises Conflict where it was cancelled, or is damaged."""
    if run.status == "cancelled":
        raise cancelled(run)
    if run.status == "failed" and not run.result:
        return _failed(kinds, run, run.error, "")
    try:
        return kinds.get(run.tool, Result).model_validate(run.result)
    except ValidationError:
        raise Conflict(
            f"The result of run {run.id} ({run.tool}) is damaged in the database.",
            "What it did is in the session: inspect(session_id) shows it. The same call made again "
            "asks nothing twice.",
        ) from None


def cancelled(run: Run) -> Conflict:
    """That a run was cancelled."""
    return Conflict(
        f"Run {run.id} ({run.tool}) was cancelled.",
        "Make the same call again; what was answered is kept.",
    )


def pending(kinds: Kinds, run: Run, calls: Sequence[tuple[int, CompletionRequest]]) -> Result:
    """The prompts nobody has answered, as many as a reader can take at once."""
    shown: list[Pending] = []
    used = 0
    for n, request in calls:
        used += len(request.prompt) + len(request.system or "")
        if shown and used > PENDING_CHARS:
            break
        purpose = f"{request.purpose.value}: {request.about}"
        shown.append(
            Pending(id=f"c{n}", purpose=purpose, system=request.system, prompt=request.prompt)
        )
    return _result(
        kinds,
        run,
        status="needs_completions",
        pending=shown,
        pending_total=len(calls),
        next=_how_to_answer(run.session_id, shown, len(calls)),
    )


def running(kinds: Kinds, run: Run, counted: tuple[int, int] | None = None) -> Result:
    """The result for a caller whose run goes on; `counted` are the calls answered and asked, where
    that is known."""
    so_far = f" {counted[0]} of {counted[1]} calls answered so far." if counted else ""
    return _result(
        kinds,
        run,
        status="running",
        answered=counted[0] if counted else None,
        next=f"The work goes on in the background.{so_far} Call "
        f"resume(session_id='{run.session_id}') to wait for it, or with cancel=true to stop it.",
    )


def failed(kinds: Kinds, run: Run, error: TextGradError) -> Result:
    """Why a run failed, and what to do about it."""
    if isinstance(error, Outdated):
        return _result(kinds, run, status="failed", error=error.message, next=error.next)
    return _failed(kinds, run, error.message, error.next)


def _failed(kinds: Kinds, run: Run, error: str, what_to_do: str) -> Result:
    then = (
        f"{what_to_do or 'Mend the cause.'} Everything answered so far is kept: "
        f"resume(session_id='{run.session_id}') goes on."
    )
    return _result(kinds, run, status="failed", error=error, next=then)


def _result(kinds: Kinds, run: Run, **facts: Any) -> Result:
    """A result of the run's own kind, with the ids that its call made and what it noticed."""
    kind = kinds.get(run.tool, Result)
    try:
        given = {"notes": run.args.get("notes", []), **run.args.get("made", {})}
        return kind(session_id=run.session_id, run=run.id, **facts, **given)
    except (ValidationError, TypeError):  # damaged arguments, which are told as the error
        return kind(session_id=run.session_id, run=run.id, **facts)


def _how_to_answer(session_id: str, shown: Sequence[Pending], total: int) -> str:
    if not shown:
        return f"Call resume(session_id='{session_id}') to go on."
    rest = total - len(shown)
    more = f" {rest} more follow once these are answered." if rest else ""
    outside = any(one.purpose.startswith(Purpose.EXTERNAL) for one in shown)
    run_it = f" ({RUN_IT})" if outside else ""
    return (
        f"Answer each pending prompt on its own, as the model it is addressed to would{run_it}, "
        f"and call resume(session_id='{session_id}', completions={{'{shown[0].id}': '...'}}, "
        f"brief=true).{more}"
    )
