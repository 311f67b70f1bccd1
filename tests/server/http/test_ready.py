"""/readyz: ready only while something can be stored; and refusals that name the true cause."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from textgrad_mcp.engine.store.causes import explain, obstacle
from textgrad_mcp.engine.store.database import Database
from textgrad_mcp.schemas.database import PostgresAddress
from textgrad_mcp.schemas.errors import StoreError
from textgrad_mcp.server.http import serve as http
from textgrad_mcp.server.protocol.app import build

from ...engine.store.test_database import count, insert, using
from ...engine.store.test_faults_store import locked, write_one
from ...helpers import Tools, assisted, served_by
from ...postgres_server import server as postgres
from ...standin import StandIn
from ...tour import sums
from ...users import as_user, served, user


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, where the machine lets us have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def fill(folder: Path) -> None:
    """Leave no room on the file system of `folder`."""
    with (folder / "filler").open("wb", buffering=0) as file:
        while shutil.disk_usage(folder).free:
            file.write(bytes(4096))


def remounted(folder: Path, how: str) -> None:
    """Make the file system of `folder` read-only (`ro`), or writable again (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True, capture_output=True)


FAULTS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], str]] = {
    "full": (
        lambda db: fill(db.parent),
        lambda db: (db.parent / "filler").unlink(),
        "the disk is full",
    ),
    "moved": (
        lambda db: db.rename(db.with_name("away")),
        lambda db: db.with_name("away").rename(db),
        "deleted or moved away",
    ),
}


def refused_for(url: str, path: Path, why: str) -> None:
    """See that a call that stores something is refused in these words."""

    async def main(client: Client) -> None:
        said = await Tools(client).refused("create_variable", role="r", value="x" * 10**6)
        assert why in said
        assert str(path) in said

    as_user(url, "nobody", main)


@pytest.mark.requirement("ready")
@pytest.mark.parametrize("how", FAULTS)
def test_a_server_whose_store_cannot_be_written_is_not_ready_until_it_can(
    disk: Path, how: str
) -> None:
    path = disk / "t.db"
    spoil, mend, why = FAULTS[how]
    with served(assisted(path)) as (url, _), httpx2.Client(base_url=url) as ask:
        assert ask.get("/readyz").status_code == 200
        spoil(path)
        found = ask.get("/readyz")
        assert (found.status_code, found.text) == (503, "not ready\n")
        assert ask.get("/healthz").status_code == 200
        refused_for(url, path, why)
        mend(path)
        assert ask.get("/readyz").text == "ready\n"


@pytest.mark.requirement("ready")
def test_a_server_on_a_read_only_file_system_is_not_ready_until_that_is_writable(
    disk: Path,
) -> None:
    path = disk / "t.db"
    using(path, write_one)
    remounted(disk, "ro")
    with served(assisted(path)) as (url, _), httpx2.Client(base_url=url) as ask:
        assert ask.get("/readyz").status_code == 503
        refused_for(url, path, f"{disk} lies on a file system that is mounted read-only")
        remounted(disk, "rw")
        assert ask.get("/readyz").status_code == 200


@pytest.mark.requirement("ready")
def test_a_server_whose_file_is_locked_for_long_is_not_ready_and_one_try_serves_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "READY_SECONDS", 0.1)
    path = tmp_path / "t.db"
    using(path, write_one)

    async def main() -> None:
        server = build(assisted(path))
        readiness = http.Readiness(server)
        async with Client(server):
            with locked(path, "IMMEDIATE") as let_go:
                found = await asyncio.gather(*(readiness.look() for _ in range(5)))
                assert found == [False] * 5
                trying = readiness.trying
                assert await readiness.look() is False
                assert readiness.trying is trying
                let_go.set()
                assert trying is not None
                assert await trying
            assert await readiness.look()

    asyncio.run(main())


