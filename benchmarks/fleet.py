"""The store on PostgreSQL beside SQLite: model calls recorded a second, and what one costs.

    python benchmarks/fleet.py            # starts a server of its own on loopback, fsync on

A call is `open` and `record`, each durable before it returns. Both databases lie on the same disk;
compare the ratios, for the machine's speed is in every figure.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.database import Location, PostgresAddress

from tests.many_writers import Work, ask, processes
from tests.postgres_server import server

SECONDS = 4.0
WORKERS = (1, 8, 64)
REPLICAS = (1, 2)


async def measured(process: int, job: tuple[Location, list[int], int]) -> tuple[int, float, float]:
    """Calls, seconds and seconds of CPU of one process with so many workers."""
    place, sessions, workers = job
    store = Store(place)
    await store.open()
    work, name = Work("", sessions, 0), time.monotonic_ns()
    until, calls = time.monotonic() + SECONDS, 0

    async def worker(n: int) -> None:
        nonlocal calls
        turn = 0
        while time.monotonic() < until:
            await ask(store, work, f"{process} {name} {n} {turn}", sessions[n % len(sessions)])
            calls, turn = calls + 1, turn + 1

    began, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*map(worker, range(workers)))
    took = time.monotonic() - began, time.process_time() - cpu
    await store.close()
    return (calls, *took)


async def begun(place: Location, many: int) -> list[int]:
    """New sessions."""
    store = Store(place)
    await store.open()
    made = [await store.sessions.create("me", "title") for _ in range(many)]
    await store.close()
    return [one.pk for one in made]


def row(place: Location, replicas: int, workers: int, *, shared: bool) -> tuple[float, float]:
    """Calls a second of all processes together, and milliseconds of CPU per call."""
    made = asyncio.run(begun(place, 1 if shared else replicas * workers))
    parts = [made if shared else made[n * workers :][:workers] for n in range(replicas)]
    with processes(measured, [(place, part, workers) for part in parts]) as finished:
        found = finished()
    calls = sum(one[0] for one in found)
    return calls / max(one[1] for one in found), 1000 * sum(one[2] for one in found) / calls


def main() -> None:
    """Print the table."""
    print("| processes | workers | sessions | SQLite/s | PostgreSQL/s | ratio | ms CPU | ms CPU |")
    print("|---|---|---|---|---|---|---|---|")
    with server("-c max_connections=200") as made, tempfile.TemporaryDirectory() as folder:
        remote = PostgresAddress(made.url(made.database()))
        for replicas in REPLICAS:
            for workers in WORKERS:
                for shared in (False, True):
                    file = Path(folder) / f"{replicas} {workers} {shared}.db"
                    mine, my_cpu = row(file, replicas, workers, shared=shared)
                    its, its_cpu = row(remote, replicas, workers, shared=shared)
                    sessions = "one" if shared else "own"
                    print(
                        f"| {replicas} | {workers} | {sessions} | {mine:.0f} | {its:.0f} | "
                        f"{its / mine:.2f} | {my_cpu:.1f} | {its_cpu:.1f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
