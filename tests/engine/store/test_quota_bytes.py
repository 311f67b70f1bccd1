"""Bytes stored for each owner: counted with every write, limited in every way in."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from textgrad_mcp.engine.answerers import Assistant
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store.migrations import MIGRATIONS
from textgrad_mcp.schemas.errors import QuotaExceeded
from textgrad_mcp.schemas.settings import OPEN_QUOTA_BYTES, Settings
from textgrad_mcp.server.http.serve import HttpOptions, bounded

from ...helpers import ME, Scripted, an_engine, endpoint
from ...standin import StandIn
from ..tools.test_owners import ALICE, BOB
from .test_transfer import exported, on_disk, worked_on

pytestmark = pytest.mark.each_store

LIMIT = 20_000
BIG = "x" * LIMIT


async def stored(engine: Engine, owner: str = "alice") -> int:
    """The bytes counted for an owner."""
    return sum(one.bytes for one in await engine.store.maintenance.every_session(owner))


async def begun(engine: Engine) -> str:
    """A session of Alice's."""
    return str((await engine.create_variable(ALICE, role="q", value="What?")).session_id)


async def _complete(engine: Engine, s: str) -> object:
    await engine.forward(ALICE, session_id=s, operation="llm", inputs={"x": "v1"})
    try:
        return await engine.resume(ALICE, session_id=s, completions={"c1": BIG})
    finally:
        assert (await engine.resume(ALICE, session_id=s)).pending_total == 1


async def _import(engine: Engine, s: str) -> object:
    document = await exported(engine.store, s, "alice")
    document["examples"] = [{"n": 1, "split": "train", "fields": {"q": BIG}}]
    return await engine.store.export.import_session("alice", document)


WAYS_IN: dict[str, Callable[[Engine, str], Awaitable[object]]] = {
    "a new session": lambda e, s: e.create_variable(ALICE, role="r", value=BIG),
    "a parameter": lambda e, s: e.create_variable(ALICE, session_id=s, role="r", value=BIG),
    "a constant": lambda e, s: e.create_variable(
        ALICE, session_id=s, role="r", value=BIG, requires_grad=False
    ),
    "constraints": lambda e, s: e.create_variable(
        ALICE, session_id=s, role="r", value="x", constraints=["y" * 1900] * 11
    ),
    "examples": lambda e, s: e.add_examples(
        ALICE, session_id=s, split="train", examples=[{"q": f"{n}{'x' * 1900}"} for n in range(11)]
    ),
    "a completion": _complete,
    "a template": lambda e, s: e.forward(
        ALICE, session_id=s, operation="format", template=BIG + "{x}", inputs={"x": "v1"}
    ),
    "an instruction": lambda e, s: e.compute_loss(
        ALICE, session_id=s, kind="judge", instruction=BIG, inputs={"x": "v1"}
    ),
    "an import": _import,
}


