"""Two servers on one file, one is killed in the middle of a run: how long until the run is done?

python benchmarks/takeover.py [TIMES]
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from harness import Endpoint, Row, endpoint, scratch, spread
from kills import _prompts, _recorded, _server
from ours import Tools, one_step, start
from servers import _children

SIZE = 32
LATENCY = 0.1
BAR = 15.0


async def _one(at: Endpoint, database: Path, *, asked: bool) -> tuple[float, int]:
    """Seconds from the kill to the end of the run, and how many recorded calls were asked again.

    `asked`: whether a caller waits for the run at the other server.
    """
    with suppress(BaseExceptionGroup):  # the client finds its server gone, as it should
        async with _server(at.url, database) as survivor:
            other = Tools(survivor)
            await other("inspect")
            before = _children()
            with suppress(BaseExceptionGroup):
                async with _server(at.url, database) as client:
                    call = Tools(client)
                    session = await start(call, "judge", SIZE)
                    [pid] = _children() - before
                    step = asyncio.create_task(one_step(call, session, "judge"))
                    while len(_recorded(database)) < SIZE // 2:
                        await asyncio.sleep(0.02)
                    waiting = asyncio.create_task(_ended(other, session, asked=asked))
                    prompts, recorded = _prompts(at.log()), _recorded(database)
                    killed = time.perf_counter()
                    os.kill(pid, signal.SIGKILL)
                    await asyncio.gather(step, return_exceptions=True)
            took = await waiting - killed
            again = set(_prompts(at.log())[len(prompts) :]) & recorded
            return took, len(again)
    raise RuntimeError("the other server failed")


async def _ended(call: Tools, session: str, *, asked: bool) -> float:
    """When the session's run was done."""
    while True:
        if asked:
            found = await call("resume", session_id=session)
            if found["status"] == "done":
                return time.perf_counter()
        runs = (await call("inspect", session_id=session, what="runs"))["view"]["runs"]
        if runs and runs[0]["status"] == "done" and not asked:
            return time.perf_counter()
        await asyncio.sleep(0.05)


def takeover(times: int = 5) -> tuple[list[Row], str]:
    """The rows: unasked, and with a caller who waits."""
    rows = []
    for asked, who in ((False, "nobody asks"), (True, "a caller waits")):
        found = []
        for _ in range(times):
            with scratch() as folder, endpoint(LATENCY) as at:
                found.append(asyncio.run(_one(at, folder / "t.db", asked=asked)))
                print("takeover", who, *found[-1], flush=True)
        seconds = [took for took, _ in found]
        again = sum(repaid for _, repaid in found)
        what = f"`kill -9` to done by another server, {who}"
        rows.append(Row(what, f"< {BAR:g} s", f"{spread(seconds)} s", max(seconds) < BAR))
        rows.append(Row(f"{what}: recorded calls asked again", "0", str(again), again == 0))
    return rows, ""


if __name__ == "__main__":
    for row in takeover(int(sys.argv[1]) if len(sys.argv) > 1 else 5)[0]:
        print(f"{row.what}: {row.figure} (bar {row.bar})")
