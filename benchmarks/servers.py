"""Our server beside a bare one: tool calls without a model, start, memory, many clients."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harness import HERE, MEMORY_DISK, Row, scratch, spread
from mcp import Client, StdioServerParameters

START = "import sys; from textgrad_mcp.server.cli.main import main; sys.exit(main())"
BARE = [str(HERE / "bare.py")]
Call = Callable[[Client], Awaitable[Any]]


def ours(database: Path) -> list[str]:
    """The arguments of Python that start our server."""
    return ["-c", START, "--database", str(database), "--answerer", "assistant"]


def ours_http(database: Path, port: int) -> list[str]:
    """The same over HTTP, with limits that a benchmark does not meet."""
    limits = ["--per-minute", "1e9", "--burst", "1e9"]
    return ["-c", START, "serve", *ours(database)[2:], "--http", "--port", str(port), *limits]


def stdio(arguments: list[str]) -> Client:
    """A client of a server process on stdio."""
    return Client(
        StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
    )


@asynccontextmanager
async def http(arguments: list[str], port: int) -> AsyncIterator[str]:
    """A server process over HTTP; yields its address."""
    process = subprocess.Popen(  # noqa: ASYNC220 - it is started before anything is measured
        [sys.executable, *arguments], stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while not _listens(port):
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(timeout=15)


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _checked(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        raise RuntimeError(f"{tool}: {result.content}")
    return dict(result.structured_content or {})


async def _seconds(work: Awaitable[Any]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _calls(session: str) -> dict[str, tuple[bool, Call]]:
    """The calls that need no model: whether they commit, and how they are made."""
    variable = {"session_id": session, "role": "a text", "value": "some text", "name": "one"}
    form = {"session_id": session, "operation": "format", "template": "{x}", "inputs": {"x": "v1"}}
    return {
        "create_variable": (True, lambda c: _checked(c, "create_variable", variable)),
        "forward of a template": (True, lambda c: _checked(c, "forward", form)),
        "inspect": (False, lambda c: _checked(c, "inspect", {"session_id": session})),
        "inspect a variable": (
            False,
            lambda c: _checked(c, "inspect", {"session_id": session, "id": "v1"}),
        ),
    }


async def _compared(bare: Client, client: Client, rounds: int, times: int) -> dict[str, Any]:
    made = await _checked(client, "create_variable", {"role": "a text", "value": "text"})
    calls = await _calls(made["session_id"])
    said = {"text": "some text", "session_id": made["session_id"]}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    base: list[float] = []
    for one in range(rounds + 1):
        bottom: list[float] = []
        found: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(times):  # in turn, so that both meet the machine in the same mood
            bottom.append(await _seconds(_checked(bare, "say", said)))
            for name, (_, call) in calls.items():
                found[name].append(await _seconds(call(client)))
        if one:  # the first round warms up
            base.append(statistics.median(bottom))
            for name in calls:
                seconds[name].append(statistics.median(found[name]))
    return {"base": base, "seconds": seconds, "commits": {n: c for n, (c, _) in calls.items()}}


async def _latency(disk: Path | None, rounds: int, times: int) -> dict[str, dict[str, Any]]:
    found = {}
    with scratch(disk) as folder:
        async with stdio([*BARE, "stdio"]) as bare, stdio(ours(folder / "a.db")) as client:
            found["stdio"] = await _compared(bare, client, rounds, times)
        one, two = free_ports(2)
        async with (
            http([*BARE, "http", str(one)], one) as bare_url,
            http(ours_http(folder / "b.db", two), two) as our_url,
            Client(bare_url) as bare,
            Client(our_url) as client,
        ):
            found["HTTP"] = await _compared(bare, client, rounds, times)
    return found


def latency(rounds: int = 5, times: int = 20) -> tuple[list[Row], str]:
    """Tool calls that need no model, on the disk and on a file system in memory."""
    rows = []
    lines = [
        "| call | over | files on | bare ms | ours ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for disk, name in ((None, "disk"), (MEMORY_DISK, "memory")):
        if disk is not None and not disk.exists():
            continue
        for over, found in asyncio.run(_latency(disk, rounds, times)).items():
            for call, seconds in found["seconds"].items():
                ratios = [s / b for s, b in zip(seconds, found["base"], strict=True)]
                lines.append(
                    f"| {call} | {over} | {name} | {spread(found['base'], 1e-3)} | "
                    f"{spread(seconds, 1e-3)} | {spread(ratios)} |"
                )
                print(lines[-1], flush=True)
                bar = 2.5 if found["commits"][call] else 1.5
                what = f"{call}, {over}, files on {name}"
                met = statistics.median(ratios) <= bar
                rows.append(Row(what, f"≤ {bar} of a bare server", spread(ratios), met))
    return rows, "\n".join(lines)


async def _first_list(arguments: list[str]) -> float:
    started = time.perf_counter()
    async with stdio(arguments) as client:
        await client.list_tools()
        return time.perf_counter() - started


def cold_start(times: int = 7) -> tuple[list[Row], str]:
    """From the start of the process to the first list of tools."""
    bare, us = [], []
    with scratch() as folder:
        for one in range(times + 1):
            pair = [asyncio.run(_first_list([*BARE, "stdio"]))]
            pair.append(asyncio.run(_first_list(ours(folder / "cold.db"))))
            if one:
                bare.append(pair[0])
                us.append(pair[1])
    ratios = [u / b for u, b in zip(us, bare, strict=True)]
    met = statistics.median(ratios) <= 1.25
    rows = [Row("cold start to the first tools/list", "≤ 1.25", spread(ratios), met)]
    return rows, f"Bare {spread(bare)} s, ours {spread(us)} s."


def _children() -> set[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in path.read_text().split()}


def _resident(pid: int) -> float:
    """Resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


