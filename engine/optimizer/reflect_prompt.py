"""What the critic sees in one request: the text, examples with outputs and scores, and attempts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...schemas.completions import Message
from ...schemas.distance import diff
from ...schemas.errors import Conflict, TextGradError
from ...schemas.graph import (
    NO_EXAMPLE,
    Fate,
    Gradient,
    Proposal,
    Variable,
    number,
)
from ..constraints import constraints
from ..evaluation.statistics import figures
from ..program import beside, quoting
from ..program.forward import load
from ..program.lineups import lineups
from ..program.operations import find, loss_kind
from ..prompts import sentence, text
from ..prompts.fence import Fence
from ..prompts.length import CHARS_PER_TOKEN, shorten
from ..runs.context import RunContext
from . import weakest
from .edits import MOST
from .proposer import (
    HISTORY,
    RULES,
    TEXT,
    around,
    fate_of,
    others,
    score_of,
    surroundings,
)
from .seen import Seen, seen_in

ATTEMPTS = 2 * HISTORY
"""So many different texts that were tried before are shown, if there is room."""
LONG = 4000
"""Characters of a text from which on it is edited, not written anew."""
HYPOTHESIS = sentence("reasons", "hypothesis").partition("{")[0]
"""What stands before the hypothesis of a proposal, at the end of its reason."""
QUOTING = sentence("reasons", "quoting").partition("{")[0]
"""What stands before it where a text quotes training examples: no fault, so no critic is told."""
SAID = 3
"""Of so many examples it is told what was said of an attempt's outputs, those it did worst on."""
MEASURED = frozenset({Fate.MINIBATCH, Fate.NOISE, Fate.TIE, Fate.BEATEN, Fate.ACCEPTED})


@dataclass(frozen=True)
class Reflection:
    """A request for several new texts; `material` is what it shows that others have written. With
    `edits`, the reply is to hold edits of the text and not whole texts."""

    fence: Fence
    messages: tuple[Message, ...]
    material: tuple[str, ...]
    edits: bool


@dataclass(frozen=True)
class Tried:
    """An earlier proposal as the request shows it: its result with its text or difference, and what
    was said of its outputs, by example."""

    body: str
    said: dict[str, str]