@pytest.mark.requirement("ready")
def test_a_try_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    async def main(db: Database) -> None:
        await db.write(insert("one"))
        before = path.read_bytes()
        await db.ping()
        assert path.read_bytes() == before
        await asyncio.gather(*(db.ping() for _ in range(5)))
        assert await db.read(count) == 1

    using(path, main)
    assert not [file for file in tmp_path.iterdir() if not file.name.startswith("t.db")]


@pytest.mark.requirement("ready")
@pytest.mark.parametrize("pragma", ["query_only = ON", "max_page_count = 1"])
def test_a_store_that_can_be_read_and_not_written_fails_its_try(
    tmp_path: Path, pragma: str
) -> None:
    async def main(db: Database) -> None:
        await db.read(lambda c: c.execute(f"PRAGMA {pragma}").fetchall(), single=True)
        assert await db.read(count) == 0
        with pytest.raises(StoreError, match=r"read-only|disk is full"):
            await db.ping()

    using(tmp_path / "t.db", main)


LIMITED = """
import resource, sqlite3, sys
from pathlib import Path
from textgrad_mcp.engine.store.causes import obstacle
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, resource.RLIM_INFINITY))
print(*obstacle(path))
"""


@pytest.mark.requirement("ready")
def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    using(path, write_one)
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "this process may make no file larger than" in done.stdout
    assert "ulimit" in done.stdout


@pytest.mark.requirement("ready")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda db: db.parent.rename(db.parent.with_name("away")), "has no folder"),
        (lambda db: (db.unlink(), db.mkdir()), "it is a folder"),
        (lambda db: None, "cannot be read or written"),
    ],
    ids=["no folder", "a folder", "nothing to be found"],
)
def test_a_failure_of_the_file_is_told_with_what_can_be_found_of_its_cause(
    tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    path = tmp_path / "folder" / "t.db"
    using(path, write_one)
    spoil(path)
    failed = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorname = "SQLITE_IOERR_WRITE"
    error = explain(failed, path)
    assert isinstance(error, StoreError)
    assert why in error.message
    assert error.next


@pytest.mark.requirement("ready")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_permissions_that_are_missing_are_told_apart(tmp_path: Path, closed: str) -> None:
    path = tmp_path / "folder" / "t.db"
    using(path, write_one)
    (path if closed == "file" else path.parent).chmod(0o500)
    found = obstacle(path)
    path.parent.chmod(0o700)
    assert found is not None
    assert ("this user may not write it" in found[0]) == (closed == "file")
    assert ("no file can be made in" in found[0]) == (closed == "folder")


@pytest.mark.requirement("ready")
@pytest.mark.postgres
def test_a_replica_whose_database_is_away_is_not_ready_until_it_is_back() -> None:
    with postgres() as database:
        address = PostgresAddress(database.url(database.database()))
        with served(assisted(address)) as (url, _), httpx2.Client(base_url=url, timeout=20) as ask:
            assert ask.get("/readyz").status_code == 200
            database.stop("immediate")
            assert ask.get("/readyz").status_code == 503
            assert ask.get("/healthz").status_code == 200
            database.start()
            while ask.get("/readyz").status_code != 200:
                pass


@pytest.mark.requirement("ends")
@pytest.mark.postgres
def test_a_replica_ends_soon_though_its_database_is_away() -> None:
    async def main(url: str, process: subprocess.Popen[str]) -> None:
        async with user(url, "anybody") as client:
            begun = asyncio.create_task(client.call_tool("forward", {"session_id": s}))
            await asyncio.to_thread(model.wait_for, lambda it: it.in_flight == 1)
            database.stop("immediate")
            process.terminate()
            await asyncio.to_thread(process.wait, 20)
            await asyncio.gather(begun, return_exceptions=True)

    async def begin(client: Client) -> str:
        return await sums(Tools(client))

    with StandIn(paused=True) as model, postgres() as database:
        address = PostgresAddress(database.url(database.database()))
        with served(served_by(model, address)) as (url, process):
            s = as_user(url, "anybody", begin)
            with suppress(Exception, BaseExceptionGroup):  # the client finds its server gone
                asyncio.run(main(url, process))
            assert process.wait(20) is not None  # however soon the client gave up
        database.start()
