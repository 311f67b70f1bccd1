"""Reflect: one call sees what a text did, says why, and writes several different texts.

Hypotheses that differ (VISTA, arXiv 2603.18388), what was refused and why (SkillOpt, 2605.23904),
inputs, outputs and feedback together (GEPA, 2507.19457).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...schemas.completions import Completion, CompletionRequest, Purpose
from ...schemas.errors import ReplyError, TooLong
from ...schemas.graph import Fate, Variable
from ..prompts import sentence
from ..replies.reply import Malformed, object_schema, parse_object
from ..runs.context import RunContext
from ..runs.schedule import gather
from .candidate import UNCHANGED, Candidate, Check, Problem, Reason, Unfit
from .edits import EDITS, edited
from .proposer import breaks, broken, ended_like, leaked, others, unchecked, unusable
from .reflect_prompt import Reflection, key, reflection
from .seen import Seen


@dataclass
class Draft:
    """A new text and the hypothesis it follows; `problems` are what is wrong with it."""

    hypothesis: str
    text: str
    problems: list[Problem]


async def reflect(
    work: RunContext, parameter: Variable, seen: Seen, count: int, check: Check
) -> tuple[list[Candidate], str]:
    """Up to `count` candidates for a parameter, and the diagnosis they follow; without a usable
    reply that is empty, and the one candidate says why.

    A reply of which no text can be taken is sent back once.
    """
    work.phase = "reflecting"
    asked = await reflection(work, parameter, seen, count)
    schema = _schema(count, edits=asked.edits)
    request = CompletionRequest(
        purpose=Purpose.UPDATE,
        messages=asked.messages,
        reply=schema,
        about=f"why examples fail, and {count} new texts for {parameter.label}",
    )
    old = parameter.value or ""
    last: list[Draft] = []

    def read(completion: Completion) -> dict[str, Any]:
        form = schema | {"required": ["edits" if asked.edits else "value"]}
        return parse_object(completion.text, form, old)

    async def look(said: dict[str, Any]) -> None:
        last[:] = [
            await _checked(work, parameter, asked, d, check) for d in drafts(said, asked, old)
        ]
        if all(d.problems for d in last):
            raise Unfit([p for d in last for p in d.problems])

    try:
        said = await work.ask(request, read, look)
    except TooLong as error:
        return [Candidate(refused=unchecked(error))], ""
    except ReplyError as error:
        return [Candidate(refused=unusable(error))], ""
    return await _candidates(work, parameter, last), _diagnosis(said, last)


def _schema(count: int, *, edits: bool) -> dict[str, Any]:
    kind = EDITS if edits else {"type": "string"}
    fields: dict[str, Any] = {"diagnosis": {"type": "string"}}
    for n in range(1, count + 1):
        fields |= {key("hypothesis", n): {"type": "string"}}
        fields |= {key("edits" if edits else "value", n): kind}
    return object_schema(fields)


def drafts(said: Mapping[str, Any], asked: Reflection, old: str) -> list[Draft]:
    """The new texts in a reply, each with its hypothesis; one with a problem where there is none.
    `old` is the text that edits are made to."""
    found = []
    for n in range(1, len(said) + 1):
        given = said.get(key("edits" if asked.edits else "value", n))
        if not given:
            continue
        hypothesis = str(said.get(key("hypothesis", n)) or "").strip()
        try:
            new = edited(old, given) if asked.edits else asked.fence.unwrap(str(given))
        except Malformed as problem:
            found.append(Draft(hypothesis, "", [(Fate.UNUSABLE, problem.reason)]))
            continue
        if new.strip():
            found.append(Draft(hypothesis, ended_like(old, new), []))
    return found or [Draft("", "", [(Fate.UNUSABLE, sentence("problems", "no_text"))])]


async def _checked(
    work: RunContext, parameter: Variable, asked: Reflection, draft: Draft, check: Check
) -> Draft:
    """A draft with what is wrong with it; nothing is said of one that is the text as it was."""
    old, new = parameter.value or "", draft.text
    if draft.problems or new.strip() == old.strip():
        return draft
    wrong = [
        *await broken(work, parameter, old, new),
        *await check(parameter, new),
        *await leaked(work, parameter, asked.material, new),
    ]
    return Draft(draft.hypothesis, new, wrong)


async def _candidates(
    work: RunContext, parameter: Variable, found: Sequence[Draft]
) -> list[Candidate]:
    """The drafts as candidates: those that cannot be taken, or say nothing new, are refused."""
    past = await work.store.history.proposals(work.session.pk, parameter.id, limit=64)
    old = parameter.value or ""
    before = {
        plain(p.text): sentence("reasons", "like_refused", proposal=p.id)
        for p in others(past, old)
        if p.verdict == "refused" and p.fate in (Fate.MINIBATCH, Fate.NOISE, Fate.TIE)
    }
    candidates = []
    work.proposed.clear()  # of earlier steps: their numbers mean nothing now
    for index, draft in enumerate(found):
        work.proposed.setdefault((parameter.id, draft.text), f"candidate {index + 1}")
        candidate = Candidate({parameter.id: draft.text}, idea=draft.hypothesis)
        candidates.append(candidate)
        said = plain(draft.text)
        if draft.problems:
            words = " ".join(words for _, words in draft.problems)
            candidate.refused = Reason(draft.problems[0][0], words)
        elif draft.text.strip() == old.strip():
            candidate.refused = UNCHANGED
        elif said in before:
            candidate.refused = Reason(Fate.TWICE, before[said])
        else:
            before[said] = sentence("reasons", "like_candidate", n=str(index + 1))
    await gather([_judge(work, parameter, c) for c in candidates if not c.refused])
    return candidates


async def _judge(work: RunContext, parameter: Variable, candidate: Candidate) -> None:
    """Refuse a candidate that breaks a constraint in words."""
    candidate.refused = await breaks(work, parameter, candidate.texts[parameter.id])


def plain(new: str) -> tuple[str, ...]:
    """The words of a text, sorted, without case and marks: equal for texts that are nearly the
    same."""
    return tuple(sorted(_DRESS.sub(" ", new).casefold().split()))


_DRESS = re.compile(r"[\s*#`_>.,;:!]+")


def _diagnosis(said: Mapping[str, Any], found: Sequence[Draft]) -> str:
    """The diagnosis in a reply with its hypotheses, as it is kept."""
    lines = [str(said.get("diagnosis") or "").strip()]
    lines += [f"{n}. {d.hypothesis}" for n, d in enumerate(found, 1) if d.hypothesis]
    return "\n".join(x for x in lines if x) or sentence("labels", "no_diagnosis")
