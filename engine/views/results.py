"""How results show values: long ones are cut, with their full length and where to read them.

Nobody asked for everything at once: a result stays near two thousand tokens, whatever a session
holds, by sharing out the room among what is listed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.graph import NO_EXAMPLE, Fate, Gradient, Proposal, Session, number
from ...schemas.report import OWN_LOSS
from ...schemas.results import (
    Failure,
    ForwardResult,
    Shown,
    ShownGradient,
    ShownProposal,
    ShownVerdict,
    StepResult,
)
from ..evaluation.scoring import Scored
from ..evaluation.statistics import figures
from ..evaluators.command import listed
from ..metrics import OUTPUTS
from ..program.forward import Evaluation, example_of
from ..program.lineups import lineups
from ..program.operations import find
from ..runs.context import RunContext
from ..store import StepRecord
from . import hints
from .after_step import telling_again

BEGINNING = 120
"""Characters of a text that the reader has just written."""
GLIMPSE = 60
"""The same in a list, where it is enough to tell one from another."""
VALUE = 400
FEEDBACK = 600
PROPOSAL = 800
REASON = 240
VALUES = 8
FAILURES = 5
FAILURE = 250
FIELDS = 12
LISTED = 10
"""Proposals in one result, entries in one page of a list."""
GRADIENTS = 16
LIST_CHARS = 4000

FRESH = "Nothing was stale: every value is up to date."


def cut(text: str, most: int) -> tuple[str, int | None]:
    """`text`, cut to `most` characters, and its full length if it was cut."""
    return (text, None) if len(text) <= most else (text[: most - 1] + "…", len(text))


def share(count: int, least: int, most: int, room: int = LIST_CHARS) -> int:
    """How many characters each of `count` texts may have, so that a list stays readable."""
    return min(most, max(least, room // max(count, 1)))


def mean_score(
    evaluation: Evaluation, losses: Sequence[str], examples: Sequence[int]
) -> float | None:
    """The mean of the scores there are, or None."""
    scores = [
        value.score
        for loss in losses
        for example in examples
        if evaluation.has(loss, example)
        and (value := evaluation.value(loss, example)).score is not None
    ]
    return round(sum(s for s in scores if s is not None) / len(scores), 4) if scores else None


def forward_result(
    work: RunContext,
    evaluation: Evaluation,
    shown: Sequence[str],
    examples: Sequence[int],
) -> ForwardResult:
    """What was computed: the values of `shown`, the first few in words."""
    variables = evaluation.program.variables
    nodes = [
        (v, n)
        for v in shown
        for n in (examples if variables[v].per_example else [NO_EXAMPLE])
        if evaluation.has(v, n)
    ]
    values = [_shown(work, evaluation, *node) for node in nodes[:VALUES]]
    made = work.args.get("made", {})
    losses = [v for v in shown if _is_loss(evaluation, v)]
    notes = list(work.args.get("notes", []))
    if len(nodes) > VALUES:
        notes.append(
            f"{VALUES} of {len(nodes)} values are shown; read others with "
            f"inspect(session_id='{work.session.id}', what='variable', id='vN')."
        )
    return ForwardResult(
        recomputed=[] if made else list(shown),
        examples=[f"e{n}" for n in examples if n != NO_EXAMPLE],
        values=values,
        mean_score=mean_score(evaluation, losses, examples),
        notes=notes,
        next=_after_forward(work, evaluation, losses, shown),
        **made,
    )


def _is_loss(evaluation: Evaluation, variable: str) -> bool:
    operation = evaluation.program.operation_of(variable)
    return operation is not None and operation.is_loss


def is_known(work: RunContext, name: str) -> bool:
    """Whether whoever reads the results wrote the texts of this role or model, a moment ago."""
    return work.ledger.named(name).name == "assistant"


def _shown(work: RunContext, evaluation: Evaluation, variable: str, example: int) -> Shown:
    where = example_of(evaluation.program.variables[variable], example)
    value = evaluation.value(variable, example)
    operation = evaluation.program.operation_of(variable)
    asks: str | None = find(operation.kind).asks if operation is not None else None
    if operation is not None and asks == "forward":
        asks = operation.model_in(evaluation.lineup)
    known = asks == "caller" or (asks is not None and is_known(work, asks))
    text, chars = cut(value.text, GLIMPSE if known else VALUE)
    return Shown(
        variable=variable,
        example=f"e{where}" if where != NO_EXAMPLE else None,
        text=text,
        chars=chars,
        score=value.score,
    )


def _after_forward(
    work: RunContext, evaluation: Evaluation, losses: Sequence[str], shown: Sequence[str]
) -> str:
    session = work.session.id
    if losses and not any(evaluation.program.variables[loss].per_example for loss in losses):
        return _after_loss(evaluation, losses, session)
    if losses:
        return (
            f"With validation examples, evaluate(session_id='{session}') says where it stands and "
            f"what a step costs. Then backward(session_id='{session}', losses={_few(losses)}) and "
            f"step, or optimize(session_id='{session}') for the whole loop."
        )
    if not shown:
        return FRESH
    evaluators = listed(work.settings.evaluators)
    kinds = ["judge", "metric", "feedback", *(["evaluator"] if evaluators else [])]
    return (
        f"Use {shown[-1]} in another forward, or judge it: compute_loss(session_id='{session}', "
        f"kind={'|'.join(map(repr, kinds))}, "
        f"inputs={{'output': '{shown[-1]}'}}, ...); "
        "a metric that compares also takes "
        "'answer', the reference." + (f" Evaluators: {evaluators}." if evaluators else "")
    )


def _after_loss(evaluation: Evaluation, losses: Sequence[str], session: str) -> str:
    """What to do about losses that depend on no example."""
    mean = mean_score(evaluation, losses, [NO_EXAMPLE])
    if mean == 1:
        return hints.saturated(session, "")
    first = f"Call backward(session_id='{session}', losses={_few(losses)}), then "
    gated = "step(accept='if_better'); or optimize for several rounds of both."
    return (
        first
        + (gated if mean is not None else "step.")
        + _tell_again(evaluation, losses[0], session)
    )


def _tell_again(evaluation: Evaluation, loss: str, session: str) -> str:
    """How a measurement of the next text is told in one call."""
    telling = telling_again(evaluation.program.operation_of(loss), session)
    return (
        " The gate asks for what a new text measures; what you measure at another time is told by "
        f"{telling}."
        if telling
        else ""
    )


def _few(ids: Sequence[str]) -> str:
    """A list of ids, or its form where it is long: a shorter one would mean something else."""
    return str(list(ids)) if len(ids) <= VALUES else "[...all that you mean]"


def gradients(
    found: Sequence[Gradient], *, known: bool = False
) -> tuple[list[ShownGradient], list[str]]:
    """Feedback on parameters, cut when long, and a note if some is left out. Of feedback that is
    `known` the beginning does."""
    most = BEGINNING if known else share(min(len(found), GRADIENTS), 120, FEEDBACK)
    shown = []
    for one in found[:GRADIENTS]:
        text, chars = cut(one.text, most)
        ids = one.examples[:VALUES]
        shown.append(
            ShownGradient(id=one.id, variable=one.variable, examples=ids, text=text, chars=chars)
        )
    notes = _left_out(found, GRADIENTS, "gradients")
    if any(len(one.examples) > VALUES for one in found[:GRADIENTS]):
        notes.append(f"{VALUES} examples of each are named at most; inspect(id='g1') names all.")
    return shown, notes


_VERDICTS: dict[Fate, ShownVerdict] = {
    Fate.TIE: "tie",
    Fate.BEATEN: "not taken",
    Fate.NOT_COMPARED: "proposed",
}


def verdict_of(one: Proposal) -> ShownVerdict:
    """What became of a proposal, in a word: refused is what was no better."""
    if one.verdict == "accepted":
        return "accepted"
    if one.fate is Fate.MINIBATCH and one.reason.startswith("a tie"):  # it was not compared
        return "tie"
    return _VERDICTS.get(one.fate, "refused")


def proposals(
    found: Sequence[Proposal], most: int = PROPOSAL, among: Sequence[Proposal] = ()
) -> tuple[list[ShownProposal], list[str]]:
    """Proposed texts, cut to `most` characters at most, and their verdicts, and a note if some
    that were refused are left out. Candidates are counted `among` all of their steps."""
    chosen = found
    if len(found) > LISTED:
        chosen = sorted(found, key=lambda p: p.verdict != "accepted")[:LISTED]
    most, of = share(len(chosen), 120, most), candidates_of(among or found)
    shown = []
    for one in chosen:
        text, chars = cut(one.text, most)
        fields = one.model_dump(include=set(ShownProposal.model_fields) - {"text", "chars"})
        if not one.examples or one.split == OWN_LOSS:  # it was not compared, or on none
            fields["examples"] = None
        fields |= {"reason": cut(one.reason, REASON)[0], "verdict": verdict_of(one)}
        fields |= {"candidate": of[one.id]} if one.id in of else {}
        shown.append(ShownProposal(text=text, chars=chars, **fields))
    return shown, _left_out(found, LISTED, "steps")


def candidates_of(found: Sequence[Proposal]) -> dict[str, int]:
    """Which texts were proposed together, where a candidate is more than one text: the number of
    the candidate by proposal, within its step. They share their fate, and every score."""
    numbers: dict[str, int] = {}
    step, n, had = "", 0, set[str]()
    fate: tuple[object, ...] = ()
    for one in sorted(found, key=lambda p: number(p.id, "p") or 0):
        same = (one.reason, one.score, one.fate)
        if one.step != step:
            n = 0
        if one.step != step or one.variable in had or same != fate:
            n, had = n + 1, set()
        step, fate = one.step, same
        had.add(one.variable)
        numbers[one.id] = n
    several = len({one.variable for one in found}) > 1
    return numbers if several else {}


def _left_out(found: Sequence[object], most: int, what: str) -> list[str]:
    if len(found) <= most:
        return []
    return [f"{most} of {len(found)} are shown; inspect(session_id, what='{what}') has the rest."]


def step_result(
    session: Session, step: StepRecord, notes: list[str], following: str, *, known: bool = False
) -> StepResult:
    """What a step proposed and what became of it; `following` is what comes after an accepted one.
    Of texts that are `known` the beginning does."""
    shown, more = proposals(step.proposals, BEGINNING if known else PROPOSAL)
    higher = refused_higher(step.proposals, step.after if step.accepted else step.before)
    return StepResult(
        step=step.id,
        accepted=step.accepted,
        variables=step.changed,
        proposals=shown,
        score_before=step.before,
        score_after=step.after,
        gate=step.gate or None,
        refused_higher=higher.id if higher else None,
        notes=[*notes, *more],
        next=following if step.accepted else _not_installed(session, step, higher),
    )


def _not_installed(session: Session, step: StepRecord, higher: Proposal | None) -> str:
    """What to do after a step that changed nothing."""
    proposed = [p for p in step.proposals if p.fate is Fate.NOT_COMPARED]
    if proposed:
        one = proposed[0]
        whole = f"inspect(session_id='{session.id}', id='{one.id}')"
        install = f"revert(session_id='{session.id}', variable='{one.variable}', "
        return (
            f"Nothing was installed, as asked. {whole} shows a proposal whole; {install}"
            f"version='{one.id}') installs it."
        )
    higher_one = installing(session, higher, step.proposals)
    return (
        f"Nothing was installed: {step.gate}. {higher_one}Run backward again (on other examples if "
        "you like), then step; the failed proposals are remembered."
    )


def refused_higher(found: Sequence[Proposal], present: float | None) -> Proposal | None:
    """The refused proposal with the highest score, if that is above that of the present texts."""
    if present is None:
        return None
    refused = [p for p in found if p.verdict == "refused"]
    higher = [p for p in refused if p.score is not None and p.score > present]
    return max(higher, key=lambda p: p.score or 0.0, default=None)


def installing(session: Session, higher: Proposal | None, found: Sequence[Proposal]) -> str:
    """How a candidate that was refused, though it scored higher, is installed all the same, with
    all of its texts, which are among those `found`."""
    if higher is None:
        return ""
    of = candidates_of([p for p in found if p.step == higher.step])
    texts = [p for p in found if p.id in of and of[p.id] == of[higher.id]] or [higher]
    calls = " and ".join(
        f"revert(session_id='{session.id}', variable='{p.variable}', version='{p.id}')"
        for p in texts
    )
    ids = ", ".join(p.id for p in texts)
    what = f"{ids} scored" if len(texts) == 1 else f"{ids} scored together"
    how = "installs it" if len(texts) == 1 else "install them"
    return (
        f"{what} {figures(higher.score or 0.0)[0]}, which is higher: {calls} {how} all the same. "
    )


def failure(scored: Scored, loss: str, example: int, score: float) -> Failure:
    """One bad example: its fields, what the program made of it, and the feedback."""
    evaluation = scored.evaluation
    row = evaluation.examples.get(example)
    given = list(row.fields.items() if row else [])[:FIELDS]
    fields = {k: cut(v, share(len(given), 40, 200, 500))[0] for k, v in given}
    judged = _judged(evaluation, loss)
    output = evaluation.value(judged, example).text if evaluation.has(judged, example) else ""
    feedback = (
        scored.unusable[example].message
        if example in scored.unusable
        else evaluation.value(loss, example).text
    )
    return Failure(
        example=f"e{example}" if example != NO_EXAMPLE else "",
        score=round(score, 4),
        fields=fields,
        model=lineups(evaluation.program)[evaluation.lineup] or None,
        output=cut(output, FAILURE)[0],
        feedback=cut(feedback, FAILURE)[0],
    )


def _judged(evaluation: Evaluation, loss: str) -> str:
    """The variable that a loss is about: its input of that name, else the last that was made, else
    the text itself."""
    operation = evaluation.program.operation_of(loss)
    inputs = dict(operation.inputs) if operation else {}
    variables = evaluation.program.variables
    made = [v for v in inputs.values() if not variables[v].is_leaf]
    texts = [v for v in inputs.values() if variables[v].requires_grad]
    named = [inputs[name] for name in OUTPUTS if name in inputs]
    return [loss, *texts[:1], *sorted(made, key=lambda v: number(v, "v") or 0), *named[:1]][-1]
