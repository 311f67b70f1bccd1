"""A run on 64 examples that is killed at random points: what is paid for twice?"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

from harness import Endpoint, Row, endpoint, scratch
from mcp import Client, StdioServerParameters
from ours import Tools, one_step, start
from servers import START, _children

LIMIT = 16
"""Calls that the endpoint's settings let be under way at once."""

SIZE = 64
LATENCY = 0.05


def _server(url: str, database: Path) -> Client:
    import sys

    arguments = ["-c", START, "--database", str(database), "--answerer", "openai"]
    arguments += ["--base-url", url, "--model", "stand-in"]
    started = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
    return Client(started)


def _prompts(log: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(seen["body"]["messages"], sort_keys=True) for seen in log]


def _recorded(database: Path) -> set[str]:
    """The prompts whose replies are on disk."""
    connection = sqlite3.connect(database)
    try:
        found = connection.execute("SELECT request FROM calls WHERE status != 'pending'")
        bodies = [json.loads(request)["messages"] for (request,) in found]
    finally:
        connection.close()
    plain = [[{"role": m["role"], "content": m["content"]} for m in ms] for ms in bodies]
    return {json.dumps(messages, sort_keys=True) for messages in plain}


async def _whole() -> float:
    """Seconds of a step that nobody kills."""
    with scratch() as folder, endpoint(LATENCY) as at:
        async with _server(at.url, folder / "whole.db") as client:
            call = Tools(client)
            session = await start(call, "judge", SIZE)
            started = time.perf_counter()
            await one_step(call, session, "judge")
            return time.perf_counter() - started


async def _killed(at: Endpoint, database: Path, after: float) -> str:
    """Begin a step, kill the server after so many seconds; gives the session."""
    before = _children()
    session = ""
    try:
        async with _server(at.url, database) as client:
            call = Tools(client)
            session = await start(call, "judge", SIZE)
            [pid] = _children() - before
            step = asyncio.create_task(one_step(call, session, "judge"))
            await asyncio.wait({step}, timeout=after)
            os.kill(pid, signal.SIGKILL)
            await asyncio.gather(step, return_exceptions=True)
    except BaseExceptionGroup:
        pass  # the client found its server gone, as it should
    return session


async def _finished(at: Endpoint, database: Path, session: str) -> None:
    """A new server goes on from where the killed one was."""
    async with _server(at.url, database) as client:
        call = Tools(client)
        overview = await call("inspect", session_id=session)
        if overview["view"].get("active_run"):
            await call("resume", session_id=session)
        steps = await call("inspect", session_id=session, what="steps")
        gradients = await call("inspect", session_id=session, what="gradients")
        if steps["view"].get("steps"):
            return
        if not gradients["view"].get("gradients"):
            await one_step(call, session, "judge")
        else:
            await call("step", session_id=session)


async def _one(after: float) -> tuple[int, int, int, int]:
    """Calls recorded at the kill, in flight then, recorded ones repaid, in-flight ones repaid."""
    with scratch() as folder, endpoint(LATENCY) as at:
        database = folder / "kill.db"
        session = await _killed(at, database, after)
        before, recorded = _prompts(at.log()), _recorded(database)
        await _finished(at, database, session)
        asked = Counter(_prompts(at.log()))
        again = {prompt for prompt, times in asked.items() if times > 1}
        in_flight = set(before) - recorded
        return len(recorded), len(in_flight), len(again & recorded), len(again - recorded)


def kills(times: int = 30, seed: int = 0) -> tuple[list[Row], str]:
    """The row, and how the kills were spread."""
    rng = random.Random(seed)
    length = asyncio.run(_whole())
    found = []
    for _ in range(times):
        found.append(asyncio.run(_one(rng.uniform(0.0, length))))
        print("kill", len(found), *found[-1], flush=True)
    recorded = sum(repaid for _, _, repaid, _ in found)
    extra = sum(repaid for *_, repaid in found)
    most = max(repaid for *_, repaid in found)
    figure = f"{extra} in all, at most {most} at one kill"
    what = f"{times} kills of a step on {SIZE} examples"
    rows = [
        Row(f"{what}: recorded calls repaid", "0", str(recorded), recorded == 0),
        # Against what the endpoint was working on: what was sent and is not on disk, the
        # looser meaning of "in flight", can never be exceeded and so would prove nothing.
        Row(
            f"{what}: others repaid",
            f"≤ {LIMIT} (in flight at the endpoint)",
            figure,
            most <= LIMIT,
        ),
    ]
    spans = sorted(r for r, *_ in found)
    unsettled = max(f for _, f, *_ in found)
    text = (
        f"Calls on disk at the kill: {spans[0]} to {spans[-1]}, median {spans[len(spans) // 2]}. "
        "Sent and not on disk at the kill: under way at the endpoint "
        f"({LIMIT} at most), or answered and not yet committed; {unsettled} at most."
    )
    return rows, text
