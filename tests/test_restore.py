"""`database restore`: a backup in the place of a database, with servers on it or without."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.store import connection
from textgrad_mcp.engine.store.migrations import APPLICATION_ID, MIGRATIONS
from textgrad_mcp.engine.store.restore import SIDES

from .helpers import Process, assisted, own_environment, process, served_by
from .standin import StandIn
from .test_database import corrupt, foreign, newer
from .test_presence import JOURNALS, found_in, wal_first
from .test_sessions_cli import Line


@pytest.fixture(autouse=True)
def _an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_environment(monkeypatch, tmp_path)


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Line:
    return Line(tmp_path / "t.db", capsys)


def kept_of(path: Path) -> list[Path]:
    """What former contents are kept beside a database, without their logs."""
    found = path.parent.glob(f"{path.name}.before-restore-*")
    return [file for file in found if not file.name.endswith(SIDES)]


@pytest.mark.requirement("restore")
def test_a_backup_takes_the_place_of_the_database_which_is_kept(line: Line, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    first = line.make()
    line("database", "backup", backup)
    content = backup.read_bytes()
    second = line.make()
    said = line("database", "restore", backup)
    assert "holds what was in" in said
    assert "sessions: 1" in said
    assert found_in(line.path) == [first]
    [kept] = kept_of(line.path)
    assert str(kept) in said
    assert found_in(kept) == sorted([first, second])
    assert backup.read_bytes() == content
    assert line.path.stat().st_mode & 0o777 == 0o600
    assert "is whole" in line("database", "check")
    facts = json.loads(line("database", "restore", kept, "--json"))
    assert (facts["sessions"], facts["stopped"]) == (2, [])
    assert found_in(line.path) == sorted([first, second])


@pytest.mark.requirement("restore")
def test_a_backup_is_put_where_no_database_is_and_stale_logs_are_not_mixed_in(
    line: Line, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.db"
    session = line.make()
    line("database", "backup", backup)
    line.path.unlink()
    for side in SIDES:
        line.path.with_name(f"t.db{side}").write_bytes(os.urandom(9000))
    assert "holds what was in" in line("database", "restore", backup)
    assert found_in(line.path) == [session]
    assert len(list(tmp_path.glob("t.db.before-restore-*"))) == len(SIDES)


@pytest.mark.requirement("restore")
def test_a_damaged_database_is_kept_as_it_is_and_replaced(line: Line, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    session = line.make()
    line("database", "backup", backup)
    for spoil in (corrupt, lambda path: path.write_bytes(b"no database" * 999)):
        line.path.unlink()
        spoil(line.path)
        damaged = line.path.read_bytes()
        before = set(kept_of(line.path))
        line("database", "restore", backup)
        assert found_in(line.path) == [session]
        [kept] = set(kept_of(line.path)) - before
        assert kept.read_bytes() == damaged


def ours_of_another_kind(path: Path) -> None:
    """A file with our mark and rows that make no sense."""
    with closing(sqlite3.connect(path)) as db, db:
        for _, script in MIGRATIONS:
            db.executescript(script)
        db.execute("INSERT INTO cells VALUES (99, 1, 1, 'x', NULL)")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


USELESS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "none": (lambda path: None, "There is no backup"),
    "a folder": (Path.mkdir, "There is no backup"),
    "empty": (Path.touch, "no database of textgrad-mcp"),
    "notes": (lambda path: path.write_bytes(b"These are my notes. " * 500), "not a database"),
    "foreign": (foreign, "no database of textgrad-mcp"),
    "newer": (newer, "newer textgrad-mcp"),
    "damaged": (corrupt, "it is damaged"),
    "not whole": (ours_of_another_kind, "belongs to no session"),
}


@pytest.mark.requirement("restore")
@pytest.mark.parametrize("what", USELESS)
def test_a_backup_that_is_none_is_refused_and_everything_stays(
    line: Line, tmp_path: Path, what: str
) -> None:
    session, backup = line.make(), tmp_path / "backup.db"
    make, said = USELESS[what]
    make(backup)
    before = sorted(tmp_path.iterdir())
    assert said in line("database", "restore", backup, code=2)
    assert sorted(tmp_path.iterdir()) == before
    assert found_in(line.path) == [session]


@pytest.mark.requirement("restore")
def test_another_programs_database_and_the_database_itself_are_left_alone(
    line: Line, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.db"
    line.make()
    line("database", "backup", backup)
    assert "is the database itself" in line("database", "restore", line.path, code=2)
    line.path.unlink()
    foreign(line.path)
    before = line.path.read_bytes()
    assert "another program" in line("database", "restore", backup, code=2)
    assert line.path.read_bytes() == before


@pytest.mark.requirement("restore", "migrations")
def test_an_older_backup_is_brought_up_to_date_and_a_link_stays_one(
    line: Line, tmp_path: Path
) -> None:
    backup, real = tmp_path / "backup.db", tmp_path / "real" / "t.db"
    with closing(sqlite3.connect(backup)) as db, db:
        db.executescript(MIGRATIONS[0][1])
        db.execute(
            "INSERT INTO sessions (id, owner, title, created, updated) VALUES ('s','o','t','','')"
        )
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
    real.parent.mkdir()
    line.path.symlink_to(real)
    line.make()
    line("database", "restore", backup)
    assert line.path.is_symlink()
    assert found_in(real) == ["s"]
    assert "is whole" in line("database", "check")
    assert len(kept_of(real)) == 1


@pytest.mark.requirement("restore")
@pytest.mark.parametrize("journal", JOURNALS)
def test_live_servers_go_on_with_the_backup_and_nothing_they_stored_is_lost(
    line: Line, tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAL_IS_SAFE", journal == "wal")
    backup = tmp_path / "backup.db"
    stored: list[str] = []

    async def session(call: Process) -> str:
        made = await call("create_variable", role="r", value="text")
        return str(made["session_id"])

    async def work(call: Process, enough: Callable[[], bool]) -> None:
        while not enough():
            result = await call.called("create_variable", {"role": "r", "value": "text"})
            facts = result.structured_content or {}
            if result.is_error:  # the exchange came in the middle of the call
                assert "another file than the one that was open" in facts["error"]
                assert facts["next"].startswith("Call again")
            else:
                stored.append(facts["session_id"])

    async def main() -> None:
        async with AsyncExitStack() as stack:
            calls = [
                await stack.enter_async_context(process(assisted(line.path), wal_first(journal)))
                for _ in range(2)
            ]
            old = await session(calls[0])
            await asyncio.to_thread(line, "database", "backup", backup)
            restoring = asyncio.Event()

            def enough() -> bool:
                if len(stored) >= 6:
                    restoring.set()
                return restored.done() and len(stored) >= restored.result() + 6

            async def restore() -> int:
                await restoring.wait()
                await asyncio.to_thread(line, "database", "restore", backup)
                return len(stored)

            restored = asyncio.create_task(restore())
            await asyncio.gather(*(work(call, enough) for call in calls))
            for call in calls:
                await call("create_variable", session_id=old, role="more", value="text")

    asyncio.run(main())
    [kept] = kept_of(line.path)
    before, after = set(found_in(kept)), set(found_in(line.path))
    assert before | after >= set(stored)
    assert len(before & after) == 1
    assert "is whole" in line("database", "check")


@pytest.mark.requirement("restore", "asked-once")
@pytest.mark.parametrize("journal", JOURNALS)
def test_runs_under_way_keep_a_backup_out_unless_they_may_be_stopped(
    line: Line, tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WAL_IS_SAFE", journal == "wal")
    backup = tmp_path / "backup.db"

    async def main(server: StandIn) -> None:
        settings = served_by(server, line.path)
        async with process(settings, wal_first(journal)) as call:
            s = (await call("create_variable", role="q", value="What?"))["session_id"]
            await asyncio.to_thread(line, "database", "backup", backup)
            ask = {"session_id": s, "operation": "llm", "inputs": {"x": "v1"}}
            running = asyncio.create_task(call.refused("forward", **ask))
            await asyncio.to_thread(server.wait_for, lambda it: it.in_flight == 1)
            await asyncio.to_thread(wait_until_it_is_a_run, line.path)
            said = await asyncio.to_thread(line, "database", "restore", backup, code=2)
            assert "Runs are under way" in said
            assert s in said
            assert kept_of(line.path) == []
            said = await asyncio.to_thread(line, "database", "restore", backup, "--force")
            assert f"stopped where they were in {s}" in said
            server.resume()
            assert "it was replaced" in await running
            assert (await call("forward", **ask))["status"] == "done"
            assert len(server.log) == 2

    with StandIn(paused=True) as server:
        asyncio.run(main(server))
    assert len(kept_of(line.path)) == 1
    assert "is whole" in line("database", "check")


def wait_until_it_is_a_run(path: Path) -> None:
    """The row of a run may be written a little after its first call went out."""
    with closing(sqlite3.connect(path)) as db:
        while not db.execute("SELECT 1 FROM runs").fetchall():
            pass
