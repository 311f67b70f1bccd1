"""What the resources show: a session and its parts as JSON, Mermaid, Markdown or plain text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from ..schemas.errors import NotFound
from ..schemas.graph import Operation, Session, Variable, Version, number
from .mermaid import flowchart

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ..engine.engine import Engine
    from ..engine.store import Store

MOST = 1000
"""Entries in a list, the newest kept; `truncated` says when there were more."""

GRAPH_SCHEMA = "textgrad://schemas/graph"
ROOT = "textgrad://sessions"


class GraphView(BaseModel):
    """A session's program: its variables and the operations that make outputs from them."""

    session_id: str
    variables: list[Variable] = Field(default_factory=list)
    operations: list[Operation] = Field(default_factory=list)
    truncated: bool = False


def as_json(data: Any) -> str:
    """`data` as indented JSON."""
    return json.dumps(data, ensure_ascii=False, indent=2)


def _newest(key: str, items: list[Any], **more: Any) -> str:
    """A list that was read with one entry too many, to see whether there are more."""
    return as_json({**more, key: items[:MOST], "truncated": len(items) > MOST})


async def sessions(store: Store, owner: str) -> str:
    """The owner's sessions, the last used first."""
    found = await store.sessions(owner, MOST + 1)
    lines = [
        {
            "uri": f"{ROOT}/{s.id}",
            "session_id": s.id,
            "title": s.title,
            "created": s.created,
            "updated": s.updated,
            "calls": s.used_calls,
        }
        for s in found
    ]
    return _newest("sessions", lines)


async def session(store: Store, one: Session) -> str:
    """One session: what is in it, what it has cost, and where to read on."""
    run = await store.active_run(one.pk, one.id)
    variables = list(await store.variables(one.pk, limit=MOST + 1))
    uri = f"{ROOT}/{one.id}"
    parts = ("graph", "graph.mmd", "gradients", "steps", "runs", "calls", "report")
    return as_json(
        {
            "session_id": one.id,
            "title": one.title,
            "created": one.created,
            "updated": one.updated,
            "examples": await store.split_sizes(one.pk),
            "active_run": run[0].model_dump(include={"id", "tool", "status"}) if run else None,
            "used": {
                "calls": one.used_calls,
                "tokens": one.used_tokens,
                "cost": round(one.used_cost, 6),
            },
            "parts": [f"{uri}/{part}" for part in parts],
            "variables": [f"{uri}/variables/{v}" for v in variables[:MOST]],
            "truncated": len(variables) > MOST,
        }
    )


async def _graph(store: Store, one: Session) -> GraphView:
    variables = await store.variables(one.pk, limit=MOST + 1)
    operations = await store.operations(one.pk, limit=MOST + 1)
    kept = list(variables.values())[:MOST]
    known = {v.id for v in kept}
    return GraphView(
        session_id=one.id,
        variables=kept,
        operations=[o for o in operations if known.issuperset([*o.sources, o.output])],
        truncated=max(len(variables), len(operations)) > MOST,
    )


async def graph(store: Store, one: Session) -> str:
    """The program as JSON, with the address of its JSON schema."""
    view = await _graph(store, one)
    return as_json({"$schema": GRAPH_SCHEMA, **view.model_dump(mode="json", exclude_none=True)})


def graph_schema() -> str:
    """The JSON schema of `graph`."""
    schema = GraphView.model_json_schema()
    schema["properties"]["$schema"] = {"type": "string"}
    return as_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


async def mermaid(store: Store, one: Session) -> str:
    """The program as a Mermaid flowchart."""
    view = await _graph(store, one)
    return flowchart(view.variables, view.operations)


async def variable(store: Store, one: Session, variable: str) -> str:
    """A variable whole, with its versions, newest first. Raises NotFound."""
    found = await _variable(store, one, variable)
    versions = await store.versions(one.pk, variable, MOST + 1) if found.is_leaf else []
    uri = f"{ROOT}/{one.id}/variables/{variable}/versions"
    lines = [
        v.model_dump(exclude={"text", "variable"}, exclude_none=True)
        | {"uri": f"{uri}/{v.version}", "chars": len(v.text)}
        for v in versions
    ]
    return _newest("versions", lines, **found.model_dump(mode="json", exclude_none=True))


async def version(store: Store, one: Session, variable: str, version: str) -> str:
    """The text of one version. Raises NotFound."""
    return (await _version(store, one, variable, version)).text


async def changes(engine: Engine, one: Session, variable: str, old: str, new: str) -> str:
    """A unified diff between two versions; empty when they are the same.

    Raises NotFound, TooLong.
    """
    before = await _version(engine.store, one, variable, old)
    after = await _version(engine.store, one, variable, new)
    return await engine.difference(one, before, after)


async def gradients(store: Store, one: Session) -> str:
    """Every gradient with where it came from, the oldest first."""
    found = await store.gradients(one.pk, unspent=False, limit=MOST + 1)
    lines = [g.model_dump(exclude_none=True) for g in found]
    return as_json({"gradients": lines[-MOST:], "truncated": len(found) > MOST})


async def steps(store: Store, one: Session) -> str:
    """Steps and what each proposed, the newest first, with verdicts and scores."""
    proposals = await store.proposals(one.pk, limit=MOST + 1)
    lines = [p.model_dump(exclude_none=True) for p in proposals[:MOST]]
    more = {"proposals": lines, "proposals_truncated": len(proposals) > MOST}
    return _newest("steps", await store.steps(one.pk, MOST + 1), **more)


async def runs(store: Store, one: Session) -> str:
    """The calls of tools that needed completions, the newest first."""
    return _newest("runs", await store.runs(one.pk, MOST + 1))


async def calls(store: Store, one: Session) -> str:
    """Completions asked for, the newest first, and what they cost by purpose."""
    found = await store.calls(one.pk, MOST + 1)
    return _newest("calls", found, usage=await store.usage(one.pk))


async def _variable(store: Store, one: Session, name: str) -> Variable:
    found = await store.variables(one.pk, [name]) if number(name, "v") else {}
    if name not in found:
        raise NotFound(f"There is no variable {name!r} in this session.", "The graph lists them.")
    return found[name]


async def _version(store: Store, one: Session, name: str, n: str) -> Version:
    await _variable(store, one, name)
    wanted = number(f"v{n}", "v") or 0
    found = await store.version(one.pk, name, wanted) if str(wanted) == n else None
    if found is None:
        raise NotFound(f"{name} has no version {n!r}.", "Its versions are listed beside it.")
    return found
