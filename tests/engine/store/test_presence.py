"""The file that is open is the file that is there: moved, deleted, replaced, at any moment."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference
from textgrad_mcp.engine.store import connection
from textgrad_mcp.engine.store.backend import Chain
from textgrad_mcp.engine.store.database import Database
from textgrad_mcp.schemas.errors import StoreError
from textgrad_mcp.server.protocol.resource_views import ROOT

from ...helpers import Process, Tools, assisted, drive, process
from .test_database import count, insert, names_of, using

Move = Callable[[Path], object]
JOURNALS = ["persist", "wal"]
LINUX = os.path.isdir("/proc/self/fd")


@pytest.fixture(params=JOURNALS)
def journal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each journal mode, whatever this machine's SQLite is good for."""
    monkeypatch.setattr(connection, "WAL_IS_SAFE", request.param == "wal")
    return str(request.param)


def whole_copy(path: Path, target: Path) -> Path:
    """A copy as `sqlite3 .backup` makes one."""
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")
    return target


def delete(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def replace(path: Path) -> None:
    whole_copy(path, path.with_name("copy")).replace(path)


def replace_link(path: Path) -> None:
    """Keep the file at another place, and let its name stand for a copy there."""
    copy = whole_copy(path, path.with_name("copy"))
    path.rename(path.with_name("kept"))
    path.symlink_to(copy)


MOVES: dict[str, Move] = {
    "deleted": delete,
    "deleted alone": Path.unlink,
    "renamed": lambda path: path.rename(path.with_name("kept")),
    "replaced": replace,
    "a link instead": replace_link,
    "folder renamed": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "folder removed": lambda path: shutil.rmtree(path.parent),
    "folder replaced": lambda path: (
        path.parent.rename(path.parent.with_name("elsewhere")),
        shutil.copytree(path.parent.with_name("elsewhere"), path.parent),
    ),
}


def at_commit(act: Callable[[], object]) -> Callable[[str], None]:
    """For SQLite's trace: `act` once, when a commit has begun and nothing of it is written."""
    acts = [act]

    def heard(statement: str) -> None:
        if statement == "COMMIT" and acts:
            acts.pop()()

    return heard


def found_in(path: Path) -> list[str]:
    """The sessions of a whole database, or nothing where there is none."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return names_of(db)


@pytest.mark.requirement("same-file")
@pytest.mark.parametrize("moment", ["before", "before commit", "in commit"])
@pytest.mark.parametrize("how", MOVES)
def test_no_write_counts_as_done_that_is_not_in_the_file_of_that_name(
    tmp_path: Path, journal: str, how: str, moment: str
) -> None:
    path = tmp_path / "folder" / "t.db"
    waiting: list[Callable[[], object]] = []

    def fault(point: str) -> None:
        if point == "before commit" and moment == point and waiting:
            waiting.pop()()

    async def main(db: Database) -> None:
        await db.write(insert("done"))
        act = functools.partial(MOVES[how], path)
        if moment == "before":
            act()
        elif moment == "before commit":
            waiting.append(act)
        else:
            await db.read(lambda c: c.set_trace_callback(at_commit(act)), single=True)
        for n in range(3):
            with pytest.raises(StoreError) as refused:
                await db.write(insert(f"lost {n}"))
            assert str(path) in refused.value.message
            assert "again" in refused.value.next
            assert "Traceback" not in str(refused.value)
        with pytest.raises(StoreError):
            await db.read(count, single=True)

    using(path, main, fault)
    if path.exists():
        assert found_in(path) == ["done"]
    left = [path.with_name("kept"), tmp_path / "elsewhere" / "t.db"]
    for kept in (file for file in left if file.exists()):
        assert "done" in found_in(kept)  # the log beside it is not needed


@pytest.mark.requirement("same-file")
def test_where_the_good_data_is_and_what_to_do_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    async def main(db: Database) -> None:
        await db.write(insert("done"))
        path.rename(tmp_path / "old.db")
        with pytest.raises(StoreError, match="deleted or moved away") as moved:
            await db.write(insert("lost"))
        assert "database restore" in moved.value.next
        if LINUX:
            assert str(tmp_path / "old.db") in moved.value.message
        (tmp_path / "old.db").rename(path)
        await db.write(insert("it was moved back"))
        path.unlink()
        with pytest.raises(StoreError, match="deleted or moved away") as deleted:
            await db.write(insert("lost"))
        if LINUX:
            [place] = [w for w in deleted.value.message.split() if w.startswith("/proc/")]
            shutil.copyfile(place.rstrip("."), path)

    using(path, main)
    if path.exists():
        assert found_in(path) == ["done", "it was moved back"]


@pytest.mark.requirement("same-file")
@pytest.mark.parametrize("side", ["-wal", "-shm"])
def test_a_log_that_is_taken_away_is_put_into_the_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    monkeypatch.setattr(connection, "WAL_IS_SAFE", True)
    path = tmp_path / "t.db"

    async def main(db: Database) -> None:
        for n in range(5):
            await db.write(insert(f"done {n}"))
        path.with_name(f"t.db{side}").unlink()
        with pytest.raises(StoreError, match=f"t.db{side}, which belong to the open database"):
            await db.write(insert("lost"))
        assert found_in(path) == [f"done {n}" for n in range(5)]

    using(path, main)
    using(path, lambda db: db.write(insert("and on")))
    assert found_in(path) == ["and on", *(f"done {n}" for n in range(5))]


@pytest.mark.requirement("same-file")
def test_a_log_of_another_file_is_not_mixed_into_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAL_IS_SAFE", True)
    path, backup = tmp_path / "t.db", tmp_path / "backup.db"

    async def main(db: Database) -> None:
        await db.write(insert("in the backup"))
        whole_copy(path, backup)
        for n in range(80):
            await db.write(insert(f"later {n} " + "x" * 500))
        backup.replace(path)
        using_another = Database(path)
        await using_another.open()
        assert await using_another.read(names_of) == ["in the backup"]
        await using_another.write(insert("and on"))
        await using_another.close()

    using(path, main)
    assert found_in(path) == ["and on", "in the backup"]


@pytest.mark.requirement("same-file")
def test_writes_of_a_chain_are_not_settled_in_a_file_that_is_gone(
    tmp_path: Path, journal: str
) -> None:
    path = tmp_path / "t.db"

    async def main(db: Database) -> None:
        await db.write(insert("done"))
        chain = Chain()
        await db.write(insert("lost"), join=chain)
        path.rename(tmp_path / "kept")
        with pytest.raises(StoreError, match="not there any more"):
            await chain.settled()

    using(path, main)


@pytest.mark.requirement("same-file")
def test_an_empty_file_is_not_made_a_new_database_by_a_server_that_had_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.db"

    async def main(call: Tools) -> None:
        await call("create_variable", role="r", value="one")
        for spoil in (Path.unlink, Path.touch):
            spoil(path)
            assert "not there any more" in await call.refused("inspect")
        assert path.stat().st_size == 0

    drive(main, assisted(path))


def wal_first(journal: str) -> str:
    """What a server process is to do first, to use this journal mode."""
    return f"import textgrad_mcp.engine.store.connection as c; c.WAL_IS_SAFE = {journal == 'wal'}"


@pytest.mark.requirement("same-file")
@pytest.mark.parametrize("journal", JOURNALS)
def test_a_server_goes_on_in_the_file_that_was_put_in_the_place_of_its_own(
    tmp_path: Path, journal: str
) -> None:
    path = tmp_path / "t.db"

    async def session(call: Process, title: str) -> str:
        made = await call("create_variable", role=title, value="text")
        return str(made["session_id"])

    async def main() -> None:
        async with process(assisted(path), first=wal_first(journal)) as call:
            kept = await session(call, "in the backup")
            whole_copy(path, tmp_path / "backup")
            gone = await session(call, "later")
            (tmp_path / "backup").replace(path)
            assert "no session" in await call.refused("inspect", session_id=gone)
            await call("create_variable", session_id=kept, role="more", value="text")
            path.rename(tmp_path / "away")
            said = await call.refused("create_variable", role="r", value="text")
            assert str(tmp_path / "away") in said
            (tmp_path / "away").rename(path)
            await session(call, "back again")
        async with process(assisted(path), first=wal_first(journal)) as call:
            listed = (await call("inspect"))["view"]["sessions"]
            assert {one["title"] for one in listed} == {"in the backup", "back again"}
            assert len((await call("inspect", session_id=kept))["view"]["variables"]) == 2

    asyncio.run(main())
    found_in(path)


@pytest.mark.requirement("same-file", "errors-mapped")
def test_requests_that_are_no_tool_calls_are_told_in_words_too(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        uri = f"textgrad://sessions/{s}"
        path.unlink()
        argument = {"name": "session_id", "value": ""}
        about = ResourceTemplateReference(uri=f"{ROOT}/{{session_id}}")
        for ask in (
            call.client.list_resources,
            lambda: call.client.read_resource(uri),
            lambda: call.client.complete(about, argument),
        ):
            with pytest.raises(MCPError, match="is not there any more"):
                await ask()

    drive(main, assisted(path))
