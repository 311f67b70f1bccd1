"""A session for a file: what the page would ask, answered ahead, within a size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...schemas.errors import BadInput
from ...schemas.graph import Session
from .page import HELD_OUT, Page

ROOM = 4_500_000
"""Characters of JSON in a file that is not asked to be full."""
ROWS = 1_000
DETAILS = 200
"""Examples told whole; those that changed come first."""
LEFT_OUT = "(left out)"


@dataclass
class Whole:
    """What the file holds. `about` says in words what is in it and what is not."""

    answers: list[tuple[str, dict[str, Any], Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    about: list[str] = field(default_factory=list)
    used: int = 0

    def as_json(self, session: Session, *, with_id: bool) -> dict[str, Any]:
        """As the page reads it. Without `with_id`, the session's id stands nowhere in it."""
        about = [*self.about, f"Its id is {session.id}."] if with_id else self.about
        data = {"answers": self.answers, "rows": self.rows, "about": about}
        text = json.dumps(data, ensure_ascii=False)
        kept: dict[str, Any] = json.loads(text if with_id else text.replace(session.id, "…"))
        return kept


class Gathering:
    """Collects what goes into a Whole. With `full` there is no limit of size; with `redact` inputs
    and outputs of examples, and feedback, are left out."""

    def __init__(
        self, page: Page, session: Session, *, full: bool = False, redact: bool = False
    ) -> None:
        self.page = page
        self.session = session
        self.room = None if full else ROOM
        self.redact = redact
        self.whole = Whole()

    async def gather(self) -> Whole:
        """Everything there is room for, what says most first."""
        summary = await self._add("summary", {})
        for view in ("versions", "graph", "cost"):
            await self._add(view, {})
        await self._texts(summary)
        await self._examples(summary)
        await self._steps(summary)
        if not self.redact:
            await self._add("calls", {})
        made = f"Made from a session of textgrad-mcp as of {summary['updated'][:10]}."
        self.whole.about = [" ".join([made, *self.whole.about])]
        return self.whole

    async def _add(self, view: str, args: dict[str, Any]) -> Any:
        answer = await self.page.view(self.session, view, args)
        self._keep(view, args, answer)
        return answer

    def _keep(self, view: str, args: dict[str, Any], answer: Any) -> None:
        self.whole.answers.append((view, args, answer))
        self.whole.used += len(json.dumps(answer, ensure_ascii=False))

    @property
    def _is_full(self) -> bool:
        return self.room is not None and self.whole.used > self.room

    async def _texts(self, summary: dict[str, Any]) -> None:
        columns = await self.page.store.overview.version_columns(self.session.pk)
        known = {p["id"] for p in summary["parameters"]}
        every = [
            (v, n)
            for v, n in zip(columns["variable"], columns["version"], strict=True)
            if v in known
        ]
        kept = 0
        for v, n in _ends_first(every):
            if self.room is not None and self.whole.used > self.room // 3:
                break
            await self._add("text", {"variable": v, "version": n})
            kept += 1
        self._say(kept, len(every), "versions of texts")

    async def _steps(self, summary: dict[str, Any]) -> None:
        columns = await self.page.store.overview.step_columns(self.session.pk)
        numbers, taken = columns["n"], set(zip(columns["n"], columns["accepted"], strict=True))
        order = sorted(numbers, key=lambda n: ((n, 1) not in taken, -n))
        kept = 0
        for n in order:
            if self._is_full:
                break
            answer = await self.page.view(self.session, "step", {"step": n})
            self._keep("step", {"step": n}, self._redacted(answer))
            kept += 1
        self._say(kept, len(numbers), "steps with their proposals and feedback")

    def _redacted(self, step: dict[str, Any]) -> dict[str, Any]:
        """Feedback and reasons quote inputs and outputs."""
        if self.redact:
            step["gradients"] = [g | {"text": LEFT_OUT} for g in step["gradients"]]
            step["proposals"] = [p | {"reason": p["fate"]} for p in step["proposals"]]
            step["gate"] = ""
        return step

    async def _examples(self, summary: dict[str, Any]) -> None:
        if self.redact:
            self.whole.about.append("Inputs and outputs of examples, and feedback, are left out.")
            return
        states = summary["states"]
        losses = [x["id"] for x in summary["losses"] if x["per_example"]]
        read = [x["loss"] for x in summary["readings"] if x["loss"] in losses]
        if not states or not losses:
            return
        loss = read[-1] if read else losses[-1]
        a, b = states[0]["versions"], states[-1]["versions"]
        for split in ("validation", "train", "test"):
            if summary["examples"].get(split) and (split != "test" or self.page.held_out):
                await self._split({"loss": loss, "split": split, "a": a, "b": b})
        if summary["examples"].get("test"):
            words = f"Rows of the test split are in this file. {HELD_OUT}"
            hidden = "Rows of the test split are not in this file."
            self.whole.about.append(words if self.page.held_out else hidden)

    async def _split(self, asked: dict[str, Any]) -> None:
        first = await self.page.view(self.session, "rows", asked | {"limit": 1})
        kinds = ("worse", "better", "same") if first["counted"] else ("all",)
        rows: list[dict[str, Any]] = []
        for kind in kinds:
            rows += await self._rows(asked | {"filter": kind}, ROWS - len(rows))
        for row in rows[:DETAILS]:
            if self._is_full:
                break
            sides = {k: asked[k] for k in ("loss", "a", "b")}
            await self._add("example", {"id": row["id"], **sides})
        rows.sort(key=lambda row: int(row["id"][1:] if row["id"] != "here" else 0))
        self.whole.rows.append({**asked, **first, "rows": rows})
        self.whole.used += len(json.dumps(rows, ensure_ascii=False))
        self._say(len(rows), first["counts"]["all"], f"examples of {asked['split']}")

    async def _rows(self, asked: dict[str, Any], most: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while len(rows) < most:
            page = {"offset": len(rows), "limit": min(200, most - len(rows))}
            try:
                found = (await self.page.view(self.session, "rows", asked | page))["rows"]
            except BadInput as error:
                self.whole.about.append(error.message)
                break
            rows += found
            if not found or (self.room is not None and self.whole.used > self.room // 2):
                break
        return rows

    def _say(self, kept: int, total: int, what: str) -> None:
        if total:
            words = f"{kept:,} {what}" if kept == total else f"{kept:,} of {total:,} {what}"
            self.whole.about.append(f"It holds {words}.")


def _ends_first(every: list[tuple[str, int]]) -> Iterable[tuple[str, int]]:
    """The first and the newest versions before those between."""
    return dict.fromkeys([*every[:50], *every[::-1]])
