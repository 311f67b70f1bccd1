"""Inspect: reads what there is, in pages small enough for a model's context."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ...schemas.arguments.inspect import InspectArguments
from ...schemas.errors import BadInput, NotFound, TooLong
from ...schemas.graph import NO_EXAMPLE, Session, Variable, Version, number
from ...schemas.results import InspectResult
from ..answerers import uncounted
from ..runs.runner import Caller
from ..views.lines import call_line, drawn, fitting, line, said, whole
from ..views.report import in_short
from ..views.results import VALUE, cut
from ..views.session_report import session_report
from .base import Tool
from .ids import kind_of, shown_by
from .listings import DIFF, TEXT_PAGE, Listings, text_page

PAGE = 20
NO_OPERATION = "No operation uses these yet: forward and compute_loss add them."
_ALONE = ("session", "calls", "runs", "report")
"""Views that take no id."""
View = Callable[[Session, str | None, int], Awaitable[dict[str, Any]]]


class Inspect(Tool[InspectArguments, InspectResult], Listings):
    """Reads what there is."""

    arguments = InspectArguments

    async def run(self, caller: Caller, args: InspectArguments) -> InspectResult:
        """A view of the sessions, or of one. Raises BadInput, NotFound."""
        session_id, id = args.session_id, args.id  # noqa: A001 - the contract's name
        if session_id is None and id is not None and id.startswith("tg_"):
            session_id = id
        what: str | None = args.what
        if session_id is None:
            if id is not None or what is not None:
                asked = f"what={what!r}" if id is None else f"id={id!r}"
                raise BadInput(f"{asked} needs a session_id.", "Call inspect() to list them.")
            return await self._sessions(caller, args.offset)
        session = await self.parts.store.sessions.get(session_id, caller.owner)
        id = None if id == session.id else id  # noqa: A001
        what = what or ("session" if id is None else shown_by(id))
        if id is not None and what == "calls" and kind_of(id) == "call":
            what = "call"
        if id is not None and what in _ALONE:
            raise BadInput(f"what={what!r} takes no id, such as {id!r}.", "Leave one of them out.")
        view = await self._views()[what](session, id, args.offset)
        following = str(view.pop("next", ""))
        return InspectResult(session_id=session.id, what=what, view=view, next=following)

    def _views(self) -> dict[str, View]:
        return {
            "session": self._session_view,
            "graph": self._graph,
            "variable": self._variable,
            "gradients": self._gradients,
            "steps": self._steps,
            "examples": self._examples,
            "runs": self._runs_view,
            "calls": self._calls,
            "call": self._call,
            "report": self._report_view,
        }

    async def _sessions(self, caller: Caller, offset: int) -> InspectResult:
        found = await self.parts.store.sessions.of_owner(caller.owner, offset + PAGE + 1)
        listed = [
            {
                "session_id": s.id,
                "title": s.title,
                "updated": s.updated,
                "calls": s.used_calls,
                "bytes": s.bytes,
            }
            for s in found[offset : offset + PAGE]
        ]
        following = (
            f"Call inspect(session_id) for one of them. {_more(found, offset, PAGE)}".strip()
            if found
            else "There is no session yet: create_variable starts one."
        )
        return InspectResult(what="sessions", view={"sessions": listed}, next=following)

    async def _session_view(
        self, session: Session, _id: str | None, _offset: int
    ) -> dict[str, Any]:
        variables, run, usage, sizes = await asyncio.gather(
            self.parts.store.graph.variables(session.pk, limit=PAGE + 1),
            self.parts.store.runs.active(session.pk, session.id),
            self.parts.store.calls.usage(session.pk),
            self.parts.store.examples.split_sizes(session.pk),
        )
        answers = {
            role: f"{a.name}{' ' + a.model if a.model else ''}"
            for role, a in self.parts.ledger.answerers.items()
        }
        return {
            "title": session.title,
            "variables": [line(v) for v in list(variables.values())[:PAGE]],
            "examples": sizes,
            "in_use": [f"e{n}" for n in session.batch[:PAGE]] or self._first(sizes),
            **_left_out(len(variables), len(session.batch)),
            "active_run": f"{run.id} {run.tool}: {run.status}" if run else None,
            "answerers": answers,
            **(
                {"evaluators": self.parts.evaluators.listed} if self.parts.evaluators.listed else {}
            ),
            "usage": usage,
            "total": self._total(session),
            "next": f"resume(session_id='{session.id}') goes on with the active run."
            if run
            else "what='graph'|'variable'|'gradients'|'steps'|'examples'|'calls'|'report' shows "
            "more.",
        }

    def _first(self, sizes: dict[str, int]) -> str:
        """Which examples are in use where none were named."""
        train, most = sizes.get("train", 0), self.parts.settings.minibatch
        few = f"; forward(examples='train') uses all {train}" if train > most else ""
        return f"the first {min(train, most)} of train{few}" if train else ""

    def _total(self, session: Session) -> dict[str, Any]:
        """What the session has used; why tokens and cost are not known, where they are not."""
        cost = round(session.used_cost, 6)
        counted: dict[str, Any] = {"tokens": session.used_tokens, "cost": cost}
        why = uncounted({answerer.name for answerer in self.parts.ledger.answerers.values()})
        if why and session.used_calls and not any(counted.values()):
            counted = dict.fromkeys(counted, why)
        return {"calls": session.used_calls, **counted}

    async def _graph(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        if id is not None:
            return await self._operation(session, id)
        operations = await self.parts.store.graph.operations(session.pk, limit=offset + PAGE + 1)
        page = fitting([drawn(o) for o in operations[offset : offset + PAGE]])
        shown = operations[offset : offset + len(page)]
        ids = {v for o in shown for v in [*o.sources, o.output]}
        variables = await self.parts.store.graph.variables(session.pk, ids)
        if not operations:  # texts that nothing uses yet
            variables = await self.parts.store.graph.variables(session.pk, limit=PAGE)
        in_order = sorted(variables.values(), key=lambda v: number(v.id, "v") or 0)
        first = f"id='{shown[0].id}' shows an operation whole." if shown else NO_OPERATION
        return {
            "variables": [line(v, 40) for v in in_order],
            "operations": page,
            "next": _more(operations, offset, len(page)) or first,
        }

    async def _operation(self, session: Session, id: str) -> dict[str, Any]:  # noqa: A002
        found = await self.parts.store.graph.operations(session.pk, [id])
        if not found:
            return await self._gone(session, "operation", id)
        [operation] = found
        kept = await self.parts.store.values.get(session.pk, [operation.output], [NO_EXAMPLE])
        return {"operations": [whole(operation, next(iter(kept.values()), None))]}

    async def _variable(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        name, _, version = (id or "").partition("@")
        v = (await self.parts.store.graph.variables(session.pk, [name])).get(name)
        if v is None:
            return await self._gone(session, "variable", name, version, offset)
        if version:
            return await self._version(session, v, version, offset)
        view: dict[str, Any] = {"variable": line(v, text=False), "constraints": v.constraints}
        if v.value is not None:
            versions = await self.parts.store.history.versions(session.pk, v.id, PAGE)
            view |= text_page(v.value, offset)
            view["versions"] = [
                x.model_dump(include={"version", "origin", "step", "created"}, exclude_none=True)
                for x in versions
            ]
            view["next"] = _versions_of(v)
        else:
            examples = await self.parts.examples_in_use(session, [v])
            values = await self.parts.store.values.get(session.pk, [v.id], [NO_EXAMPLE, *examples])
            shown = [
                {"example": f"e{n}" if n else None, "text": cut(x.text, VALUE)[0], "score": x.score}
                for (_, n), x in values.items()
            ]
            view["values"] = shown[offset : offset + PAGE]
            view["next"] = _more(shown, offset, PAGE)
            if len(shown) == 1:
                value = next(iter(values.values()))
                view |= text_page(value.text, offset)
                view |= {} if value.score is None else {"score": value.score}
                del view["values"]
            if not values:
                view["next"] = "It has no value now: call forward to compute it."
        return view

    async def _gone(
        self, session: Session, what: str, id_: str, version: str = "", offset: int = 0
    ) -> dict[str, Any]:
        """What was taken out, as it was; its texts can be read as before. Raises NotFound."""
        was = await self.parts.store.removal.removed(session.pk, id_)
        if was is None:
            raise await self.parts.missing(session, what, id_)
        view: dict[str, Any] = {"removed": True, what: {"id": id_} | said(was)}
        if version:
            found = await self.parts.store.history.version(session.pk, id_, _number(version))
            return view | text_page(found.text if found else "", offset)
        versions = await self.parts.store.history.versions(session.pk, id_, PAGE)
        if versions:
            view |= text_page(versions[0].text, offset)
            view["versions"] = [x.version for x in versions]
            view["next"] = f"id='{id_}@1' shows an earlier text of it."
        return view

    async def _version(
        self, session: Session, v: Variable, asked: str, offset: int
    ) -> dict[str, Any]:
        """A version with what it changed, or with `2..5` all that changed between two."""
        old, between, new = asked.rpartition("..")
        found = await self._kept(session, v, new, asked)
        before = (
            await self._kept(session, v, old, asked)
            if between
            else await self.parts.store.history.version(session.pk, v.id, found.version - 1)
        )
        view: dict[str, Any] = {
            "variable": line(v, text=False),
            "version": found.version,
            "origin": found.origin,
            **({"step": found.step} if found.step else {}),
        }
        if not between:
            view |= text_page(found.text, offset)
        if before is not None:
            try:
                shown = await self.difference(session, before, found)
            except TooLong as error:
                shown = str(error)
            if between:  # its text is shown by its own id
                page = text_page(shown, offset)
                view |= {"diff": page["text"]} | ({"rest": page["rest"]} if "rest" in page else {})
            else:
                view["diff"] = cut(shown, DIFF)[0]
        whole_way = old == "1" or v.version == 1
        since = f" id='{v.id}@1..{v.version}' shows all that changed since the first."
        view["next"] = (
            f"This is the present version.{'' if whole_way else since}"
            if found.version == v.version
            else f"revert(session_id='{session.id}', variable='{v.id}', version={found.version})"
        )
        return view

    async def _kept(self, session: Session, v: Variable, version: str, asked: str) -> Version:
        found = await self.parts.store.history.version(session.pk, v.id, _number(version))
        if found is None:
            raise NotFound(
                f"{v.label} has no version {asked!r}; it is at {v.version}.",
                f"id='{v.id}' lists its versions, '{v.id}@2' shows one, '{v.id}@1..{v.version}' "
                "what changed between two.",
            )
        return found

    async def _calls(self, session: Session, _id: str | None, offset: int) -> dict[str, Any]:
        calls = await self.parts.store.calls.latest(session.pk, offset + PAGE + 1)
        more = _more(calls, offset, PAGE)
        return {
            "usage": await self.parts.store.calls.usage(session.pk),
            "calls": [call_line(call) for call in calls[offset : offset + PAGE]],
            "next": f"what='call', id='c1' shows one with its prompt and reply. {more}".strip(),
        }

    async def _report_view(self, session: Session, _id: str | None, _offset: int) -> dict[str, Any]:
        view = in_short(await session_report(self.parts.store, session, texts=True))
        view["price"] |= self._total(session)
        return view

    async def _call(self, session: Session, id: str | None, offset: int) -> dict[str, Any]:  # noqa: A002
        found = await self.parts.store.calls.get(session.pk, number(id or "", "c") or 0)
        if found is None:
            raise NotFound(f"There is no call {id!r} in this session.", "what='calls' lists them.")
        kept = (
            "purpose",
            "about",
            "status",
            "answerer",
            "model",
            "request",
            "text",
            "reasoning",
            "finish",
            "refusal",
            "prompt_tokens",
            "completion_tokens",
            "cost",
            "latency",
            "attempts",
        )
        view = {key: found[key] for key in kept if found[key] is not None}
        if not view["reasoning"]:
            del view["reasoning"]
        for key in ("request", "text", "reasoning"):
            if key in view:
                view[key] = cut(str(view[key])[offset:], TEXT_PAGE)[0]
        return view


def _number(version: str) -> int:
    return int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0


def _left_out(variables: int, in_use: int) -> dict[str, list[str]]:
    """What the view of a session does not list, in sentences; empty when it lists all."""
    told = []
    if variables > PAGE:
        told.append(f"The first {PAGE} variables are listed; what='graph' shows the others.")
    if in_use > PAGE:
        told.append(f"{PAGE} of {in_use} examples in use are named.")
    return {"left_out": told} if told else {}


def _versions_of(v: Variable) -> str:
    if v.version < 2:
        return "It has one version so far; step makes the next."
    if v.version > PAGE:
        return (
            f"The last {PAGE} of {v.version} versions are listed; id='{v.id}@1' shows any by its "
            f"number, id='{v.id}@1..{v.version}' all that changed."
        )
    return f"id='{v.id}@{v.version}' shows the last change, id='{v.id}@1..{v.version}' all of them."


def _more(items: list[Any], offset: int, size: int) -> str:
    return f"offset={offset + size} shows more." if len(items) > offset + size else ""
