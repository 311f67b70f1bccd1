"""The page's views: each answers one question about a session as plain data."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...schemas.errors import BadInput, NotFound
from ...schemas.graph import Operation, Proposal, Session, Variable, number
from ...schemas.near import did_you_mean
from ...schemas.report import SessionReport
from .examples import WHOLE, Examples
from .replay import Reader
from .results import cut
from .session_report import session_report
from .states import NEWEST, states

LISTED = 100
"""Entries in one page of a list."""
NODES = 200
READINGS = 1000
FEW = 8
STEP_TEXTS = 120_000
"""Characters of all texts of one step together."""
WHOSE = {"session_id", "owner"}
"""What a report says of whose it is, and a page that may be handed on does not."""
HELD_OUT = "Whoever reads these and changes the text afterwards has no held-out figure any more."
Args = Mapping[str, Any]
View = Callable[[Session, Args], Awaitable[dict[str, Any]]]


class Page:
    """What the page shows, read from the store. With `held_out`, rows of the test split too."""

    def __init__(self, reader: Reader, *, held_out: bool = False) -> None:
        self.reader = reader
        self.store = reader.store
        self.settings = reader.settings
        self.held_out = held_out
        self.views: dict[str, View] = {
            "summary": self._summary,
            "step": self._step,
            "versions": self._versions,
            "text": self._text,
            "rows": self._rows,
            "example": self._example,
            "graph": self._graph,
            "calls": self._calls,
            "call": self._call,
            "pending": self._pending,
            "cost": self._cost,
        }

    async def view(self, session: Session, name: str, args: Args) -> dict[str, Any]:
        """One view. Raises BadInput for a name or arguments that are none, NotFound."""
        if name not in self.views:
            words = f"There is no view {name!r}.{did_you_mean(name, self.views)}"
            raise BadInput(words, f"Use {', '.join(self.views)}.")
        return await self.views[name](session, args)

    async def _summary(self, session: Session, args: Args) -> dict[str, Any]:
        revision = await self.store.overview.revision(session.pk)
        if args.get("since") == revision:
            return {"same": True, "revision": revision}
        steps = await self.store.overview.step_columns(session.pk)
        report = await session_report(self.store, session, self.reader.comparisons)
        began = steps.pop("created")
        readings = await self.store.overview.readings(session.pk, READINGS)
        return {
            "revision": revision,
            **report.model_dump(mode="json", exclude=WHOSE),
            "budget": self.settings.session_budget,
            "steps_taken": {name: packed(column) for name, column in steps.items()},
            "readings": [_reading(one, began) for one in readings],
            "states": await self._states(session, report),
            "losses": await self._losses(session),
            "references": await self.store.overview.answer_fields(session.pk),
            "run": await self._run(session),
            "held_out": self.held_out,
        }

    async def _losses(self, session: Session) -> list[dict[str, Any]]:
        operations = await self.store.overview.losses(session.pk, LISTED)
        found = await self.store.graph.variables(session.pk, [o.output for o in operations])
        return [
            {
                "id": o.output,
                "kind": o.kind,
                "name": _loss_name(o, found[o.output]),
                "per_example": found[o.output].per_example,
                "graded": bool(o.spec.get("graded", True)),
            }
            for o in operations
        ]

    async def _states(self, session: Session, report: SessionReport) -> list[dict[str, Any]]:
        columns = await self.store.overview.version_columns(session.pk, NEWEST)
        return states(columns, {p.id: p.version for p in report.parameters})

    async def _run(self, session: Session) -> dict[str, Any] | None:
        """The newest run, and how far it has come."""
        run = await self.store.runs.last(session.pk, session.id)
        if run is None:
            return None
        calls = await self.store.overview.run_calls(session.pk, number(run.id, "r") or 0)
        opened = {c["purpose"]: c["calls"] for c in calls if c["status"] == "pending"}
        return {
            "id": run.id,
            "tool": run.tool,
            "status": run.status,
            "error": run.error,
            "step": run.state.get("steps"),
            "steps": run.args.get("steps"),
            "accepted": run.state.get("accepted"),
            "answered": sum(c["calls"] for c in calls if c["status"] != "pending"),
            "open": opened,
        }

    async def _step(self, session: Session, args: Args) -> dict[str, Any]:
        n = whole_number(args, "step")
        step = await self.store.overview.step(session.pk, n)
        if step is None:
            raise NotFound(f"There is no step s{n}.", "summary lists the steps.")
        proposals = await self.store.overview.step_proposals(session.pk, n)
        used = list(dict.fromkeys(g for p in proposals for g in p.gradients))
        gradients = [await self.store.history.gradient(session.pk, g) for g in used[:LISTED]]
        room = STEP_TEXTS // max(1, 2 * len(proposals) + len(used))
        return {
            "n": n,
            "accepted": bool(step["accepted"]),
            **{k: step[k] for k in ("gate", "before", "after", "gain", "error", "p", "split")},
            "examples": step["examples"],
            "created": step["created"],
            "proposals": [await self._proposal(session, p, min(WHOLE, room)) for p in proposals],
            "gradients": [
                g.model_dump(exclude={"losses", "exact", "batch"})
                | {"text": cut(g.text, min(WHOLE, room))[0]}
                for g in gradients
                if g is not None
            ],
        }

    async def _proposal(self, session: Session, p: Proposal, room: int) -> dict[str, Any]:
        parent = await self.store.history.version(session.pk, p.variable, p.parent)
        text, chars = cut(p.text, room)
        return p.model_dump(mode="json", exclude={"step", "gradients"}) | {
            "text": text,
            "chars": chars,
            "old": cut(parent.text if parent else "", room)[0],
        }

    async def _versions(self, session: Session, args: Args) -> dict[str, Any]:
        """Of each leaf, in the order of its versions: the step that made each, and where it is
        from, if from no step."""
        columns = await self.store.overview.version_columns(session.pk)
        found: dict[str, dict[str, Any]] = {}
        for v, n, origin, step in zip(
            *(columns[k] for k in ("variable", "version", "origin", "step")), strict=True
        ):
            one = found.setdefault(v, {"step": [], "origin": {}})
            one["step"].append(step)
            if step is None:
                one["origin"][str(n)] = origin
        return found

    async def _text(self, session: Session, args: Args) -> dict[str, Any]:
        variable, n = str(args.get("variable")), whole_number(args, "version")
        found = await self.store.history.version(session.pk, variable, n)
        if found is None:
            raise NotFound(f"{variable} has no version {n}.", "versions lists them.")
        offset = whole_number(args, "offset", 0)
        shown = found.model_dump(exclude={"text"})
        return shown | _page_of(found.text, offset)

    async def _rows(self, session: Session, args: Args) -> dict[str, Any]:
        split = str(args.get("split", "validation"))
        self._check_split(split)
        kind = args.get("filter", "all")
        if kind not in ("all", "better", "worse", "same"):
            raise BadInput(f"There is no filter {kind!r}.", "Use all, better, worse or same.")
        return await Examples(self.reader, session).rows(
            str(args.get("loss")),
            split,
            _versions_of(args, "a"),
            _versions_of(args, "b"),
            kind,
            whole_number(args, "offset", 0),
            whole_number(args, "limit", LISTED),
        )

    async def _example(self, session: Session, args: Args) -> dict[str, Any]:
        id_ = str(args.get("id"))
        known = await self.store.examples.get(session.pk, [number(id_, "e") or 0])
        for one in known.values():
            self._check_split(one.split)
        sides = _versions_of(args, "a"), _versions_of(args, "b")
        examples = Examples(self.reader, session)
        return await examples.example(str(args.get("loss")), id_, *sides)

    def _check_split(self, split: str) -> None:
        if split not in ("train", "validation", "test"):
            raise BadInput(f"There is no split {split!r}.", "Use train, validation or test.")
        if split == "test" and not self.held_out:
            raise BadInput(
                f"Rows of the test split are not shown here. {HELD_OUT}",
                "textgrad-mcp view --with-test shows them to a person.",
            )

    async def _graph(self, session: Session, args: Args) -> dict[str, Any]:
        variables = await self.store.graph.variables(session.pk, limit=NODES + 1)
        operations = {
            o.output: o for o in await self.store.graph.operations(session.pk, limit=NODES)
        }
        stale = set(await self.store.graph.dirty(session.pk))
        kept = dict(list(variables.items())[:NODES])
        return {
            "nodes": [_node(v, operations.get(v.id), v.id in stale) for v in kept.values()],
            "edges": [
                edge
                for v in kept
                if (o := operations.get(v)) is not None
                for edge in _edges(o)
                if edge["from"] in kept
            ],
            "truncated": len(variables) > NODES,
        }

    async def _calls(self, session: Session, args: Args) -> dict[str, Any]:
        before = whole_number(args, "before", 0) or None
        return {"calls": await self.store.calls.latest(session.pk, LISTED, before)}

    async def _call(self, session: Session, args: Args) -> dict[str, Any]:
        id_ = str(args.get("id"))
        found = await self.store.calls.get(session.pk, number(id_, "c") or 0)
        if found is None:
            raise NotFound(f"There is no call {id_!r}.", "calls lists them.")
        left_out = ("session", "n", "key", "run", "reserved_tokens", "reserved_cost")
        shown = {k: v for k, v in found.items() if k not in left_out and v is not None}
        for key in ("request", "text"):
            if key in shown:
                shown[key] = cut(str(shown[key]), WHOLE)[0]
        return {"id": id_, **shown}

    async def _pending(self, session: Session, args: Args) -> dict[str, Any]:
        run = await self.store.runs.active(session.pk, session.id)
        if run is None:
            return {"total": 0, "pending": []}
        found = await self.store.calls.pending(session.pk, number(run.id, "r") or 0)
        offset = whole_number(args, "offset", 0)
        return {
            "total": len(found),
            "pending": [
                {
                    "id": f"c{n}",
                    "purpose": request.purpose.value,
                    "about": request.about,
                    "system": cut(request.system or "", 4000)[0],
                    "prompt": cut(request.prompt, 4000)[0],
                }
                for n, request in found[offset : offset + 20]
            ],
        }

    async def _cost(self, session: Session, args: Args) -> dict[str, Any]:
        """Calls, tokens and dollars of each step: what was asked since the step before it."""
        steps = await self.store.overview.step_columns(session.pk)
        ends: list[str] = steps["created"]
        calls, tokens = [0] * (len(ends) + 1), [0] * (len(ends) + 1)
        cost = [0.0] * (len(ends) + 1)
        for created, used, paid in await self.store.overview.call_figures(session.pk):
            at = bisect_left(ends, created)
            calls[at] += 1
            tokens[at] += used
            cost[at] += paid or 0.0
        return {"n": steps["n"], "calls": calls, "tokens": tokens, "cost": cost}


def packed(column: list[Any]) -> Any:
    """A column in few characters: rounded, or by its rule where it has one."""
    if len(column) > FEW and all(value == column[0] for value in column):
        return {"same": column[0], "count": len(column)}
    first = column[0] if column and isinstance(column[0], int) else 0
    if len(column) > FEW and column == list(range(first, first + len(column))):
        return {"from": column[0], "count": len(column)}
    return [round(value, 4) if isinstance(value, float) else value for value in column]


def _reading(one: Mapping[str, Any], began: list[str]) -> dict[str, Any]:
    kept = {k: one[k] for k in ("loss", "split", "versions", "mean", "error", "examples")}
    return kept | {"after": bisect_left(began, one["created"])}


def _loss_name(operation: Operation, variable: Variable) -> str:
    spec = operation.spec
    words = variable.name or spec.get("metric") or spec.get("evaluator") or operation.kind
    return str(words)


def _node(v: Variable, operation: Operation | None, stale: bool) -> dict[str, Any]:
    words = operation.kind if operation else v.field or v.kind.value
    if operation is not None and "metric" in operation.spec:
        words = str(operation.spec["metric"])
    return {
        "id": v.id,
        "kind": v.kind.value,
        "label": cut(v.name or v.role, 60)[0],
        "what": cut(words, 60)[0],
        "version": v.version,
        "reference": v.reference,
        "loss": operation is not None and operation.is_loss,
        "stale": stale,
    }


def _edges(operation: Operation) -> list[dict[str, str]]:
    system = [{"from": operation.system, "to": operation.output, "name": "system"}]
    inputs = [
        {"from": source, "to": operation.output, "name": name}
        for name, source in operation.inputs.items()
    ]
    found = (system if operation.system else []) + inputs
    return [{k: str(x) for k, x in one.items()} for one in found]


def _page_of(text: str, offset: int) -> dict[str, Any]:
    page = text[offset : offset + WHOLE]
    return {"text": page, "chars": len(text), "offset": offset}


def whole_number(args: Args, name: str, default: int | None = None) -> int:
    """A whole number of at least 0 among the arguments. Raises BadInput."""
    value = args.get(name, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise BadInput(f"{name} must be a whole number, not {value!r}.", "0 is the first.")
    return value


def _versions_of(args: Args, name: str) -> dict[str, int]:
    """A set of versions among the arguments. Raises BadInput."""
    found = args.get(name) or {}
    if not isinstance(found, dict) or not all(
        number(str(v), "v") and isinstance(n, int) and 0 < n < 1 << 40 for v, n in found.items()
    ):
        raise BadInput(f"{name} must be versions by variable.", "Like {'v1': 2}.")
    return found
