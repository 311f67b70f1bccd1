"""Inspect: lists of what was learnt and loaded, and one of each in full."""

from __future__ import annotations

from typing import Any

from ..schemas.errors import NotFound
from ..schemas.graph import Session
from .core import Core
from .show import FEEDBACK, LISTED, REASON, cut, share

TEXT_PAGE = 6000
"""Characters of one text that is shown in full."""
ROOM = 1200
"""Characters of proposals in one page of steps."""


class Listings(Core):
    """Views of gradients, steps, examples and runs."""

    async def _gradients(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        if id is not None and id.startswith("g"):
            return await self._gradient(session, id, offset)
        wanted = [(await self.one_variable(session, id)).id] if id else None
        most = offset + LISTED
        found = await self.store.gradients(session.pk, wanted, unspent=False, limit=most)
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
        g = await self.store.gradient(session.pk, id)
        if g is None:
            raise NotFound(f"There is no gradient {id!r}.", "what='gradients' lists them.")
        return {"gradients": [g.model_dump(exclude_none=True) | text_page(g.text, offset)]}

    async def _steps(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        if id is not None and id.startswith("p"):
            return await self._proposal(session, id, offset)
        if id is not None:
            await self.one_variable(session, id)
        steps = (await self.store.steps(session.pk, offset + LISTED))[offset:]
        proposals = (await self.store.proposals(session.pk, id, offset + LISTED))[offset:]
        most = share(len(proposals), 120, FEEDBACK, ROOM)
        return {
            "steps": [s | {"gate": cut(str(s["gate"] or ""), REASON // 2)[0]} for s in steps],
            "proposals": [
                p.model_dump(exclude_none=True, exclude={"gradients"})
                | {"text": cut(p.text, most)[0], "reason": cut(p.reason, REASON // 2)[0]}
                for p in proposals
            ],
            "next": f"id='p1' shows a proposal whole. {older(len(proposals), offset)}".strip(),
        }

    async def _proposal(self, session: Session, id: str, offset: int) -> dict[str, Any]:  # noqa: A002
        p = await self.store.proposal(session.pk, id)
        if p is None:
            raise NotFound(f"There is no proposal {id!r}.", "what='steps' without id lists them.")
        return {"proposals": [p.model_dump(exclude_none=True) | text_page(p.text, offset)]}

    async def _examples(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        sizes = await self.store.split_sizes(session.pk)
        if id is not None and id not in sizes:
            was = await self.store.removed(session.pk, id)
            if was is not None:
                known = was["fields"] if isinstance(was.get("fields"), dict) else {}
                fields = {k: cut(str(t), TEXT_PAGE)[0] for k, t in known.items()}
                return {"removed": True, "examples": [{"id": id} | was | {"fields": fields}]}
            numbers = await self.named_examples(session, id)
            most = TEXT_PAGE
        else:
            numbers = []
            for split in [id] if id else sizes:
                numbers += await self.store.split(session.pk, split, offset + LISTED)
            numbers, most = numbers[offset : offset + LISTED], 0
        found = await self.store.examples(session.pk, numbers)
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
        runs = (await self.store.runs(session.pk, offset + LISTED))[offset:]
        return {"runs": runs, "next": older(len(runs), offset)}


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
