"""The wavefront: every node once, after what it needs; failures hold back only what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.runs.schedule import NotYet, gather, raise_first, wavefront
from textgrad_mcp.schemas.errors import EndpointDown, ReplyError

Graph = dict[int, list[int]]


@st.composite
def dags(draw: st.DrawFn) -> Graph:
    """Random DAGs in a random order of nodes."""
    size = draw(st.integers(0, 12))
    graph = {n: draw(st.lists(st.integers(0, n - 1), max_size=4)) if n else [] for n in range(size)}
    order = draw(st.permutations(list(graph)))
    return {n: graph[n] for n in order}


@settings(max_examples=60, deadline=None, database=None)
@given(dags(), st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11)))
def test_each_node_is_computed_once_after_its_needs_unless_one_of_them_failed(
    graph: Graph, slow: set[int], broken: set[int]
) -> None:
    done: list[int] = []

    async def later(node: int) -> None:
        await asyncio.sleep(0)
        finish(node)

    def finish(node: int) -> None:
        if node in broken:
            raise ValueError(node)
        done.append(node)

    def compute(node: int) -> Awaitable[None] | None:
        assert all(need in done for need in graph[node])
        if node in slow:
            return later(node)
        finish(node)
        return None

    failed = asyncio.run(wavefront(graph, compute))
    held_back: set[int] = set()
    for node in sorted(graph):
        if node in broken or held_back & set(graph[node]):
            held_back.add(node)
    assert sorted(done) == sorted(set(graph) - held_back)
    assert set(failed) == {n for n in broken & set(graph) if not held_back & set(graph[n])}


@pytest.mark.requirement("no-cycles")
@pytest.mark.parametrize("slow", [False, True])
def test_a_chain_of_five_thousand_nodes_needs_no_stack(slow: bool) -> None:
    done: list[int] = []

    async def later(node: int) -> None:
        done.append(node)

    def compute(node: int) -> Awaitable[None] | None:
        if slow:
            return later(node)
        done.append(node)
        return None

    chain = {n: [n - 1] if n else [] for n in reversed(range(5000))}
    assert asyncio.run(wavefront(chain, compute)) == {}
    assert done == list(range(5000))


@pytest.mark.requirement("at-once")
def test_what_is_ready_runs_at_once() -> None:
    async def main() -> int:
        everyone = asyncio.Barrier(50)

        async def meet() -> None:
            await everyone.wait()

        async with asyncio.timeout(5):
            await wavefront({n: [] for n in range(50)}, lambda _: meet())
        return everyone.n_waiting

    assert asyncio.run(main()) == 0


def running(fails: Callable[[int], BaseException | None], graph: Graph) -> tuple[list[int], Graph]:
    """Nodes begun, and failures, where `fails` says what each node raises."""
    begun: list[int] = []

    async def work(node: int) -> None:
        begun.append(node)
        await asyncio.sleep(0)
        error = fails(node)
        if error is not None:
            raise error

    failed = asyncio.run(wavefront(graph, work))
    return begun, {node: [] for node in failed}


def test_one_that_is_not_there_yet_holds_back_only_what_needs_it() -> None:
    graph: Graph = {0: [], 1: [0], 2: [], 3: [2]}
    begun, failed = running(lambda n: NotYet() if n == 0 else None, graph)
    assert sorted(begun) == [0, 2, 3]
    assert list(failed) == [0]


@pytest.mark.requirement("fatal-stops")
def test_after_a_fatal_error_nothing_new_starts_but_what_runs_is_waited_for() -> None:
    graph: Graph = {0: [], 1: [], 2: [1]}
    begun, failed = running(lambda n: EndpointDown("down") if n == 0 else None, graph)
    assert begun == [0, 1]
    assert list(failed) == [0]


def test_a_fatal_error_in_pure_work_stops_it_too() -> None:
    begun: list[int] = []

    def compute(node: int) -> None:
        begun.append(node)
        raise EndpointDown("down")

    asyncio.run(wavefront({0: [], 1: []}, compute))
    assert begun == [0]


def test_cancelled_it_cancels_what_is_under_way() -> None:
    async def main() -> list[str]:
        log: list[str] = []
        begun = asyncio.Event()

        async def work(node: int) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                log.append(f"cancelled {node}")
                raise

        task = asyncio.create_task(wavefront({0: [], 1: []}, work))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return log

    assert sorted(asyncio.run(main())) == ["cancelled 0", "cancelled 1"]


def test_the_error_that_matters_most_is_raised() -> None:
    fatal, plain = EndpointDown("down"), ReplyError("bad")
    with pytest.raises(EndpointDown):
        raise_first({"a": NotYet(), "b": plain, "c": fatal})
    with pytest.raises(ReplyError):
        raise_first({"a": NotYet(), "b": plain})
    with pytest.raises(NotYet):
        raise_first({"a": NotYet()})
    raise_first({})


def test_gather_gives_results_in_order_and_runs_all_to_their_end() -> None:
    async def main() -> tuple[list[int], list[int]]:
        ended: list[int] = []

        async def job(n: int) -> int:
            for _ in range(5 - n):
                await asyncio.sleep(0)
            ended.append(n)
            if n == 3:
                raise NotYet
            return n

        results = await gather([job(n) for n in range(3)])
        with pytest.raises(NotYet):
            await gather([job(n) for n in range(5)])
        return results, ended

    results, ended = asyncio.run(main())
    assert results == [0, 1, 2]
    assert sorted(ended[3:]) == [0, 1, 2, 3, 4]
