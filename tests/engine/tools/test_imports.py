"""Imported sessions: what is taken, every tool can work with; the rest is refused by its place."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.engine.tools.imported import check_meaning
from textgrad_mcp.schemas.completions import Completion, CompletionRequest
from textgrad_mcp.schemas.errors import BadInput, EndpointRefused, TextGradError
from textgrad_mcp.server.protocol import report_markdown as report
from textgrad_mcp.server.protocol import resource_views as views

from ...helpers import ME, Scripted, an_engine
from ...server.cli.test_sessions_cli import Line
from ..store.test_transfer import ODD, Document, damaged, exported, worked_on


class Stopping(Scripted):
    """Refuses everything once `left` calls were answered."""

    left = 10**6

    async def answer(self, request: CompletionRequest, record: Any, go: Any) -> Completion | None:
        self.left -= 1
        if self.left < 0:
            raise EndpointRefused("No more.", "")
        return await super().answer(request, record, go)


async def rich(engine: Engine, answerer: Stopping) -> list[Document]:
    """Two exports of a session with all there is: a failed optimisation, then a failed step."""
    s = await worked_on(engine)
    metric = {"output": "v4", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="metric", metric="exact_match", inputs=metric)
    both = {"a": "v5", "b": "v7"}
    await engine.compute_loss(ME, session_id=s, kind="sum", inputs=both, weights={"a": 2.0})
    await engine.forward(
        ME, session_id=s, operation="format", template="{x} {q}", inputs={"x": "v1", "q": "v2"}
    )
    await engine.create_variable(ME, session_id=s, role="examples", demonstrations=2)
    await engine.optimize(ME, session_id=s, strategy="gradient", loss="v5", steps=1, candidates=2)
    await engine.evaluate(ME, session_id=s, loss="v5")
    answerer.left = 6
    failed = await engine.optimize(
        ME, session_id=s, strategy="gradient", loss="v5", steps=4, candidates=2, seed=5
    )
    assert failed.status == "failed"
    first = await exported(engine.store, s)
    answerer.left = 10**6
    await engine.backward(ME, session_id=s, losses=["v5"])
    answerer.left = 0
    failed = await engine.step(ME, session_id=s, accept="if_better", candidates=3)
    assert failed.status == "failed"
    return [first, await exported(engine.store, s)]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    async def main() -> list[Document]:
        answerer = Stopping()
        async with an_engine(answerer) as engine:
            return await rich(engine, answerer)

    return asyncio.run(main())


def failed_run(document: Document) -> Document:
    """The run that can be resumed."""
    found: Document = next(run for run in document["runs"] if run["status"] == "failed")
    return found


async def imported(document: Document, then: Callable[[Engine, str], Any] | None = None) -> None:
    """Import a document into an engine of its own."""
    async with an_engine(Scripted()) as engine:
        try:
            s = await engine.store.export.import_session("local", document, check_meaning)
        except BadInput:
            assert await engine.store.maintenance.every_session() == []
            raise
        if then is not None:
            await then(engine, s)


TOOLS: list[tuple[str, dict[str, Any]]] = [
    *(("inspect", {"what": what}) for what in ("session", "graph", "gradients", "steps")),
    *(("inspect", {"what": what}) for what in ("examples", "runs", "calls", "report")),
    *(("inspect", {"id": one}) for one in ("v1", "v4", "v1@1..2", "c1", "g1", "p1", "e1", "op1")),
    ("resume", {}),
    ("resume", {"cancel": True}),
    ("forward", {}),
    ("backward", {"losses": ["v5"]}),
    ("step", {}),
    ("evaluate", {"loss": "v5"}),
    ("optimize", {"loss": "v5", "steps": 1}),
    ("revert", {"variable": "v1", "version": 1}),
]


async def used(engine: Engine, s: str) -> None:
    """Call every tool on a session: each does its work, or says in words why not."""
    for tool, arguments in TOOLS:
        with suppress(TextGradError):
            await getattr(engine, tool)(Caller(deadline=30), session_id=s, **arguments)
    session = await engine.store.sessions.get(s, "local")
    await report.report(engine.store, session)
    for view in (views.session, views.mermaid, views.gradients, views.steps, views.runs):
        await view(engine.store, session)
    assert await engine.store.maintenance.check() == []


def places_in(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*where, key)
        if isinstance(item, dict | list):
            yield from places_in(item, (*where, key))


def changed(
    document: Document, where: tuple[Any, ...], make: Callable[[Any, Any], None]
) -> Document:
    """A copy in which what is at `where` was changed: `make` is given its parent and its key."""
    bad = copy.deepcopy(document)
    parent: Any = bad
    for key in where[:-1]:
        parent = parent[key]
    make(parent, where[-1])
    return bad


@pytest.mark.requirement("export", "any-arguments")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_changed_no_tool_fails_without_words(
    documents: list[Document], data: st.DataObject
) -> None:
    document = documents[data.draw(st.sampled_from([0, 1]))]
    table = data.draw(st.sampled_from(["variables", "operations", "gradients", "steps", "runs"]))
    places = [w for w in places_in(document) if w[0] == table and len(w) > 2]
    where = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from(places))
    how = data.draw(st.sampled_from(["odd", "missing", "another's"]))
    odd = data.draw(st.sampled_from([*ODD, "v5", ["v5"], "e1", {"v1": "x"}, 1e18, [[]]]))

    def make(parent: Any, key: Any) -> None:
        if how == "missing":
            del parent[key]
        else:
            parent[key] = copy.deepcopy(odd if how == "odd" else found)

    found: Any = document
    for key in other:
        found = found[key]
    with suppress(BadInput):
        asyncio.run(imported(changed(document, where, make), used))


@pytest.mark.requirement("export")
def test_an_unchanged_session_is_taken_and_every_tool_works(documents: list[Document]) -> None:
    for document in documents:
        asyncio.run(imported(document, used))


def at(*where: Any, value: Any) -> Callable[[Document], object]:
    """A change: put `value` there; a text with `run` at its start means the run that failed."""

    def change(document: Document) -> None:
        target: Any = document
        for key in where[:-1]:
            target = failed_run(document) if key == "the run" else target[key]
        target[where[-1]] = value

    return change


MEMBER = {"name": "n", "texts": {}, "scores": [0.5]}
WRONG: dict[str, tuple[Callable[[Document], object], str]] = {
    "an example's field is a number": (
        at("examples", 0, "fields", "q", value=5),
        "examples.0.fields.q",
    ),
    "a field without a name in use": (
        at("variables", 1, "field", value=""),
        "field of variable v2",
    ),
    "a constraint that is a number": (
        at("variables", 0, "constraints", value=[3]),
        "variables.0.constraints.0",
    ),
    "a constraint that is unknown": (at("variables", 0, "constraints", value=["nope=3"]), "v1"),
    "a leaf without a text": (at("variables", 0, "value", value=None), "v1"),
    "an output with a text": (at("variables", 3, "value", value="x"), "v4"),
    "examples that do not fit": (at("variables", 4, "per_example", value=0), "per_example of.*v5"),
    "a right answer that a model reads": (
        at("operations", 0, "inputs", value={"q": 3}),
        "op1 reads v3|v4 does not fit",
    ),
    "an input that is an object": (
        at("operations", 0, "inputs", "q", value={}),
        "operations.0.inputs",
    ),
    "an input that is a fraction": (at("operations", 0, "inputs", "q", value=2.0), "operations.0"),
    "a judge without instruction": (at("operations", 1, "spec", value={}), "operation op2"),
    "a metric that is unknown": (
        at("operations", 2, "spec", "metric", value="nope"),
        "operation op3",
    ),
    "a sum of no losses": (at("operations", 3, "inputs", value={"a": 4}), "op4 adds up"),
    "a template without its input": (at("operations", 4, "spec", value={"template": "x"}), "op5"),
    "an infinite weight": (
        at("operations", 3, "spec", "weights", "a", value=float("inf")),
        "operations.3.spec.weights.a",
    ),
    "a score beyond all": (at("cells", 0, "score", value=1e308), "cells.0.score"),
    "gradients that are lists": (
        at("proposals", 0, "gradients", value=[[]]),
        "proposals.0.gradients.0",
    ),
    "a gradient on no example": (at("gradients", 0, "batch", value=["e99"]), "gradients.batch"),
    "a call too few": (at("session", "used_calls", value=0), "session.used_calls"),
    "a batch with one twice": (at("session", "batch", value=[1, 1]), "session.batch"),
    "a run without its losses": (at("the run", "args", value={}), "runs.*args"),
    "a run on what is no loss": (at("the run", "args", "losses", value=["v1"]), "args.losses.*v1"),
    "a goal that is a text": (at("the run", "args", "goal", value="x"), "args.goal"),
    "steps beyond all": (at("the run", "args", "steps", value=10**9), "steps must be between"),
    "repeats of nothing": (at("the run", "args", "repeats", value=0), "args.repeats|repeats must"),
    "a pool of nothing": (
        at("the run", "state", value={"pool": {"members": []}, "before": [1]}),
        "state.pool.members",
    ),
    "a pool without its beginning": (
        at("the run", "state", value={"pool": {"members": [MEMBER]}}),
        "before",
    ),
    "a pool that is on nobody": (
        at(
            "the run", "state", value={"pool": {"members": [MEMBER], "current": 7}, "before": [0.1]}
        ),
        "pool.current",
    ),
    "a pool of texts for an output": (
        at(
            *("the run", "state"),
            value={"pool": {"members": [MEMBER | {"texts": {"v4": "x"}}]}, "before": [0.1]},
        ),
        "state.pool.*v4",
    ),
    "a result that is none": (at("runs", 0, "result", value={"values": 3}), "runs.0.result"),
    "a done run without result": (at("runs", 0, "result", value=None), "runs.0.result"),
    "notes that are numbers": (at("runs", 0, "args", "notes", value=[3]), "runs.0.args.notes"),
    "a reply without its end": (at("calls", 0, "finish", value=None), "reply to call c1.*finish"),
    "an id beyond all": (at("examples", 0, "n", value=10**12), "examples.0.n"),
    "a number of 0": (at("steps", 0, "n", value=0), "steps.0.n"),
}


@pytest.mark.requirement("export")
@pytest.mark.parametrize("what", WRONG)
def test_what_no_tool_could_use_is_refused_with_its_place(
    documents: list[Document], what: str
) -> None:
    change, where = WRONG[what]
    with pytest.raises(BadInput, match=where) as refused:
        asyncio.run(imported(damaged(documents[0], change)))
    assert "Nothing was imported" in refused.value.message
    assert len(refused.value.message) < 500


@pytest.mark.requirement("export")
@pytest.mark.parametrize("deep", [["x"], {"x": 1}])
def test_what_is_nested_without_end_is_refused(documents: list[Document], deep: Any) -> None:
    for _ in range(400):
        deep = [deep]
    with pytest.raises(BadInput, match="nested too deep"):
        asyncio.run(imported(damaged(documents[0], at("the run", "state", value={"x": deep}))))


@pytest.mark.requirement("export", "one-reply")
def test_a_reply_with_a_nul_is_imported_without_it_and_not_asked_again(
    documents: list[Document],
) -> None:
    document = copy.deepcopy(documents[0])
    first = document["calls"][0]
    first["text"] = f"{first['text']}\0"
    quoting = copy.deepcopy(first) | {"n": 10**6, "text": "mended", "run": None}
    quoting["request"]["messages"].append({"role": "assistant", "content": first["text"]})
    quoting["key"] = CompletionRequest.model_validate(quoting["request"]).key
    document["calls"].append(quoting)
    document["session"]["used_calls"] += 1

    async def look(engine: Engine, s: str) -> None:
        pk = (await engine.store.sessions.get(s, "local")).pk
        again = await exported(engine.store, s)
        kept = [call["text"] for call in again["calls"] if call["n"] == 1]
        assert kept == [first["text"].replace("\0", "\ufffd")]
        asked = CompletionRequest.model_validate(quoting["request"]).messages[-1]
        request = CompletionRequest.model_validate(quoting["request"]).model_copy(
            update={
                "messages": (
                    *CompletionRequest.model_validate(first["request"]).messages,
                    asked.model_copy(update={"content": kept[0]}),
                )
            }
        )
        known = await engine.store.calls.answered(pk, request.key)
        assert known is not None
        assert known.text == "mended"
        assert await engine.store.maintenance.check() == []

    asyncio.run(imported(document, look))


@pytest.mark.requirement("export")
def test_the_command_says_where_a_file_is_wrong(
    documents: list[Document], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line(tmp_path / "t.db", capsys)
    line.make()
    bad = damaged(documents[0], at("operations", 2, "spec", value={}))
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    said = line("sessions", "import", tmp_path / "bad.json", code=2)
    assert "operation op3" in said
    (tmp_path / "good.json").write_text(json.dumps(documents[0]))
    assert documents[0]["id"] in line("sessions", "import", tmp_path / "good.json")
    (tmp_path / "huge.json").write_text(
        json.dumps(documents[0]).replace('"n": 1,', '"n": 1e999,', 1)
    )
    assert "no ordinary number" in line("sessions", "import", tmp_path / "huge.json", code=2)
