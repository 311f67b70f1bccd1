"""Inspect: lists of what was learnt and loaded, and one of each in full."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...schemas.distance import diff
from ...schemas.errors import NotFound, TooLong
from ...schemas.graph import Session, Version, number
from ..views.results import FEEDBACK, LISTED, REASON, cut, share, verdict_of
from ..workers.pool import Job
from ..workers.worker import SMALL
from .lookup import Parts

TEXT_PAGE = 6000
"""Characters of one text that is shown in full."""
DIFF = 1500
"""Characters of a diff beside a text."""
ROOM = 1200
"""Characters of proposals in one page of steps."""


@dataclass(eq=False)
class Listings:
    """Views of gradients, steps, examples and runs."""

    parts: Parts

    async def _gradients(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        if id is not None and id.startswith("g"):
            return await self._gradient(session, id, offset)
        wanted = [(await self.parts.one_variable(session, id)).id] if id else None
        most = offset + LISTED
        found = await self.parts.store.history.gradients(
            session.pk, wanted, unspent=False, limit=most
        )
        page = found[::-1][offset:]
        most = share(len(page), 120, FEEDBACK)
        return {
            "gradients": [
                g.model_dump(exclude_none=True, exclude={"batch"}) | {"text": cut(g.text, most)[0]}
                for g in page
            ],
            "next": f"step(session_id='{session.id}') uses those that are not spent; id='g1' shows "
            f"one whole. {older(len(page), offset)}".strip()
            if page
            else "There are none: call backward.",
        }

    async def _gradient(self, session: Session, id: str, offset: int) -> dict[str, Any]:  # noqa: A002
        g = await self.parts.store.history.gradient(session.pk, id)
        if g is None:
            raise NotFound(f"There is no gradient {id!r}.", "what='gradients' lists them.")
        return {"gradients": [g.model_dump(exclude_none=True) | text_page(g.text, offset)]}

    async def _steps(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        if id is not None and id.startswith("p"):
            return await self._proposal(session, id, offset)
        if id is not None:
            await self.parts.one_variable(session, id)
        steps = (await self.parts.store.history.steps(session.pk, offset + LISTED))[offset:]
        proposals = (await self.parts.store.history.proposals(session.pk, id, offset + LISTED))[
            offset:
        ]
        most = share(len(proposals), 120, FEEDBACK, ROOM)
        unfinished = [] if offset else await self.unfinished(session)
        return {
            **({"unfinished": unfinished} if unfinished else {}),
            "steps": [s | {"gate": cut(str(s["gate"] or ""), REASON // 2)[0]} for s in steps],
            "proposals": [
                p.model_dump(exclude_none=True, exclude={"gradients", "gain", "error", "p"})
                | {"text": cut(p.text, most)[0], "reason": cut(p.reason, REASON // 2)[0]}
                | {"verdict": verdict_of(p)}
                for p in proposals
            ],
            "next": f"id='p1' shows a proposal whole. {older(len(proposals), offset)}".strip(),
        }

    async def unfinished(self, session: Session) -> list[dict[str, str]]:
        """The new texts that a run brought, the last of the session, before it was cancelled."""
        run = await self.parts.store.runs.last(session.pk, session.id)
        if run is None or run.status != "cancelled":
            return []
        found = await self.parts.store.again.unjudged(session.pk, number(run.id, "r") or 0, LISTED)
        most = share(len(found), 120, FEEDBACK, ROOM)
        return [{"call": call, "text": cut(_value_in(text), most)[0]} for call, text in found]

    async def _proposal(self, session: Session, id: str, offset: int) -> dict[str, Any]:  # noqa: A002
        p = await self.parts.store.history.proposal(session.pk, id)
        if p is None:
            raise NotFound(f"There is no proposal {id!r}.", "what='steps' without id lists them.")
        shown = p.model_dump(exclude_none=True) | {"verdict": verdict_of(p)}
        shown |= text_page(p.text, offset)
        before = await self.parts.store.history.version(session.pk, p.variable, p.parent)
        if before is not None and p.text:
            names = f"{p.variable}@{p.parent}", p.id
            with suppress(TooLong):  # its text is there
                found = await self._diff(session, before.text, p.text, *names)
                shown["diff"] = cut(found, DIFF)[0]
        return {"proposals": [shown]}

    async def difference(self, session: Session, old: Version, new: Version) -> str:
        """What changed between two versions, as a unified diff. Raises TooLong."""
        names = f"{old.variable}@{old.version}", f"{new.variable}@{new.version}"
        return await self._diff(session, old.text, new.text, *names)

    async def _diff(self, session: Session, old: str, new: str, was: str, now: str) -> str:
        size = len(old) + len(new)
        if size <= SMALL:
            return diff(old, new, was, now)
        what = f"Comparing two versions with {size:,} characters"
        job = Job(session.owner, what, "Read one after the other.")
        return await self.parts.workers.run(job, diff, old, new, was, now)

    async def _examples(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        sizes = await self.parts.store.examples.split_sizes(session.pk)
        if id is not None and id not in sizes:
            was = await self.parts.store.removal.removed(session.pk, id)
            if was is not None:
                known = was["fields"] if isinstance(was.get("fields"), dict) else {}
                fields = {k: cut(str(t), TEXT_PAGE)[0] for k, t in known.items()}
                return {"removed": True, "examples": [{"id": id} | was | {"fields": fields}]}
            numbers = await self.parts.named_examples(session, id)
            most = TEXT_PAGE
        else:
            numbers = []
            for split in [id] if id else sizes:
                numbers += await self.parts.store.examples.split(session.pk, split, offset + LISTED)
            numbers, most = numbers[offset : offset + LISTED], 0
        found = await self.parts.store.examples.get(session.pk, numbers)
        most = most or share(sum(len(e.fields) for e in found.values()), 30, 200, 3000)
        shown = [
            {
                "id": e.id,
                "split": e.split,
                "fields": {k: cut(t, most)[0] for k, t in e.fields.items()},
            }
            for e in found.values()
        ]
        more = "" if id else f"id='e7' shows one whole. {older(len(shown), offset)}".strip()
        return {"sizes": sizes, "examples": shown, "next": more}

    async def _runs_view(self, session: Session, _id: str | None, offset: int) -> dict[str, Any]:
        runs = (await self.parts.store.runs.latest(session.pk, offset + LISTED))[offset:]
        return {"runs": runs, "next": older(len(runs), offset)}


def _value_in(reply: str) -> str:
    """The text in a reply to a request for a rewrite, or the reply as it is."""
    with suppress(ValueError, RecursionError):
        found = json.loads(reply)
        if isinstance(found, dict) and isinstance(found.get("value"), str):
            return str(found["value"])
    return reply


def older(shown: int, offset: int) -> str:
    """How to read on in a list whose page is full."""
    return f"offset={offset + shown} shows older ones." if shown >= LISTED else ""


def text_page(text: str, offset: int) -> dict[str, Any]:
    """`text` from `offset` on, as much as one page holds, and how to read the rest."""
    page = text[offset : offset + TEXT_PAGE]
    view: dict[str, Any] = {"text": page, "chars": len(text)}
    if offset + TEXT_PAGE < len(text):
        view["rest"] = f"offset={offset + TEXT_PAGE} shows the rest."
    return view