async def _memory(arguments: list[str], use: Call | None = None) -> tuple[float, float]:
    before = _children()
    async with stdio(arguments) as client:
        await client.list_tools()
        [pid] = _children() - before
        idle = _resident(pid)
        if use is not None:
            await use(client)
        return idle, _resident(pid)


def memory() -> tuple[list[Row], str]:
    """Resident memory, idle and in use with little and with much history."""
    from growth import grown_session

    if not Path("/proc/self/status").exists():
        return [], "Not measured: this system has no /proc."
    with scratch() as folder:
        sizes = ((10, 10), (10_000, 100_000))
        sessions = [asyncio.run(grown_session(folder / f"m{v}.db", v, c)) for v, c in sizes]
        bare = [asyncio.run(_memory([*BARE, "stdio"]))[0] for _ in range(3)]
        idle = [asyncio.run(_memory(ours(folder / "i.db")))[0] for _ in range(3)]
        used = [
            asyncio.run(_memory(ours(folder / f"m{v}.db"), _use(session)))[1]
            for (v, _), session in zip(sizes, sessions, strict=True)
        ]
    ratio = statistics.median(idle) / statistics.median(bare)
    more = used[1] / used[0]
    rows = [
        Row("memory, idle", "≤ 1.3 of a bare server", f"{ratio:.2f}", ratio <= 1.3),
        Row(
            "memory in use, 10,000 variables and 100,000 calls against 10 and 10",
            "no growth",
            f"{more:.2f}",
            more <= 1.1,
        ),
    ]
    text = (
        f"Bare {spread(bare, digits=0)} MiB, ours idle {spread(idle, digits=0)} MiB; in use "
        f"{used[0]:.0f} MiB with little history, {used[1]:.0f} MiB with much."
    )
    return rows, text


def _use(session: str) -> Call:
    async def use(client: Client) -> None:
        for _ in range(5):
            await _checked(client, "inspect", {"session_id": session})
            for what in ("graph", "calls", "gradients", "steps"):
                await _checked(client, "inspect", {"session_id": session, "what": what})
            new = {"session_id": session, "role": "x", "value": "y"}
            await _checked(client, "create_variable", new)

    return use


async def _many(clients: list[Client], calls: int, session: str | None) -> float:
    """Calls a second of all clients together."""

    async def one(client: Client, number: int) -> None:
        for n in range(calls):
            if session is None:
                await _checked(client, "say", {"text": f"{number}.{n}"})
            else:
                new = {"session_id": session, "role": f"{number}.{n}", "value": "x"}
                await _checked(client, "create_variable", new)

    started = time.perf_counter()
    await asyncio.gather(*(one(c, i) for i, c in enumerate(clients)))
    return len(clients) * calls / (time.perf_counter() - started)


async def _crowd(open_client: Callable[[], Client], count: int, calls: int, ours: bool) -> float:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client()) for _ in range(count)]
        session = None
        if ours:
            made = await _checked(clients[0], "create_variable", {"role": "first", "value": "x"})
            session = made["session_id"]
        speed = await _many(clients, calls, session)
        if session is not None:
            want = f"v{count * calls + 1}"
            await _checked(clients[-1], "inspect", {"session_id": session, "id": want})
    return speed


async def _crowds(folder: Path, calls: int) -> list[tuple[str, float, float]]:
    database = folder / "crowd.db"
    processes = [
        await _crowd(lambda: stdio([*BARE, "stdio"]), 8, calls, ours=False),
        await _crowd(lambda: stdio(ours(database)), 8, calls, ours=True),
    ]
    one, two = free_ports(2)
    async with http([*BARE, "http", str(one)], one) as url:
        clients = [await _crowd(lambda: Client(url), 64, calls, ours=False)]
    async with http(ours_http(database, two), two) as url:
        clients.append(await _crowd(lambda: Client(url), 64, calls, ours=True))
    return [("8 processes", *processes), ("64 HTTP clients", *clients)]  # type: ignore[list-item]


def concurrency(calls: int = 10) -> tuple[list[Row], str]:
    """Many writers on one database; any error, and any lost write, ends the benchmark."""
    with scratch() as folder:
        found = asyncio.run(_crowds(folder, calls))
    rows = [
        Row(
            f"{name} on one database",
            "no error, no lost work",
            f"none; {us:.0f} commits a second (a bare server's calls: {bare:.0f})",
            True,
        )
        for name, bare, us in found
    ]
    return rows, ""
