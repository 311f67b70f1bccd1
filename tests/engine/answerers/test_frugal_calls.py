"""What a call to an endpoint costs besides the wait: counted, not timed."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer

from ...helpers import printed_by
from ...standin import StandIn
from .test_openai_answerer import asking, settings, unrecorded, using


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """What the profiler of this thread saw as long as the block lasts: each "call" and the rest."""
    events: Counter[str] = Counter()
    sys.setprofile(lambda _frame, event, _: events.update([event]))
    try:
        yield events
    finally:
        sys.setprofile(None)


def functions_a_call(together: int) -> float:
    """Functions entered for each of `together` calls on connections that are open already."""

    async def work(answerer: OpenAIAnswerer) -> int:
        async def wave() -> None:
            await asyncio.gather(*(answerer.answer(asking(), unrecorded) for _ in range(together)))

        await wave()
        with counted() as events:
            await wave()
        return events["call"]

    with StandIn(latency=0.3) as server:
        entered: int = using(OpenAIAnswerer(settings(server, concurrency=together)), work)
        assert server.most_in_flight == together
    return entered / together


def test_the_work_for_a_call_does_not_grow_with_the_connections() -> None:
    assert functions_a_call(64) < 1.2 * functions_a_call(4)


def test_the_collector_does_not_go_through_what_was_imported() -> None:
    code = (
        "import gc\n"
        "from tests.engine.answerers.test_openai_answerer import answers, asking\n"
        "from tests.standin import StandIn\n"
        "with StandIn() as server:\n"
        "    answers(server, asking())\n"
        "print(len(gc.get_objects()), gc.get_freeze_count())"
    )
    walked, kept = map(int, printed_by(code).split())
    assert walked < kept / 5, (walked, kept)
