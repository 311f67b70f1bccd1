"""Two replicas over HTTP behind a balancer: one is killed in mid-optimisation; how long until done?

    python -m benchmarks.replicas [TIMES]

A caller asks for the result through the balancer at once. On SQLite, and on PostgreSQL where a
server can be started; the endpoint answers after a tenth of a second.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textgrad_mcp.schemas.database import Location, PostgresAddress
from textgrad_mcp.schemas.settings import Settings

from tests import interrupted
from tests.balanced import Replicas, balanced
from tests.helpers import Tools, endpoint
from tests.postgres_server import programs, server
from tests.standin import StandIn
from tests.users import user

LATENCY = 0.1
AFTER = 45
"""Replies that are recorded before the kill."""


@contextmanager
def places(folder: Path) -> Iterator[dict[str, Location]]:
    """A database of each kind."""
    found: dict[str, Location] = {"SQLite": folder / "t.db"}
    if programs() is None:
        yield found
        return
    with server("-c max_connections=200") as postgres:  # it waits for the disk, as in earnest
        yield found | {"PostgreSQL": PostgresAddress(postgres.url(postgres.database()))}


async def killed(replicas: Replicas, at: StandIn, folder: Path) -> tuple[float, int]:
    """Seconds from the kill to the result, and how many calls were asked twice: those whose
    replies were on their way."""
    async with user(replicas.url, "anybody") as client:
        call = Tools(client)
        s = await interrupted.prepared(call, folder)
        begun = len(at.log)
        arguments = {"session_id": s, **interrupted.ARGUMENTS}
        running = asyncio.create_task(client.call_tool("optimize", arguments))
        kept = 0
        while kept < begun + AFTER:
            kept = (await call("inspect", session_id=s))["view"]["total"]["calls"]
        replicas.end(replicas.balancer.who_got('"optimize"'))
        at_kill = time.perf_counter()
        await asyncio.gather(running, return_exceptions=True)
        done = {"status": "running"}
        while done["status"] == "running":
            done = await call("resume", session_id=s)
        took = time.perf_counter() - at_kill
        total = (await call("inspect", session_id=s))["view"]["total"]["calls"]
        return took, len(at.log) - total


def main(times: int) -> None:
    """Print the figures."""
    for n in range(times):
        with tempfile.TemporaryDirectory() as name, places(Path(name)) as found:
            for kind, database in found.items():
                with StandIn(reply=interrupted.model, latency=LATENCY) as at:
                    forward, backward = endpoint(at), endpoint(at, params={"seed": 1})
                    settings = Settings(
                        database=database, forward=forward, backward=backward, data_dir=Path(name)
                    )
                    with balanced(settings) as replicas:
                        took, again = asyncio.run(killed(replicas, at, Path(name)))
                print(f"{kind} {n + 1}: {took:.1f} s; {again} calls asked twice", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