async def reflection(work: RunContext, parameter: Variable, seen: Seen, count: int) -> Reflection:
    """The request for `count` new texts for a parameter, whose `value` is the text that was seen.

    Nothing in it is of examples that measure.
    """
    budget = work.settings.prompt_budget * CHARS_PER_TOKEN
    value = parameter.value or ""
    pieces = {n: seen.pieces(parameter, n) for n in seen.scores}
    room = budget // 2 // max(1, sum(map(len, pieces.values())))
    shown = {p: [(k, n, shorten(t, max(room, 200))) for k, n, t in of] for p, of in pieces.items()}
    past = await work.store.history.proposals(work.session.pk, parameter.id, limit=4 * ATTEMPTS)
    tried, more = await _tried(work, parameter, seen.losses, past, budget // 4)
    material = [t for of in shown.values() for _, _, t in of]
    material += [t for row in seen.others for _, _, t in row]
    material += [s for t in tried for s in t.said.values()]
    beside_it = around(seen.evaluation.program, parameter, budget // 4)
    material += [t for _, _, of in beside_it for _, t in of]
    fence = Fence([value, *material, *(t.body for t in tried)])
    same = [p for p in past if p.text.strip() == value.strip()]
    parts = [TEXT, fence.wrap("text", value, role=parameter.role, **score_of(same))]
    parts += _used(work, seen, parameter)
    words = constraints.parse(parameter.constraints).words
    if words:
        parts.append(f"{RULES}\n" + "\n".join(f"- {w}" for w in words))
    parts += surroundings(fence, beside_it)
    parts += [*_examples(fence, seen, shown), *_others(fence, seen)]
    parts += _attempts(fence, tried, same, more=more)
    edits = len(value) > LONG
    images = [t for n in seen.scores for t in seen.pictures(n)]
    parts += [text("gradient_pictures")] if images else []
    itself = beside.is_used_as_it_stands(seen.evaluation.program, parameter)
    parts += await _asked(work, parameter, count, edits=edits, itself=itself)
    user = Message(role="user", content="\n\n".join(parts), images=tuple(dict.fromkeys(images)))
    system = Message(role="system", content=text("reflect"))
    kept = (parameter.role, *parameter.constraints, *material)
    return Reflection(fence, (system, user), kept, edits)


def key(name: str, n: int) -> str:
    """The key of a reply's `n`th hypothesis, text or edits. The first has no number: so a critic
    that writes one text writes it as for any rewrite."""
    return name if n == 1 else f"{name}_{n}"


async def _asked(
    work: RunContext, parameter: Variable, count: int, *, edits: bool, itself: bool
) -> list[str]:
    many = text("reflect_one") if count == 1 else text("reflect_many", count=str(count))
    parts = [text("reflect_ask_itself" if itself else "reflect_ask", count=many)]
    parts += quoting.in_rewrite(parameter, measured=await quoting.held_out(work))
    if edits:
        parts.append(text("reflect_edits", most=str(MOST)))
    name, form = ("edits", "edits_form") if edits else ("value", "text_form")
    keys = [
        sentence(
            "labels",
            "proposal_form",
            hypothesis=key("hypothesis", n),
            key=key(name, n),
            form=sentence("labels", form),
        )
        for n in range(1, count + 1)
    ]
    asked = sentence("labels", "reflect_form", proposals=", ".join(keys))
    return [*parts, text("reply", form=asked)]


def _used(work: RunContext, seen: Seen, parameter: Variable) -> list[str]:
    """How the text is used, and how what comes out is judged."""
    program = seen.evaluation.program
    lines = []
    for operation in program.operations.values():
        if parameter.id in operation.sources and not operation.is_loss:
            names = [f"{{{n}}}" for n, v in operation.inputs.items() if v == parameter.id]
            names += [sentence("labels", "system")] if operation.system == parameter.id else []
            step = find(operation.kind).use(operation)
            used = sentence("labels", "used_as", names=" and ".join(names), step=step)
            lines.append(used)
    losses = [(o, loss_kind(o.kind)) for o in program.operations.values() if o.is_loss]
    rules = [kind.rule(work, o) for o, kind in losses if not kind.of_losses]
    lines += [sentence("labels", "judged_by", rule=rule) for rule in rules]
    if len(names := lineups(program)) > 1:
        lines.append(sentence("labels", "several_models", names=", ".join(names)))
    return ["\n".join(dict.fromkeys(lines))] if lines else []


def _examples(
    fence: Fence, seen: Seen, shown: Mapping[int, Sequence[tuple[str, str, str]]]
) -> list[str]:
    """The examples, those that fail first, with how many there are of each."""
    failed = sorted((n for n, s in seen.scores.items() if s < 1), key=lambda n: seen.scores[n])
    solved = [n for n in seen.scores if n not in failed]
    parts = []
    for title, examples in (("not_solved", failed), ("solved", solved)):
        if not examples:
            continue
        if NO_EXAMPLE not in examples:
            of = str(len(seen.scores))
            parts.append(sentence("labels", title, count=str(len(examples)), all=of))
        if examples is failed and any(1 in seen.elsewhere.get(n, []) for n in failed):
            parts.append(sentence("labels", "perhaps_chance"))
        for example in examples:
            parts.append(_heading(seen, example, failed=example in failed))
            parts += [fence.wrap(k, t, name=n) for k, n, t in shown[example] if t or k == "output"]
    return parts


def _heading(seen: Seen, example: int, *, failed: bool) -> str:
    """What stands above an example: its score; of one that failed also how other texts did."""
    [score] = figures(seen.scores[example])
    if example == NO_EXAMPLE:
        return sentence("labels", "score", score=score)
    name, tried = f"e{example}", seen.elsewhere.get(example, [])
    if not failed or not tried:
        return sentence("labels", "score_of", example=name, score=score)
    counts = {"tried": str(len(tried)), "solved": str(sum(one >= 1 for one in tried))}
    return sentence("labels", "score_beside", example=name, score=score, **counts)


def _others(fence: Fence, seen: Seen) -> list[str]:
    """Examples that were not run, with what is right."""
    if not seen.others:
        return []
    rows = ["\n".join(fence.wrap(k, t, name=n) for k, n, t in row) for row in seen.others]
    return [text("reflect_not_run", count=str(len(rows))), *rows]


def _attempts(
    fence: Fence, tried: Sequence[Tried], same: Sequence[Proposal], *, more: bool
) -> list[str]:
    """What was tried, whether there is more of it, and how often the text came back as it was."""
    parts = [text("reflect_tried")] if tried else []
    if more:
        parts.append(sentence("labels", "tried_more"))
    for one in tried:
        parts.append(fence.wrap("tried", one.body))
        parts += [fence.wrap("said", t, on=example) for example, t in one.said.items()]
    again = sum(p.fate is Fate.UNCHANGED for p in same)
    return [*parts, text("update_again", times=str(again))] if again else parts


async def _tried(
    work: RunContext,
    parameter: Variable,
    losses: Sequence[str],
    past: Sequence[Proposal],
    budget: int,
) -> tuple[list[Tried], bool]:
    """Attempts, oldest first, as many as there is room for: the best, the newest, then others by
    their scores; and whether any are left out."""
    batches = {g.id: g for g in await _spent_gradients(work, parameter)}
    every, used = others(past, parameter.value or "", len(past)), 0
    found: dict[int, Tried] = {}
    for index in first_to_show(every)[:ATTEMPTS]:
        spent = [batches[g] for g in every[index].gradients if g in batches]
        said = await _said(work, parameter, losses, every[index], spent[-1:], budget)
        one = _shown(parameter.value or "", every[index], said, budget)
        used += len(one.body) + sum(map(len, said.values()))
        if found and used > budget:
            break
        found[index] = one
    return [found[index] for index in sorted(found, reverse=True)], len(found) < len(every)


def first_to_show(every: Sequence[Proposal]) -> list[int]:
    """The places of attempts (newest first) in the order in which they are given room."""
    by_score = sorted(range(len(every)), key=lambda i: -(every[i].score or 0.0))
    return list(dict.fromkeys([*by_score[:1], *range(min(SAID, len(every))), *by_score]))


def _shown(value: str, proposal: Proposal, said: dict[str, str], budget: int) -> Tried:
    """An attempt with its text, or with how it differs from `value` where that is shorter."""
    difference = diff(value, proposal.text, "present", "tried")
    shorter = 3 * len(difference) < 2 * len(proposal.text)
    title = sentence("labels", "difference" if shorter else "whole_text")
    result = sentence("labels", "result", result=_result(proposal))
    body = shorten(difference if shorter else proposal.text, budget)
    return Tried("\n".join([result, *_hypothesis(proposal), title, body]), said)


def _result(proposal: Proposal) -> str:
    if proposal.score is not None or proposal.fate is Fate.COPIED:
        return fate_of(proposal)
    why = proposal.reason.partition(HYPOTHESIS)[0].partition(QUOTING)[0]
    return shorten(f"{proposal.verdict}: {why}", 400)


def _hypothesis(proposal: Proposal) -> list[str]:
    said = proposal.reason.partition(HYPOTHESIS)[2].removesuffix(")")
    return [sentence("labels", "hypothesis", hypothesis=shorten(said, 400))] if said else []


async def _spent_gradients(work: RunContext, parameter: Variable) -> list[Gradient]:
    spent = await work.store.history.gradients(
        work.session.pk, [parameter.id], unspent=False, limit=4 * ATTEMPTS
    )
    return list(spent)


async def _said(
    work: RunContext,
    parameter: Variable,
    losses: Sequence[str],
    proposal: Proposal,
    spent: Sequence[Gradient],
    budget: int,
) -> dict[str, str]:
    """What was said of an attempt on training examples it did not solve, where it is on record."""
    if proposal.fate not in MEASURED or not spent:
        return {}
    rows = await work.store.examples.get(
        work.session.pk, [number(e, "e") or NO_EXAMPLE for g in spent for e in g.batch]
    )
    train = [number(e.id, "e") or NO_EXAMPLE for e in rows.values() if e.split == "train"]
    scored: list[tuple[float, str, str]] = []
    for example in train or ([NO_EXAMPLE] if not rows else []):
        if seen := await _recalled(work, losses, {parameter.id: proposal.text}, example):
            name = f"e{example}" if example != NO_EXAMPLE else sentence("labels", "output")
            outputs = [t for kind, _, t in seen.pieces(parameter, example) if kind == "output"]
            scored.append((seen.scores[example], name, "\n".join([*outputs, seen.said(example)])))
    worst = sorted(one for one in scored if one[0] < 1)[:SAID]
    room = max(400, budget // (2 * SAID * HISTORY)) * SAID // max(1, len(worst))
    return {
        sentence("labels", "said_on", name=name, score=figures(s)[0]): shorten(said, room)
        for s, name, said in worst
        if said
    }


async def _recalled(
    work: RunContext, losses: Sequence[str], texts: Mapping[str, str], example: int
) -> Seen | None:
    """What a text did on an example, as far as it is on record: nothing is asked for it."""
    shut = dataclasses.replace(work, fatal=Conflict("Not on record.", "Nothing is asked here."))
    evaluation = await load(shut, losses, [example], overrides=texts)
    try:
        evaluation = await weakest.computed(shut, evaluation, losses, [example])
    except TextGradError:
        return None
    return seen_in(evaluation, losses, [example]) if example not in evaluation.left_out else None
