"""Sessions from a file to a server and back, and what replicas share there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.store import NewRun, Store
from textgrad_mcp.engine.store.move import Moved, move
from textgrad_mcp.schemas.database import Location, PostgresAddress
from textgrad_mcp.schemas.errors import Conflict
from textgrad_mcp.schemas.graph import Kind, Variable

from ....helpers import Scripted, an_engine
from ....postgres_server import shared
from ..test_transfer import in_order, worked_on

pytestmark = pytest.mark.postgres


async def documents(place: Location) -> dict[str, Any]:
    """All sessions of a database, by owner and id."""
    store = Store(place)
    await store.open()
    sessions = await store.maintenance.every_session()
    found = {
        f"{s.owner} {s.id}": in_order(await store.export.export_session(s.pk)) for s in sessions
    }
    await store.close()
    return found


@pytest.mark.requirement("fleet-move")
def test_what_moves_to_a_server_and_back_is_the_same(tmp_path: Path) -> None:
    server = shared()
    there = PostgresAddress(server.url(server.database()))
    here, back = tmp_path / "here.db", tmp_path / "back.db"

    async def main() -> None:
        async with an_engine(Scripted(), here) as engine:
            await worked_on(engine)
            await engine.store.sessions.create("somebody else", "another")
        assert await move(here, there) == Moved(2, 0)
        assert await move(here, there) == Moved(0, 2)
        assert await move(there, back) == Moved(2, 0)
        assert await documents(here) == await documents(there) == await documents(back)

    asyncio.run(main())


def test_nothing_is_moved_from_under_a_run(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(tmp_path / "t.db")
        await store.open()
        one = await store.sessions.create("me", "title")
        await store.runs.start(one.pk, one.id, NewRun("backward", {}, "d", "somebody"))
        await store.close()
        with pytest.raises(Conflict, match=one.id):
            await move(tmp_path / "t.db", tmp_path / "u.db")

    asyncio.run(main())


@pytest.mark.each_store
def test_processes_share_a_secret_and_hear_which_session_has_changed(tmp_path: Path) -> None:
    async def main() -> None:
        mine, other = Store(tmp_path / "t.db"), Store(tmp_path / "t.db")
        await mine.open()
        await other.open()
        keys = await asyncio.gather(*(s.maintenance.shared_key("rounds") for s in (mine, other)))
        assert keys[0] == keys[1] != await mine.maintenance.shared_key("another")
        made = [await mine.sessions.create("me", f"{n}") for n in range(2)]
        ids = [one.id for one in made]
        before = await other.news.of_sessions([*ids, "tg_nobodys"])
        assert set(before) == set(ids)
        leaf = Variable(id="", kind=Kind.CONSTANT, role="r", value="x", version=1)
        await asyncio.sleep(0.002)  # the marks' clock counts milliseconds
        await mine.graph.add_leaf(made[1].pk, leaf)
        after = await other.news.of_sessions(ids)
        assert [before[one] == after[one] for one in ids] == [True, False]
        await mine.close()
        await other.close()

    asyncio.run(main())
