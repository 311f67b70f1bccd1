"""Load: many clients on one database, and an endpoint that fails one call in ten.

    python -m tests.soak --seconds 600 --http 64 --stdio 8

starts one HTTP server, whose clients each are an owner of their own, and server processes on
stdio, all on one database file. Each client builds programs and improves them, one at least, until
the time is up, now and then hanging up in the middle of a call, and ends what it began. Then the
endpoint's log is compared with the ledger (see `reconcile`). Everything stays on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.http.tokens import new_token

from .helpers import process
from .reconcile import memory_of, reconcile
from .soak_client import Hand, Tally
from .standin import Body, Fault, Seen, StandIn, fault, log_normal

CLI = [sys.executable, "-m", "textgrad_mcp.server.cli"]
FAULTS = [fault("429"), fault("500"), fault("503"), fault("reset"), fault("reset-middle")]
FAILS, STALLS = 0.1, 0.02
"""Shares of requests that fail, and that are never answered."""
SAMPLE_SECONDS = 1.0
START_SECONDS = 60.0


@dataclass(frozen=True)
class Load:
    """How much, and for how long. Times are in seconds."""

    seconds: float
    http: int
    stdio: int
    call_timeout: float = 5.0
    latency: float = 0.03
    seed: int = 0


class Endpoint(StandIn):
    """Answers with the request's own number in the text, so that each reply can be told apart.

    `given` keeps what became of each request: good, stalled, or bad.
    """

    def __init__(self, load: Load) -> None:
        super().__init__(faults=self.decide, latency=log_normal(load.latency, seed=load.seed))
        self._seed = load.seed
        self.given: dict[int, str] = {}

    def decide(self, index: int, body: Body) -> Fault:
        """What becomes of a request: the same for the same number and seed."""
        dice = random.Random(f"{self._seed}:{index}")
        luck = dice.random()
        if luck < STALLS:
            self.given[index] = "stalled"
            return fault("hang")
        if luck < STALLS + FAILS:
            self.given[index] = "bad"
            return dice.choice(FAULTS)
        self.given[index] = "good"
        return Fault(text=written(index, body, dice))


def written(index: int, body: Body, dice: random.Random) -> str:
    """A reply in the form asked for, with the request's number in it."""
    form = body.get("response_format") or {}
    if form.get("type") != "json_schema":
        return f"Reply {index}."
    keys = form["json_schema"]["schema"]["properties"]
    score = round(0.9 * dice.random(), 2)
    return json.dumps({key: score if key == "score" else f"Reply {index}." for key in keys})


@contextmanager
def http_server(settings: Settings, folder: Path, tokens: Path) -> Iterator[tuple[str, int]]:
    """The command line's own HTTP server: its address and its process id. Its exit is checked."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    role, config = settings.forward, folder / "config.toml"
    config.write_text(
        f'database = "{settings.database}"\n[both]\nanswerer = "openai"\nmodel = "m"\n'
        f'base_url = "{role.base_url}"\ntimeout = {role.timeout}\n'
    )
    serve = ["serve", "--http", "--port", str(port), "--tokens", str(tokens)]
    command = [*CLI, *serve, "--config", str(config), "--per-minute", "60000", "--burst", "1000"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TEXTGRAD_MCP_")}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=clean) as server:
        try:
            wait_until_ready(f"{url}/readyz", server)
            yield f"{url}/mcp", server.pid
        finally:
            server.terminate()
            code = server.wait(timeout=30)
        assert code in (0, -15), f"the HTTP server ended with {code}"


def wait_until_ready(address: str, server: subprocess.Popen[bytes]) -> None:
    """Ask until the server says that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, "the HTTP server did not start"
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(address).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the HTTP server never became ready")


@asynccontextmanager
async def http_client(url: str, token: str, *, old: bool) -> AsyncIterator[Client]:
    """A client of the older or the newer protocol that shows `token`."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=120) as http,
        Client(
            streamable_http_client(url, http_client=http), mode="legacy" if old else "auto"
        ) as client,
    ):
        yield client


async def over_http(url: str, tokens: list[str], tally: Tally, seed: int) -> None:
    """All the HTTP clients; each connects anew for every session."""

    async def one(n: int, token: str) -> None:
        hand = Hand(f"http{n}", tally, seed)
        again = True
        while again:
            async with http_client(url, token, old=n % 2 == 0) as client:
                await hand.work(client)
            again = hand.has_time

    await asyncio.gather(*(one(n, token) for n, token in enumerate(tokens)))


async def over_stdio(settings: Settings, count: int, tally: Tally, seed: int) -> None:
    """All the server processes on stdio, with a client each."""

    async def one(n: int) -> None:
        async with process(settings) as server:
            tally.watch(f"stdio{n}", server.pid)
            hand = Hand(f"stdio{n}", tally, seed)
            await hand.work(server.client)
            while hand.has_time:
                await hand.work(server.client)
            tally.unwatch(f"stdio{n}")

    await asyncio.gather(*(one(n) for n in range(count)))


async def drive(settings: Settings, folder: Path, load: Load) -> Tally:
    """Run the load; what the clients did and saw."""
    tokens = folder / "tokens.txt"
    known = [new_token(tokens, f"owner{n}") for n in range(load.http)]
    with http_server(settings, folder, tokens) as (url, pid):
        tally = Tally(until=time.monotonic() + load.seconds)
        tally.watch("http", pid)
        sampling = asyncio.create_task(tally.sample(SAMPLE_SECONDS))
        try:
            await asyncio.gather(
                over_http(url, known, tally, load.seed),
                over_stdio(settings, load.stdio, tally, load.seed),
            )
        finally:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
    return tally


def checked(database: Path) -> list[str]:
    """What `database check` finds wrong."""
    command = [*CLI, "database", "check", "--database", str(database)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return [] if done.returncode == 0 else [f"database check: {done.stdout}{done.stderr}"]


@dataclass(frozen=True)
class Ran:
    """What is left of a load: the database, the endpoint's log with what became of each request,
    and the clients' tally."""

    load: Load
    database: Path
    log: list[Seen]
    given: dict[int, str]
    tally: Tally


def run(load: Load, folder: Path) -> Ran:
    """Put servers in `folder` under `load`."""
    database = folder / "soak.db"
    with Endpoint(load) as endpoint:
        role = RoleSettings(
            answerer="openai", base_url=endpoint.url, model="m", timeout=load.call_timeout
        )
        settings = Settings(database=database, forward=role, backward=role)
        tally = asyncio.run(drive(settings, folder, load))
    return Ran(load, database, endpoint.log, endpoint.given, tally)


def report_on(ran: Ran) -> dict[str, Any]:
    """The figures of a load, with `problems` empty when all is well."""
    account = reconcile(ran.database, ran.log, ran.given)
    memory, grown = memory_of(ran.tally.memory)
    return {
        "load": vars(ran.load),
        "clients": dict(sorted(ran.tally.done.items())),
        "reconciliation": account.figures,
        "memory_mib": memory,
        "problems": [*account.problems, *grown, *checked(ran.database)],
    }


def main() -> int:
    """The command line; the exit code is 1 when anything was lost, doubled or left behind."""
    parser = argparse.ArgumentParser(description="Load on loopback, then a reconciliation.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--http", type=int, default=64, help="HTTP clients (%(default)s)")
    parser.add_argument("--stdio", type=int, default=8, help="stdio processes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        load = Load(args.seconds, args.http, args.stdio, seed=args.seed)
        report = report_on(run(load, Path(folder)))
    print(json.dumps(report, indent=2))
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
