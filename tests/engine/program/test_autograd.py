"""The mechanical oracle: each parameter's feedback must hold exactly the graph's paths to it.

A stand-in for the critic answers in labels: a loss says its own name, and feedback on an input is
every label in the feedback on the output with the input's name added. What arrives at a parameter
is then the set of paths from the losses to it, to be compared with the paths counted by hand.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store import adding
from textgrad_mcp.schemas.completions import CompletionRequest, Purpose
from textgrad_mcp.schemas.graph import Kind, Operation, Variable
from textgrad_mcp.schemas.results import BackwardResult, ForwardResult, Result

from ...helpers import ME, Scripted, an_engine, made

EXAMPLES = ("e1", "e2", "e3")
LABEL = re.compile("⟨[^⟩]*⟩")


def paths_reply(request: CompletionRequest) -> str:
    """What the label-writing critic says; other replies are arbitrary."""
    if request.purpose is Purpose.JUDGE:
        loss, *place = re.findall(r"\b[ve]\d+", request.about)
        return json.dumps({"feedback": f"⟨{' '.join([*place, loss])}⟩"})
    if request.purpose is Purpose.GRADIENT:
        assert request.reply is not None
        return json.dumps({key: _pass_on(request, key) for key in request.reply["properties"]})
    return f"output {request.key}"


def _pass_on(request: CompletionRequest, key: str) -> str:
    source, _, place = key.partition(" ")
    sections = re.split(r"^Example (e\d+):$", request.prompt, flags=re.MULTILINE)
    by_place = dict(zip(sections[1::2], sections[2::2], strict=True)) or {"": request.prompt}
    labels: list[str] = []
    for example, section in by_place.items():
        if place in ("", example):
            for said in re.findall(r"<feedback-\w+>(.*?)</feedback-", section, re.DOTALL):
                labels += LABEL.findall(said)
    return " ".join(dict.fromkeys(f"{label[:-1]} {source}⟩" for label in labels))


@dataclass
class Node:
    """An operation of a drawn graph: its kind, and its inputs and system as variable ids."""

    kind: str
    inputs: list[str]
    system: str | None = None
    name: str = ""


@dataclass
class Graph:
    """A drawn program: leaves come first (parameters, constants, fields), then operations."""

    parameters: int
    fields: int
    nodes: list[Node]
    losses: list[str] = field(default_factory=list)

    @property
    def leaves(self) -> list[str]:
        """The leaves' ids: parameters, one constant, fields."""
        return [f"v{i + 1}" for i in range(self.parameters + 1 + self.fields)]

    def made_by(self, variable: str) -> Node | None:
        """The operation behind a variable."""
        index = int(variable[1:]) - len(self.leaves) - 1
        return self.nodes[index] if index >= 0 else None

    def is_parameter(self, variable: str) -> bool:
        """Whether it is to be improved."""
        return int(variable[1:]) <= self.parameters

    def per_example(self, variable: str) -> bool:
        """Whether it has a value for each example."""
        node = self.made_by(variable)
        if node is None:
            return int(variable[1:]) > self.parameters + 1
        return any(self.per_example(v) for v in sources_of(node))


