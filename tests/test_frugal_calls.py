"""What a call to an endpoint costs besides the wait: counted, not timed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer

from .standin import StandIn
from .test_openai_answerer import asking, settings, unrecorded, using


class Calls:
    """How many Python functions were entered."""

    entered = 0


@contextmanager
def counted() -> Iterator[Calls]:
    """Counts in this thread, as long as the block lasts."""
    calls = Calls()

    def seen(_frame: object, event: str, _: object) -> None:
        calls.entered += event == "call"

    sys.setprofile(seen)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def functions_a_call(together: int) -> float:
    """Functions entered for each of `together` calls on connections that are open already."""

    async def work(answerer: OpenAIAnswerer) -> int:
        async def wave() -> None:
            await asyncio.gather(*(answerer.answer(asking(), unrecorded) for _ in range(together)))

        await wave()
        with counted() as calls:
            await wave()
        return calls.entered

    with StandIn(latency=0.3) as server:
        entered: int = using(OpenAIAnswerer(settings(server, concurrency=together)), work)
        assert server.most_in_flight == together
    return entered / together


def test_the_work_for_a_call_does_not_grow_with_the_connections() -> None:
    assert functions_a_call(64) < 1.2 * functions_a_call(4)


def test_the_collector_does_not_go_through_what_was_imported() -> None:
    code = (
        "import gc\n"
        "from tests.test_openai_answerer import answers, asking\n"
        "from tests.standin import StandIn\n"
        "with StandIn() as server:\n"
        "    answers(server, asking())\n"
        "print(len(gc.get_objects()), gc.get_freeze_count())"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    walked, kept = map(int, done.stdout.split())
    assert walked < kept / 5, (walked, kept)
