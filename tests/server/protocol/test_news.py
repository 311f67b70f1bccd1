"""What other servers change in the store is announced here: once, and to whoever watches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import ResourceUpdatedNotification
from textgrad_mcp.schemas.errors import StoreError
from textgrad_mcp.server.protocol import news
from textgrad_mcp.server.protocol.app import TextGradServer, build

from ...helpers import Tools, an_engine, assisted, drive
from ...tour import improved, judged, sums

pytestmark = pytest.mark.each_store
ROOT = "textgrad://sessions"


@pytest.fixture(autouse=True)
def _looks_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "LOOK_SECONDS", 3600)


class Heard:
    """An older client's notifications."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self.more = asyncio.Event()

    async def __call__(self, message: object) -> None:
        """Take one."""
        if isinstance(message, ResourceUpdatedNotification):
            self.uris.append(message.params.uri)
            self.more.set()

    async def until(self, count: int) -> list[str]:
        """The first so many, sorted."""
        async with asyncio.timeout(20):
            while len(self.uris) < count:
                self.more.clear()
                await self.more.wait()
        return sorted(self.uris)


@asynccontextmanager
async def two(path: Path, heard: Heard) -> AsyncIterator[tuple[TextGradServer, Client, Tools]]:
    """Two servers on one file: the first with an older client, and a client of the other."""
    here = build(assisted(path))
    async with AsyncExitStack() as stack:
        client = Client(here, mode="legacy", message_handler=heard)
        await stack.enter_async_context(client)
        there = await stack.enter_async_context(Client(build(assisted(path))))
        yield here, client, Tools(there)


async def watch(client: Client, *uris: str) -> None:
    for uri in uris:
        with pytest.warns(MCPDeprecationWarning):
            await client.subscribe_resource(uri)


@pytest.mark.requirement("announced", "announced-elsewhere")
def test_what_another_server_changes_is_announced_once_to_an_older_client(tmp_path: Path) -> None:
    async def main() -> None:
        heard = Heard()
        async with two(tmp_path / "t.db", heard) as (here, client, call):
            s, other = await sums(call), await sums(call)
            graph = f"{ROOT}/{s}/graph"
            await watch(client, ROOT, graph, f"{ROOT}/{other}/graph")
            await here.news.look()
            for n in range(5):
                await call("create_variable", session_id=s, role=f"another {n}", value="x")
            await here.news.look()
            await here.news.look()
            assert await heard.until(2) == [ROOT, graph]

    asyncio.run(main())


@pytest.mark.requirement("announced")
def test_what_this_server_has_announced_itself_is_not_announced_again(tmp_path: Path) -> None:
    async def main() -> None:
        heard = Heard()
        async with two(tmp_path / "t.db", heard) as (here, client, call):
            s = await sums(call)
            graph = f"{ROOT}/{s}/graph"
            await watch(client, graph)
            await Tools(client)("create_variable", session_id=s, role="another", value="x")
            await here.news.look()
            await call("create_variable", session_id=s, role="elsewhere", value="x")
            await here.news.look()
            assert await heard.until(2) == [graph, graph]

    asyncio.run(main())


@pytest.mark.requirement("announced", "announced-elsewhere")
def test_a_session_begun_at_another_server_is_announced_on_a_listen_stream(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "t.db"
        here = build(assisted(path))
        async with Client(here) as client, Client(build(assisted(path))) as there:
            call = Tools(there)
            s = await sums(call)
            uri = f"{ROOT}/{s}/report"
            async with client.listen(
                resource_subscriptions=[uri], resources_list_changed=True
            ) as events:
                await sums(call)
                await here.news.look()
                assert type(await anext(aiter(events))).__name__ == "ResourcesListChanged"
                await call("create_variable", session_id=s, role="another", value="x")
                await here.news.look()
                assert getattr(await anext(aiter(events)), "uri", None) == uri

    asyncio.run(main())


@pytest.mark.requirement("announced-elsewhere")
def test_whatever_changes_in_a_session_changes_its_mark_and_reading_does_not(
    tmp_path: Path,
) -> None:
    path, marks = tmp_path / "t.db", []

    async def main(call: Tools) -> None:
        async with an_engine(path=path) as engine:

            async def mark() -> str:
                return (await engine.store.news.of_sessions([s]))[s]

            s = await sums(call)
            for change in (judged, improved):
                marks.append(await mark())
                await change(call, s)
            for tool, arguments in (
                ("revert", {"variable": "v1", "version": 1}),
                ("revert", {"variable": "v1", "version": 2}),
                ("create_variable", {"role": "another", "value": "x"}),
                ("add_examples", {"split": "test", "examples": [{"question": "9+9?"}]}),
                ("forward", {}),
                ("create_variable", {"role": "new", "value": "x"}),
                ("forward", {"operation": "llm", "inputs": {"x": "v6"}}),
                ("resume", {"cancel": True}),
            ):
                marks.append(await mark())
                await call(tool, session_id=s, **arguments)
            marks.append(await mark())
            await call("inspect", session_id=s)
            assert await mark() == marks[-1]

    drive(main, assisted(path))
    assert len(set(marks)) == len(marks)


@pytest.mark.requirement("announced-elsewhere")
def test_a_store_that_was_away_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What failed to be read is told in the log, once, and what changed meanwhile is announced."""
    failures = iter([StoreError("It is away.", "Wait."), StoreError("It is away.", "Wait.")])

    async def main() -> None:
        heard = Heard()
        async with two(tmp_path / "t.db", heard) as (here, client, call):
            s = await sums(call)
            graph = f"{ROOT}/{s}/graph"
            look = here.news.look

            async def sometimes() -> None:
                for error in failures:
                    raise error
                await look()

            monkeypatch.setattr(here.news, "look", sometimes)
            monkeypatch.setattr(news, "LOOK_SECONDS", 0.01)
            await watch(client, graph)
            await call("create_variable", session_id=s, role="another", value="x")
            assert await heard.until(1) == [graph]

    asyncio.run(main())
    assert sum("It is away" in record.message for record in caplog.records) == 1


@pytest.mark.requirement("announced", "owners")
def test_changes_of_one_owner_change_no_mark_of_another(tmp_path: Path) -> None:
    async def main() -> None:
        async with an_engine(path=tmp_path / "t.db") as engine:
            store = engine.store
            await store.sessions.create("ann", "")
            before = await store.news.of_owners(["ann", "bob", "nobody"])
            await store.sessions.create("bob", "")
            after = await store.news.of_owners(["ann", "bob", "nobody"])
            assert [before[o] == after[o] for o in ("ann", "bob", "nobody")] == [True, False, True]
            assert before["bob"].newest < after["bob"].newest

    asyncio.run(main())
