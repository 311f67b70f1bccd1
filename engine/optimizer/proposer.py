"""Step: better versions of the parameters from their gradients (TGD, arXiv 2406.07496, 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...schemas.completions import Completion, CompletionRequest, Message, Purpose
from ...schemas.errors import ReplyError, TooLong
from ...schemas.graph import Fate, Gradient, Proposal, Variable
from ..constraints import checks as constrained
from ..constraints import constraints
from ..constraints import judge as judged
from ..evaluation.statistics import figures
from ..program import beside, quoting
from ..prompts import sentence, text
from ..prompts.fence import Fence
from ..prompts.length import CHARS_PER_TOKEN, shorten
from ..replies.reply import Malformed, object_schema, parse_object
from ..runs.context import RunContext
from ..runs.schedule import gather
from ..store import Program
from ..workers.pool import Job
from . import leaks
from .candidate import UNCHANGED, Candidate, Check, Problem, Reason, Unfit, problems

INSTRUCTIONS = (
    *("update", "update_ask", "update_again", "examples"),
    *("reflect", "reflect_ask", "reflect_one", "reflect_many", "reflect_edits", "reflect_tried"),
    *("reflect_not_run", "update_ask_itself", "reflect_ask_itself"),
)
HISTORY = 6
"""So many different texts that were tried before are shown with feedback."""
VALUE_REPLY = object_schema({"value": {"type": "string"}})
TEXT = sentence("labels", "text")
RULES = sentence("labels", "rules")
FEEDBACK = sentence("labels", "feedback")
LEAK_SMALL = 20_000
"""Characters that are gone through for a leak at once: a few milliseconds."""
FORM = sentence("labels", "whole")


async def propose(
    work: RunContext,
    parameters: Sequence[Variable],
    gradients: dict[str, list[Gradient]],
    *,
    count: int,
    check: Check,
    memory: int = 0,
) -> list[Candidate]:
    """`count` candidates, each with a text for every parameter, all asked for at once.

    The last `memory` gradients that earlier steps used are shown beside the new ones.
    A text that breaks a constraint, or that a check objects to, is sent back once; then its
    candidate is refused. One that is the old text again is refused at once: asked to change it, a
    model hardly ever does (docs/results.md).
    """
    work.phase = "proposing"
    asked = {p.id: await _update_prompt(work, p, gradients[p.id], memory) for p in parameters}
    candidates = [Candidate() for _ in range(count)]
    work.proposed.clear()  # of earlier steps: their numbers mean nothing now

    await gather(
        [
            _propose_one(work, p, asked[p.id], sample, candidate, check)
            for sample, candidate in enumerate(candidates)
            for p in parameters
        ]
    )
    return candidates


def _apart(sample: int) -> str:
    """What tells whoever answers that the same prompt stands there more than once."""
    return sentence("labels", "again", n=str(sample + 1)) if sample else ""


async def _propose_one(
    work: RunContext,
    parameter: Variable,
    asked: Asked,
    sample: int,
    candidate: Candidate,
    check: Check,
) -> None:
    request = CompletionRequest(
        purpose=Purpose.UPDATE,
        messages=asked.messages,
        reply=VALUE_REPLY,
        sample=sample,
        about=f"a new text for {parameter.label}" + _apart(sample),
    )
    old = parameter.value or ""

    def read(completion: Completion) -> str:
        value = parse_object(completion.text, VALUE_REPLY, old)["value"]
        new = asked.fence.unwrap(str(value))
        new = ended_like(old, new)
        if not new.strip():
            raise Malformed(sentence("problems", "no_value"))
        return new

    async def look(new: str) -> None:
        wrong = [
            *await broken(work, parameter, old, new),
            *await check(parameter, new),
            *await leaked(work, parameter, asked.material, new),
        ]
        if wrong:
            raise Unfit(wrong)

    try:
        new = await work.ask(request, read, look)
    except TooLong as error:
        candidate.refused = candidate.refused or unchecked(error)
        return
    except ReplyError as error:
        candidate.refused = candidate.refused or unusable(error)
        return
    candidate.texts[parameter.id] = new
    work.proposed.setdefault((parameter.id, new), f"candidate {sample + 1}")
    if new.strip() == old.strip():
        candidate.refused = candidate.refused or UNCHANGED
        return
    breach = await breaks(work, parameter, new)
    candidate.refused = candidate.refused or breach


def unchecked(error: TooLong) -> Reason:
    """Why a text is refused that is too long to be checked."""
    return Reason(Fate.UNUSABLE, sentence("reasons", "unchecked", why=error.message))


def unusable(error: ReplyError) -> Reason:
    """Why a candidate is refused whose writer gave no usable text, not even after a repair."""
    cause = error.__cause__
    why = cause.reason if isinstance(cause, Malformed) else error.message
    fate = cause.fate if isinstance(cause, Unfit) else Fate.UNUSABLE
    return Reason(fate, sentence("reasons", "unusable", why=why))


async def breaks(work: RunContext, parameter: Variable, new: str) -> Reason | None:
    """Which constraint in words a new text breaks, as a judge says; None if it keeps to all."""
    rules = constraints.parse(parameter.constraints).free
    try:
        problem = await judged.broken(work, parameter, rules, new)
    except ReplyError as error:
        problem = sentence("reasons", "unsure", why=error.message)
    return Reason(Fate.BROKEN, sentence("reasons", "breaks", problem=problem)) if problem else None


async def breach(work: RunContext, parameter: Variable, new: str) -> Reason | None:
    """Which constraint a new text breaks, by code or as a judge says; None if it keeps to all."""
    try:
        for fate, words in await broken(work, parameter, parameter.value or "", new):
            return Reason(fate, words)
    except TooLong as error:
        return unchecked(error)
    return await breaks(work, parameter, new)


async def broken(work: RunContext, parameter: Variable, old: str, new: str) -> list[Problem]:
    """The constraints checked by code that `new` breaks, as problems; empty if it keeps to all."""
    lines, owner = parameter.constraints, work.session.owner
    broken = await constrained.violations(work.workers, owner, lines, old, new)
    return problems(Fate.BROKEN, broken)


async def leaked(
    work: RunContext, parameter: Variable, material: Sequence[str], new: str
) -> list[Problem]:
    """What `new` has copied from the request that asked for it, as problems. What others have
    written there (`material`) may be copied. Raises TooLong."""
    if constraints.may_quote_request(parameter.constraints):
        return []
    old, sentences = parameter.value or "", [text(name) for name in INSTRUCTIONS]
    args = new, old, list(material), [*headings(), FORM], sentences
    if len(new) + len(old) + sum(map(len, material)) <= LEAK_SMALL:
        return problems(Fate.LEAKED, leaks.leaked(*args))
    job = Job(
        work.session.owner,
        f"Comparing a text of {len(new):,} characters with its request",
        "Shorten the text.",
    )
    return problems(Fate.LEAKED, await work.workers.run(job, leaks.leaked, *args))


def headings() -> tuple[str, ...]:
    """The headings above the parts of a request for a rewrite."""
    names = "read_beside", "beside", "others", "tried", "earlier"
    return TEXT, RULES, *(text(f"update_{name}") for name in names), FEEDBACK


def ended_like(old: str, new: str) -> str:
    """`new` with the line breaks at its end that `old` has: a file keeps its last one."""
    return new.rstrip("\r\n") + old[len(old.rstrip("\r\n")) :]


@dataclass(frozen=True)
class Asked:
    """A request for a rewrite, with the fence around what others wrote in it; `material` is
    that."""

    fence: Fence
    messages: tuple[Message, ...]
    material: tuple[str, ...]


async def _update_prompt(
    work: RunContext, parameter: Variable, gradients: list[Gradient], memory: int
) -> Asked:
    budget = work.settings.prompt_budget * CHARS_PER_TOKEN
    feedback = list(dict.fromkeys(g.text for g in gradients))
    if not all(g.exact for g in gradients):
        feedback = await _reduced(work, parameter, feedback, budget // 2)
    value = parameter.value or ""
    past = await work.store.history.proposals(work.session.pk, parameter.id, limit=4 * HISTORY)
    tried = [(fate_of(p), shorten(p.text, budget // 2 // HISTORY)) for p in others(past, value)]
    earlier = await _remembered(work, parameter, memory, budget // 4)
    program = await beside.behind(work, gradients)
    beside_it = around(program, parameter, budget // 2)
    given = [t for _, _, of in beside_it for _, t in of]
    fence = Fence([value, *feedback, *(t for _, t in [*tried, *earlier]), *given])
    same = [p for p in past if p.text.strip() == value.strip()]
    parts = [TEXT, fence.wrap("text", value, role=parameter.role, **score_of(same))]
    again = sum(p.fate is Fate.UNCHANGED for p in same)
    if again:  # without it the prompt could be an earlier one, and be answered as that was
        parts.append(text("update_again", times=str(again)))
    words = constraints.parse(parameter.constraints).words
    if words:
        parts.append(f"{RULES}\n" + "\n".join(f"- {w}" for w in words))
    parts += surroundings(fence, beside_it)
    if tried:
        parts.append(text("update_tried"))
        parts += [fence.wrap("tried", t, result=fate) for fate, t in reversed(tried)]
    if earlier:
        parts.append(text("update_earlier"))
        parts += [fence.wrap("earlier-feedback", t, result=fate) for fate, t in earlier]
    parts.append(FEEDBACK)
    parts += [fence.wrap("feedback", t) for t in feedback]
    measured = any(g.examples for g in gradients) and await quoting.held_out(work)
    parts += quoting.in_rewrite(parameter, measured=measured)
    itself = beside.is_used_as_it_stands(program, parameter)
    parts.append(text("update_ask_itself" if itself else "update_ask"))
    parts.append(text("reply", form=sentence("labels", "value_form", whole=FORM)))
    user = Message(role="user", content="\n\n".join(parts))
    material = (parameter.role, *parameter.constraints, *feedback, *given)
    return Asked(fence, (Message(role="system", content=text("update")), user), material)


Around = list[tuple[str, str, list[tuple[Variable, str]]]]
"""What stands around a text: headings, each with the tag of what follows, and with variables and
their texts."""


def surroundings(fence: Fence, found: Around) -> list[str]:
    """What stands around a text, as parts of a request."""
    wrapped = [(h, [fence.wrap(tag, t, role=v.role) for v, t in of]) for h, tag, of in found]
    return [part for heading, texts in wrapped for part in (heading, *texts)]


def around(program: Program, parameter: Variable, room: int) -> Around:
    """What stands around a text in its program, in `room` characters. Empty ones are left out."""
    read = beside.read_with(program, parameter)
    judged = [v for v in beside.judged_with(program, parameter) if v not in read]
    found = [
        ("update_read_beside", "context", read),
        ("update_beside", "context", judged),
        ("update_others", "other", beside.improved_with(program, parameter)),
    ]
    each = room // max(1, sum(len(of) for _, _, of in found))
    return [
        (text(name), tag, [(v, shorten(v.value or "", each)) for v in of])
        for name, tag, of in found
        if of
    ]


async def _remembered(
    work: RunContext, parameter: Variable, count: int, budget: int
) -> list[tuple[str, str]]:
    """The last `count` spent gradients with what came of each, in `budget` characters together."""
    if not count:
        return []
    found = await work.store.history.spent_gradients(work.session.pk, parameter.id, count)
    room = budget // max(len(found), 1)
    return [(_taken_up(v), shorten(t, room)) for t, v in found]


def _taken_up(version: int | None) -> str:
    """What came of feedback: the version that took it up, if one did."""
    if version:
        return sentence("labels", "earlier_taken", version=str(version))
    return sentence("labels", "earlier_refused")


def others(past: Sequence[Proposal], value: str, most: int = HISTORY) -> list[Proposal]:
    """The newest different texts among `past` (newest first) that are not `value` itself.

    Of several proposals of one text the one that was scored, or tried first, speaks for it.
    """
    found: dict[str, Proposal] = {}
    for p in past:
        new = p.text.strip()
        if new and new != value.strip() and (new not in found or found[new].score is None):
            found[new] = p
    return list(found.values())[:most]


def score_of(same: Sequence[Proposal]) -> dict[str, str]:
    """The score that the present text had when it was proposed, if it was scored."""
    scored = [p.score for p in same if p.score is not None]
    return {"score": figures(scored[0])[0]} if scored else {}


def fate_of(proposal: Proposal) -> str:
    """What came of a proposal (verdict, scores or reason), in a few words for a model."""
    if proposal.fate is Fate.COPIED:  # older reasons have words of the examples
        return sentence("labels", "tried_copied", verdict=proposal.verdict)
    if proposal.score is None or proposal.parent_score is None:
        return f"{proposal.verdict}: {proposal.reason}"[:120]
    said = "tried_beaten" if proposal.fate is Fate.BEATEN else "tried_noise"
    if proposal.verdict == "accepted" or proposal.score <= proposal.parent_score:
        said = "tried"
    score, before = figures(proposal.score, proposal.parent_score)
    return sentence("labels", said, verdict=proposal.verdict, score=score, before=before)


async def _reduced(
    work: RunContext, parameter: Variable, said: list[str], budget: int
) -> list[str]:
    """The feedback merged, as a tree in a stable order, until it fits into `budget` characters."""
    while sum(map(len, said)) > budget and len(said) > 1:
        groups = _packed(said, budget)
        said = await gather([_merge(work, parameter, group) for group in groups])
    return [shorten(t, budget) for t in said]


def _packed(said: list[str], budget: int) -> list[list[str]]:
    """In order, at least two a group, so that every round makes fewer of them."""
    groups: list[list[str]] = []
    for piece in said:
        last = groups[-1] if groups else []
        if groups and (len(last) < 2 or sum(map(len, last)) + len(piece) <= budget):
            last.append(piece)
        else:
            groups.append([piece])
    return groups


async def _merge(work: RunContext, parameter: Variable, pieces: list[str]) -> str:
    if len(pieces) == 1:
        return pieces[0]
    room = work.settings.prompt_budget * CHARS_PER_TOKEN // len(pieces)
    pieces = [shorten(p, room) for p in pieces]
    fence = Fence(pieces)
    user = [sentence("labels", "merge", role=parameter.role)]
    user += [fence.wrap("feedback", p) for p in pieces]
    request = CompletionRequest(
        purpose=Purpose.REDUCE,
        messages=(
            Message(role="system", content=text("reduce")),
            Message(role="user", content="\n\n".join(user)),
        ),
        about=f"merging {len(pieces)} pieces of feedback on {parameter.label}",
    )
    # Bounded, or a wordy model would keep the tree from ever getting smaller.
    limit = work.settings.prompt_budget * CHARS_PER_TOKEN // 4
    return shorten(await work.ask(request, lambda c: c.text.strip()), limit)