@pytest.mark.requirement("quotas")
@pytest.mark.parametrize("way", WAYS_IN)
def test_what_would_be_too_much_is_refused_and_nothing_of_it_is_stored(way: str) -> None:
    async def main() -> None:
        async with an_engine(Assistant(), quota_bytes=LIMIT) as engine:
            s = await begun(engine)
            before = await stored(engine)
            with pytest.raises(QuotaExceeded, match=f"{LIMIT:,} is the most") as refused:
                await WAYS_IN[way](engine, s)
            assert "quota_bytes" in refused.value.next
            assert await stored(engine) < before + 2000
            assert len(await engine.store.maintenance.every_session("alice")) == 1
            pk = (await engine.store.sessions.get(s, "alice")).pk
            variables = await engine.store.graph.variables(pk)
            assert len(variables) == (2 if way == "a completion" else 1)
            assert await engine.store.examples.split_sizes(pk) == {}
            # A text is stored twice: as a value and as a version.
            await engine.create_variable(BOB, role="r", value="x" * (LIMIT // 2 - 500))
            assert await engine.store.maintenance.check() == []

    asyncio.run(main())


@pytest.mark.requirement("quotas", "on-disk")
def test_a_reply_that_was_paid_for_is_recorded_and_what_comes_after_is_refused() -> None:
    async def main(server: StandIn) -> None:
        async with an_engine(OpenAIAnswerer(endpoint(server)), quota_bytes=LIMIT) as engine:
            s = str((await engine.create_variable(ALICE, role="q", value="What?")).session_id)
            failed = await engine.forward(ALICE, session_id=s, operation="llm", inputs={"x": "v1"})
            assert failed.status == "failed"
            assert "is the most you may have" in str(failed.error)
            pk = (await engine.store.sessions.get(s, "alice")).pk
            call = await engine.store.calls.get(pk, 1)
            assert call is not None
            assert (call["status"], call["text"]) == ("answered", BIG)
            assert await stored(engine) > LIMIT
            with pytest.raises(QuotaExceeded):
                await engine.create_variable(ALICE, session_id=s, role="r", value="one more")
            engine.store.db.quota_bytes = None  # the operator has made room
            done = await engine.resume(ALICE, session_id=s)
            assert done.status == "done"
            assert len(server.log) == 1

    with StandIn(reply=lambda _: BIG) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("quotas")
def test_no_call_goes_out_that_there_is_no_room_for() -> None:
    async def main(server: StandIn) -> None:
        async with an_engine(OpenAIAnswerer(endpoint(server)), quota_bytes=LIMIT) as engine:
            made = await engine.create_variable(ALICE, role="q", value="x" * (LIMIT // 2 - 1000))
            s = str(made.session_id)
            failed = await engine.forward(ALICE, session_id=s, operation="llm", inputs={"x": "v1"})
            assert failed.status == "failed"
            assert server.log == []

    with StandIn() as server:
        asyncio.run(main(server))


@pytest.mark.requirement("quotas")
def test_room_is_free_again_when_something_is_deleted_and_two_servers_share_one_count(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.db"

    async def main() -> None:
        async with (
            an_engine(path=path, quota_bytes=LIMIT) as here,
            an_engine(path=path, quota_bytes=LIMIT) as there,
        ):
            half = "x" * (LIMIT // 4)
            first = await here.create_variable(ALICE, role="r", value=half)
            for engine in (there, here):
                with pytest.raises(QuotaExceeded):
                    await engine.create_variable(ALICE, role="r", value="x" * (LIMIT // 3))
            [session] = await there.store.maintenance.every_session("alice")
            assert session.id == first.session_id
            await there.store.maintenance.delete_sessions([session.pk])
            await here.create_variable(ALICE, role="r", value="x" * (LIMIT // 3))

    asyncio.run(main())


def without_scores(db: sqlite3.Connection) -> None:
    """What a file of before does not have does not count."""
    assert db.execute("UPDATE evaluations SET scores = NULL WHERE scores != ''").rowcount


@pytest.mark.about_the_file
@pytest.mark.requirement("quotas", "check")
def test_the_count_is_exact_after_a_whole_life_and_in_files_of_before(tmp_path: Path) -> None:
    async def life() -> int:
        async with an_engine(Scripted(), tmp_path / "new.db") as engine:
            s = await worked_on(engine)
            await engine.optimize(ME, session_id=s, strategy="gradient", steps=2)
            await engine.revert(ME, session_id=s, variable="v1", version=1)
            await engine.store.db.write(without_scores)
            assert await engine.store.maintenance.check() == []
            document = await exported(engine.store, s)
            await engine.store.export.import_session("alice", document)
            assert await engine.store.maintenance.check() == []
            [mine], [hers] = [
                await engine.store.maintenance.every_session(o) for o in ("local", "alice")
            ]
            assert mine.bytes > 5000
            assert hers.bytes == mine.bytes
            await engine.store.maintenance.delete_sessions([hers.pk])
            assert await engine.store.maintenance.check() == []
            return mine.bytes

    counted = asyncio.run(life())
    before = tmp_path / "before.db"
    without = [name for name, _ in MIGRATIONS].index("bytes stored for each session")
    with closing(sqlite3.connect(tmp_path / "new.db")) as db, db:
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for _, sql in reversed(MIGRATIONS[without:]):
            for kind, name in re.findall(r"CREATE (INDEX|TABLE) (\w+)", sql):
                db.execute(f"DROP {kind} {name}")
            for table, column in re.findall(r"ALTER TABLE (\w+) ADD COLUMN (\w+)", sql):
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.execute(f"PRAGMA user_version = {without}")
    (tmp_path / "new.db").rename(before)
    [session] = on_disk(before, lambda store: store.maintenance.every_session())
    assert session.bytes == counted
    assert on_disk(before, lambda store: store.maintenance.check()) == []


@pytest.mark.requirement("quotas")
def test_where_callers_are_told_apart_there_is_a_limit_unless_the_operator_sets_another() -> None:
    told_apart = HttpOptions(tokens=Path("tokens")), HttpOptions(jwks="keys")
    for options in told_apart:
        assert bounded(Settings(), options).quota_bytes == OPEN_QUOTA_BYTES
        assert bounded(Settings(quota_bytes=7), options).quota_bytes == 7
    assert bounded(Settings(), HttpOptions()).quota_bytes is None
