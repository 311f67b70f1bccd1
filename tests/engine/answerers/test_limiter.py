"""The limiter: how many calls run at once, and that no slot is ever lost."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from textgrad_mcp.engine.answerers.limiter import Limiter, Limiters


class _Clock(selectors.DefaultSelector):
    """Time that jumps to the next timer instead of passing."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _Clock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` in a loop where waiting takes no time."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(main)


def now() -> float:
    """The running loop's time in seconds."""
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let every task that is ready go on until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.requirement("concurrency")
def test_no_more_calls_run_at_once_than_the_limit() -> None:
    async def main() -> None:
        limiter, seen = Limiter(3), []

        async def call() -> None:
            async with limiter.slot():
                seen.append(limiter.active)
                await asyncio.sleep(1)

        await asyncio.gather(*(call() for _ in range(10)))
        assert max(seen) == 3
        assert now() == 4  # ten calls of one second, three at a time

    run(main())


@pytest.mark.requirement("concurrency")
def test_calls_start_in_the_order_in_which_they_came() -> None:
    async def main() -> None:
        limiter, order = Limiter(2), []

        async def call(number: int) -> None:
            async with limiter.slot():
                order.append(number)
                await asyncio.sleep(1)

        await asyncio.gather(*(call(n) for n in range(20)))
        assert order == list(range(20))

    run(main())


@pytest.mark.requirement("concurrency")
def test_a_wave_of_rejections_halves_the_limit_once_and_never_below_one() -> None:
    async def main() -> None:
        limiter, allowed = Limiter(16), []
        for _ in range(6):
            async with limiter.slot() as wave:
                for _ in range(3):  # three calls of the same wave are turned away
                    limiter.throttled(wave, 0)
            allowed.append(limiter.allowed)
        assert allowed == [8, 4, 2, 1, 1, 1]

    run(main())


@pytest.mark.requirement("concurrency")
def test_each_round_of_successes_raises_the_limit_by_one_up_to_the_most() -> None:
    async def main() -> None:
        limiter = Limiter(4)
        for _ in range(2):
            async with limiter.slot() as wave:
                limiter.throttled(wave, 0)
        after = [limiter.allowed]
        for _ in range(12):
            limiter.succeeded()
            after.append(limiter.allowed)
        assert after[0] == 1
        assert after[-1] == 4
        assert all(0 <= b - a <= 1 for a, b in itertools.pairwise(after))

    run(main())


@pytest.mark.requirement("pauses")
def test_nothing_starts_during_a_hold_and_everything_starts_after_it() -> None:
    async def main() -> None:
        limiter, started = Limiter(4, spread=0.25), []

        async def call() -> None:
            async with limiter.slot():
                started.append(now())

        async with limiter.slot() as wave:
            limiter.throttled(wave, 8.0)
            calls = [asyncio.ensure_future(call()) for _ in range(6)]
            await asyncio.sleep(7.9)
            assert started == []
        await asyncio.gather(*calls)
        assert len(started) == 6
        assert all(8.0 <= at <= 10.0 for at in started)

    run(main())


@pytest.mark.requirement("pauses")
def test_a_longer_hold_replaces_a_shorter_one_and_not_the_other_way_round() -> None:
    async def main() -> None:
        limiter = Limiter(4, spread=0.0)
        async with limiter.slot() as wave:
            limiter.throttled(wave, 5.0)
            limiter.throttled(wave, 9.0)
            limiter.throttled(wave, 1.0)
        async with limiter.slot():
            assert now() == 9.0

    run(main())


@pytest.mark.requirement("concurrency")
def test_a_caller_that_leaves_the_line_gives_its_place_to_the_next() -> None:
    async def main() -> None:
        limiter = Limiter(1)
        done = []

        async def call(name: str) -> None:
            async with limiter.slot():
                done.append(name)

        async with limiter.slot():
            first, second = (asyncio.ensure_future(call(name)) for name in ("first", "second"))
            await settle()
            assert limiter.waiting == 2
            first.cancel()
            await settle()
            assert limiter.waiting == 1
        await second
        assert done == ["second"]

    run(main())


_times = st.integers(0, 30).map(lambda n: n / 2)
_callers = st.lists(st.tuples(_times, _times, st.none() | _times, st.booleans()), max_size=25)


@pytest.mark.requirement("concurrency")
@given(most=st.integers(1, 4), callers=_callers)
@example(most=1, callers=[(0.0, 0.5, 0.5, False), (0.0, 0.0, 0.5, False)])
@settings(max_examples=300, deadline=None)
def test_no_cancellation_at_any_moment_loses_a_slot(
    most: int, callers: list[tuple[float, float, float | None, bool]]
) -> None:
    async def main() -> None:
        limiter = Limiter(most)

        async def call(start: float, length: float, throttled: bool) -> None:
            await asyncio.sleep(start)
            async with limiter.slot() as wave:
                assert limiter.active <= most
                await asyncio.sleep(length)
                if throttled:
                    limiter.throttled(wave, length)
                else:
                    limiter.succeeded()

        loop, tasks = asyncio.get_running_loop(), []
        for start, length, cancelled, throttled in callers:
            tasks.append(asyncio.ensure_future(call(start, length, throttled)))
            if cancelled is not None:
                loop.call_at(cancelled, tasks[-1].cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [o for o in outcomes if isinstance(o, Exception)]
        assert (limiter.active, limiter.waiting) == (0, 0)
        for _ in range(most * most):  # enough successes to be back at the most
            limiter.succeeded()
        await asyncio.gather(*(call(0, 1, False) for _ in range(most)))
        assert limiter.allowed == most

    run(main())


@pytest.mark.requirement("concurrency")
def test_a_cancellation_in_the_moment_of_being_served_passes_the_slot_on() -> None:
    async def main() -> None:
        limiter = Limiter(1)
        ran = []

        async def call(name: str) -> None:
            async with limiter.slot():
                ran.append(name)

        async with limiter.slot():
            served, next_one = (asyncio.ensure_future(call(n)) for n in ("served", "next"))
            await settle()
        served.cancel()  # its turn has come, but it has not run yet
        await asyncio.wait_for(next_one, 5)
        assert ran == ["next"]
        assert limiter.active == 0

    run(main())


@pytest.mark.requirement("concurrency")
def test_callers_of_one_endpoint_and_key_share_a_limiter_and_the_lowest_limit_holds() -> None:
    limiters = Limiters()
    forward = limiters.of("http://a/v1", "key", 8)
    assert limiters.of("http://a/v1/", "key", 4) is forward
    assert limiters.of("http://a/v1", "other key", 4) is not forward
    assert limiters.of("http://b/v1", "key", 4) is not forward
    assert forward.most == 4
    assert forward.allowed == 4