def sources_of(node: Node) -> list[str]:
    """What an operation reads, each once."""
    return list(dict.fromkeys([*([node.system] if node.system else []), *node.inputs]))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Small programs with diamonds, fan-out, shared leaves and detached parts."""
    graph = Graph(draw(st.integers(1, 3)), draw(st.integers(0, 1)), [])
    known = graph.leaves
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["llm", "llm", "format", "external"]))
        inputs = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        system = draw(st.none() | st.sampled_from(known)) if kind == "llm" else None
        graph.nodes.append(Node(kind, inputs, system))
        known = [*known, f"v{len(known) + 1}"]
    for _ in range(draw(st.integers(1, 2))):
        judged = draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))
        loss = f"v{len(graph.leaves) + len(graph.nodes) + 1}"
        graph.nodes.append(Node("judge", judged, name=loss))
        graph.losses.append(loss)
    return graph


def expected(graph: Graph, *, exact: bool) -> dict[str, set[str]]:
    """Every path from a loss to each parameter, by plain recursion, as labels."""
    found: dict[str, set[str]] = {}

    def walk(variable: str, label: str) -> None:
        node = graph.made_by(variable)
        if node is None:
            if graph.is_parameter(variable):
                found.setdefault(variable, set()).add(f"⟨{label}⟩")
            return
        asked = exact or node.kind in ("llm", "external")
        for source in sources_of(node):
            walk(source, f"{label} {source}" if asked else label)

    for loss in graph.losses:
        for place in EXAMPLES if graph.per_example(loss) else [""]:
            walk(loss, f"{place} {loss}".strip())
    return found


async def build(engine: Engine, graph: Graph) -> str:
    """The session that holds `graph`."""
    first = await engine.create_variable(ME, role="parameter 1", value="text 1")
    s = first.session_id or ""
    for i in range(1, graph.parameters):
        await engine.create_variable(ME, session_id=s, role=f"p{i}", value=f"text {i + 1}")
    await engine.create_variable(ME, session_id=s, role="c", value="C", requires_grad=False)
    for i in range(graph.fields):
        await engine.create_variable(ME, session_id=s, role="a field", example_field=f"f{i}")
    for node in graph.nodes:
        await _add(engine, s, node)
    data = [{"f0": f"row {example}"} for example in EXAMPLES]
    await engine.add_examples(ME, session_id=s, split="train", examples=data)
    return s


async def _add(engine: Engine, s: str, node: Node) -> None:
    inputs = {f"in{i}": v for i, v in enumerate(node.inputs)}
    common: dict[str, Any] = {"session_id": s, "inputs": inputs}
    template = " ".join(f"{{{name}}}" for name in inputs)
    if node.kind == "judge":
        result = await engine.compute_loss(
            ME, kind="judge", instruction=f"judge {node.name}", graded=False, **common
        )
    elif node.kind == "external":
        result = await engine.forward(ME, operation="external", function="a black box", **common)
    else:
        result = await engine.forward(
            ME, operation=node.kind, system=node.system, template=template, **common
        )
    await finished(engine, result)


async def finished(engine: Engine, result: Result) -> Result:
    """The result at last; external functions are run by hand where that is asked."""
    while result.status == "needs_completions":
        given = {p.id: f"ran {crc32(p.prompt.encode())}" for p in result.pending or []}
        result = await engine.resume(ME, session_id=result.session_id or "", completions=given)
    return result


async def gone_backward(engine: Engine, s: str, graph: Graph, **options: Any) -> BackwardResult:
    """The result of a whole backward pass."""
    begun = await engine.backward(ME, session_id=s, losses=graph.losses, **options)
    result = await finished(engine, begun)
    assert isinstance(result, BackwardResult), result
    assert result.status == "done", result.error
    return result


async def labels_in(engine: Engine, s: str) -> dict[str, set[str]]:
    """The labels that arrived at each parameter, whole and not as shown."""
    session = await engine.store.sessions.get(s, "local")
    found: dict[str, set[str]] = {}
    for gradient in await engine.store.history.gradients(session.pk):
        found.setdefault(gradient.variable, set()).update(LABEL.findall(gradient.text))
    return found


def reaches_a_parameter(graph: Graph) -> bool:
    """Whether there is anything to give feedback on."""
    return bool(expected(graph, exact=True))


drawn = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@pytest.mark.requirement("exact-gradients")
@pytest.mark.parametrize("exact", [False, True], ids=["shared", "exact"])
@pytest.mark.parametrize("group_size", [8, 2])
def test_the_feedback_on_each_parameter_holds_exactly_the_paths_to_it(
    exact: bool, group_size: int
) -> None:
    @drawn
    @given(graphs().filter(reaches_a_parameter))
    def check(graph: Graph) -> None:
        async def main() -> None:
            labels = an_engine(
                Scripted(paths_reply), group_size=group_size, prompt_budget=1_000_000
            )
            async with labels as engine:
                s = await build(engine, graph)
                await gone_backward(engine, s, graph, exact=exact)
                assert await labels_in(engine, s) == expected(graph, exact=exact)

        asyncio.run(main())

    check()


@drawn
@given(graphs().filter(reaches_a_parameter))
def test_running_backward_again_costs_nothing_and_doubles_nothing(graph: Graph) -> None:
    async def main() -> None:
        critic = Scripted(paths_reply)
        async with an_engine(critic) as engine:
            s = await build(engine, graph)
            first = await gone_backward(engine, s, graph)
            asked = len(critic.asked)
            second = await gone_backward(engine, s, graph)
            assert len(critic.asked) == asked
            assert [g.text for g in second.gradients] == [g.text for g in first.gradients]

    asyncio.run(main())


@pytest.mark.requirement("repeatable")
@drawn
@given(graphs().filter(reaches_a_parameter))
def test_identical_runs_write_identical_prompts(graph: Graph) -> None:
    async def prompts() -> list[str]:
        critic = Scripted(paths_reply)
        async with an_engine(critic) as engine:
            await gone_backward(engine, await build(engine, graph), graph)
        return sorted(request.key for request in critic.asked)

    assert asyncio.run(prompts()) == asyncio.run(prompts())


@pytest.mark.requirement("asked-once")
@drawn
@given(graphs().filter(reaches_a_parameter))
def test_no_request_is_ever_asked_twice(graph: Graph) -> None:
    async def main() -> None:
        critic = Scripted(paths_reply)
        async with an_engine(critic) as engine:
            s = await build(engine, graph)
            await gone_backward(engine, s, graph)
            await gone_backward(engine, s, graph, exact=True)
        keys = [request.key for request in critic.asked]
        assert len(keys) == len(set(keys))

    asyncio.run(main())


async def chain(engine: Engine, depth: int) -> str:
    """A session with the seed v1 and `depth` templates, each reading the one before."""
    v = await engine.create_variable(ME, role="seed", value="x")
    session = await engine.store.sessions.get(v.session_id or "", "local")
    for n in range(1, depth + 1):
        operation = Operation(
            id="", kind="format", output="", inputs={"x": f"v{n}"}, spec={"template": "{x}."}
        )
        output = Variable(id="", kind=Kind.OUTPUT, role="longer")
        add = adding(session.pk, operation, output, None)
        await engine.store.db.write(add)
    return session.id


@pytest.mark.parametrize("exact", [False, True], ids=["shared", "exact"])
def test_a_chain_of_two_thousand_operations_does_not_recurse(exact: bool) -> None:
    async def main() -> None:
        depth, critic = 2000, Scripted()
        async with an_engine(critic, soft_deadline=600) as engine:
            s = await chain(engine, depth)
            computed = await engine.forward(ME, session_id=s)
            assert isinstance(computed, ForwardResult)
            assert len(computed.recomputed) == depth
            inputs = {"x": f"v{depth + 1}"}
            loss = await engine.compute_loss(
                ME, session_id=s, kind="judge", inputs=inputs, instruction="i"
            )
            result = await engine.backward(ME, session_id=s, losses=[made(loss)], exact=exact)
            assert isinstance(result, BackwardResult)
            assert len(result.gradients) == 1
            assert len(critic.asked) == (1 + depth + 1 if exact else 1)

    asyncio.run(main())
