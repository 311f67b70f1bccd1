"""How often a call waits for a server: each time is a way there and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from textgrad_mcp.engine.answerers import Attempt
from textgrad_mcp.engine.store import NewRun, RunFence, Store
from textgrad_mcp.engine.store.budgets import Budgets, Price
from textgrad_mcp.engine.store.postgres.database import PostgresDatabase
from textgrad_mcp.schemas.completions import Completion
from textgrad_mcp.schemas.database import PostgresAddress

from ....many_writers import request
from ....postgres_server import shared

pytestmark = pytest.mark.postgres
PLAIN = Budgets({}, {})
LIMITED = Budgets({"calls": 10}, {"calls": 10}, owner="me", owner_calls=10)


async def _trips(store: Store, done: Awaitable[Any]) -> int:
    assert isinstance(store.db, PostgresDatabase)
    before = store.db.counts.trips
    await done
    return store.db.counts.trips - before


@pytest.mark.requirement("fleet-trips")
@pytest.mark.parametrize(("budgets", "opened"), [(PLAIN, 4), (LIMITED, 8)], ids=["free", "limited"])
def test_a_model_call_goes_to_the_server_a_few_times(budgets: Budgets, opened: int) -> None:
    server = shared()
    name = server.lend()

    async def main() -> None:
        store = Store(PostgresAddress(server.url(name)))
        await store.open()
        session = await store.sessions.create("me", "title")
        new = NewRun("backward", {}, "digest", "a")
        run = (await store.runs.start(session.pk, session.id, new)).run
        fence: RunFence = (1, run.process)
        for n in (1, 2):
            asked = request(f"{n}")
            opening = store.calls.open(session.pk, asked, fence, "endpoint", Price(), budgets)
            assert await _trips(store, opening) == opened
            said = Completion(text="said", model="m")
            recording = store.calls.record(session.pk, n, said, [Attempt("ok")])
            assert await _trips(store, recording) == 2
        assert await _trips(store, store.sessions.get(session.id, "me")) == 1
        await store.close()

    asyncio.run(main())
    server.back(name)
