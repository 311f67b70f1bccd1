"""Where our own time goes: a tool call by phase, and the processor's part of a step by layer."""

from __future__ import annotations

import asyncio
import cProfile
import functools
import pstats
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ours
from harness import MEMORY_DISK, Row, endpoint, scratch
from mcp import Client
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store.connection import Transactions
from textgrad_mcp.engine.store.database import Database
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.protocol.app import TextGradServer, build

PHASES = ("SDK, both sides", "our server layer", "engine", "database", "of which commits")
LAYERS = {
    "HTTP client": ("openai", "httpx2", "aiohttp", "yarl", "multidict", "aiohappyeyeballs"),
    "event loop and sockets": ("asyncio", "selectors", "epoll", "socket", "_contextvars", "_queue"),
    "JSON and models": ("json", "pydantic", "pydantic_core", "copy.py"),
    "MCP SDK": ("mcp", "mcp_types", "jsonschema", "opentelemetry"),
}
"""Layers by words in the names of their files and functions; the first that fits counts."""
ROOT = Path(__file__).resolve().parent.parent
OURS = tuple(f"{ROOT / package}/" for package in ("engine", "schemas", "server"))


class Clock:
    """Adds up the seconds spent inside some functions, by name."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._inside: Counter[str] = Counter()
        self._since: dict[str, float] = {}

    def waits(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """`call`, an async function, with the time in which any of it is under way added up."""

        @functools.wraps(call)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            if not self._inside[name]:
                self._since[name] = time.perf_counter()
            self._inside[name] += 1
            try:
                return await call(*args, **kwargs)
            finally:
                self._inside[name] -= 1
                if not self._inside[name]:
                    self.spent[name] += time.perf_counter() - self._since[name]

        return timed

    def works(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, a plain function, with its time, and its thread's processor time, added up."""

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started, used = time.perf_counter(), time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.spent[name] += time.perf_counter() - started
                self.spent["database thread"] += time.thread_time() - used

        return timed


@contextmanager
def clocked() -> Iterator[Clock]:
    """A clock on the borders between our layers, for as long as the block lasts."""
    clock = Clock()
    waits = [(TextGradServer, "call_tool"), (Database, "_submit")]
    waits += [(Engine, name) for name in ("create_variable", "forward", "inspect")]
    works = [(Transactions, name) for name in ("look", "run", "commit")]
    before = [(owner, name, getattr(owner, name)) for owner, name in [*waits, *works]]
    for owner, name in waits:
        label = "engine" if owner is Engine else name
        setattr(owner, name, clock.waits(label, getattr(owner, name)))
    for owner, name in works:
        setattr(owner, name, clock.works(name, getattr(owner, name)))
    try:
        yield clock
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def _phases(whole: float, spent: Counter[str]) -> dict[str, float]:
    return {
        "SDK, both sides": whole - spent["call_tool"],
        "our server layer": spent["call_tool"] - spent["engine"],
        "engine": spent["engine"] - spent["_submit"],
        "database": spent["_submit"],
        "of which commits": spent["commit"],
    }


async def _calls(folder: Path, times: int) -> dict[str, list[dict[str, float]]]:
    role = RoleSettings(answerer="assistant")
    settings = Settings(database=folder / "p.db", forward=role, backward=role)
    found: dict[str, list[dict[str, float]]] = {}
    with clocked() as clock:
        async with Client(build(settings)) as client:
            made = await client.call_tool("create_variable", {"role": "a text", "value": "text"})
            session = {"session_id": (made.structured_content or {})["session_id"]}
            form = {"operation": "format", "template": "{x}", "inputs": {"x": "v1"}}
            calls: dict[str, tuple[str, dict[str, Any]]] = {
                "create_variable": ("create_variable", {"role": "a text", "value": "some text"}),
                "forward of a template": ("forward", form),
                "inspect": ("inspect", {}),
                "inspect a variable": ("inspect", {"id": "v1"}),
            }
            for name, (tool, arguments) in calls.items():
                for _ in range(times):
                    clock.spent.clear()
                    started = time.perf_counter()
                    await client.call_tool(tool, session | arguments)
                    whole = time.perf_counter() - started
                    found.setdefault(name, []).append(_phases(whole, clock.spent))
    return found


def _layer(file: str, function: str) -> str:
    if file.startswith(OURS) or "/textgrad_mcp/" in file:
        return "our engine and server"
    words = f"{file}/{function}".replace(".", "/").replace("'", "/").split("/")
    words += [file.rpartition("/")[2], *function.replace("'", " ").replace(".", " ").split()]
    for layer, names in LAYERS.items():
        if any(name in words for name in names):
            return layer
    return "the rest of Python"


async def _step(url: str, folder: Path) -> tuple[Counter[str], int, float]:
    """Processor seconds of one step by layer, how many calls it made, and its commits' seconds."""
    with clocked() as clock:
        async with ours.connect(url, folder / "s.db") as client:
            call = ours.Tools(client)
            session = await ours.start(call, "judge", 16)
            await ours.one_step(call, session, "judge")
            clock.spent.clear()
            profile = cProfile.Profile(time.thread_time)
            profile.enable()
            await ours.one_step(call, session, "judge")
            profile.disable()
            committing, thread = clock.spent["commit"], clock.spent["database thread"]
    layers: Counter[str] = Counter({"database thread": thread})
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        layers[_layer(file, function)] += own
    return layers, 35, committing


def overhead(times: int = 100) -> tuple[list[Row], str]:
    """Two tables: nothing here has a bar, it says where the rest of the page comes from."""
    with scratch(MEMORY_DISK if MEMORY_DISK.exists() else None) as folder:
        phases = asyncio.run(_calls(folder, times))
        with endpoint(0.1) as at:
            layers, calls, committing = asyncio.run(_step(at.url, folder))
    lines = ["A call in this process, files in memory, median microseconds:", ""]
    lines += ["| call | " + " | ".join(PHASES) + " |", "|---" * (len(PHASES) + 1) + "|"]
    for name, rounds in phases.items():
        middle = [statistics.median(r[phase] for r in rounds) * 1e6 for phase in PHASES]
        lines.append(f"| {name} | " + " | ".join(f"{m:.0f}" for m in middle) + " |")
    whole = sum(layers.values())
    lines += [
        "",
        f"A step (judge, N = 16, {calls} calls at 100 ms): {whole / calls * 1e3:.1f} ms of "
        "processor time for each model call under the profiler, which slows Python's own part "
        f"down; {committing * 1e3:.0f} ms in commits (files in memory).",
        "",
        "| layer | share |",
        "|---|---|",
    ]
    lines += [f"| {layer} | {spent / whole:.0%} |" for layer, spent in layers.most_common()]
    print("\n".join(lines), flush=True)
    return [], "\n".join(lines)
