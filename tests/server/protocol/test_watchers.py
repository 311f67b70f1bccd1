"""Who is told of a change, what that costs, and that nobody waits for whoever does not read."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
from mcp.server.connection import Connection
from textgrad_mcp.server.protocol.watchers import ResourceWatchers

ROOT = "textgrad://sessions"


class Client:
    """A connection of the older kind that is told, once it reads."""

    def __init__(self) -> None:
        self.exit_stack = AsyncExitStack()
        self.told: list[str] = []
        self.reads = asyncio.Event()
        self.heard = asyncio.Event()

    async def send_resource_updated(self, uri: str) -> None:
        """Be told of one change."""
        await self.reads.wait()
        self.told.append(uri)
        self.heard.set()

    @property
    def connection(self) -> Connection:
        """As the server sees it."""
        return cast(Connection, self)


def calls_of(watchers: ResourceWatchers, owner: str, session: str) -> int:
    """How many functions are called to announce one change."""
    count = 0

    def note(frame: Any, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    async def announce() -> None:
        sys.setprofile(note)
        try:
            await watchers.changed(owner, session)
        finally:
            sys.setprofile(None)

    asyncio.get_running_loop()  # a task of its own would be counted, too
    coroutine = announce()
    try:
        coroutine.send(None)
    except StopIteration:
        return count
    raise AssertionError("it waited for somebody")


@pytest.mark.requirement("announced")
def test_an_announcement_costs_what_those_concerned_cost() -> None:
    async def cost(owners: int, sessions: int) -> int:
        watchers = ResourceWatchers()
        for o in range(owners):
            client = Client()
            for s in range(sessions):
                watchers.subscribe(client.connection, f"o{o}", f"{ROOT}/tg_{o}_{s}/report")
        return calls_of(watchers, "o0", "tg_0_0")

    few, many = asyncio.run(cost(1, 1)), asyncio.run(cost(50, 50))
    assert few == many


@pytest.mark.requirement("announced")
def test_whoever_does_not_read_holds_nobody_up_and_hears_each_change_once() -> None:
    async def main() -> None:
        watchers, slow, quick = ResourceWatchers(), Client(), Client()
        report, graph = (f"{ROOT}/tg_1/{part}" for part in ("report", "graph"))
        for client in (slow, quick):
            for uri in (report, graph, f"{ROOT}/tg_2/report", f"{report}/x"):
                watchers.subscribe(client.connection, "me", uri)
        watchers.subscribe(quick.connection, "another", report)
        quick.reads.set()
        for _ in range(100):
            async with asyncio.timeout(5):
                await watchers.changed("me", "tg_1")
        await quick.heard.wait()
        assert slow.told == []
        slow.reads.set()
        while set(slow.told) != {graph, report}:
            slow.heard.clear()
            await slow.heard.wait()
        assert len(slow.told) <= 3  # one may have been on its way when it changed again

    asyncio.run(main())


@pytest.mark.requirement("announced")
def test_nothing_is_kept_of_whoever_has_gone() -> None:
    async def main() -> None:
        watchers, client = ResourceWatchers(), Client()
        uri = f"{ROOT}/tg_1/report"
        watchers.subscribe(client.connection, "me", uri)
        watchers.subscribe(client.connection, "me", ROOT)
        watchers.listen("me", [uri, f"{ROOT}/tg_1/variables/v1/versions/1"])
        assert watchers.watched("me", "tg_1") == [ROOT, uri]
        assert watchers.watched("another", "tg_1") == []
        await watchers.changed("another", "tg_1", new=True)
        watchers.unsubscribe(client.connection, "me", ROOT)
        watchers.unsubscribe(client.connection, "me", ROOT)
        await client.exit_stack.aclose()
        assert watchers.watched("me", "tg_1") == [uri]
        watchers.unlisten("me", [uri, f"{ROOT}/tg_1/variables/v1/versions/1"])
        assert watchers.watched("me", "tg_1") == []
        assert not watchers.watches

    asyncio.run(main())
