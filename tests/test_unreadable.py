"""Rows that cannot be read: they are named, and nobody is locked out because of them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.store.database import Database
from textgrad_mcp.schemas.errors import StoreError

from .helpers import Tools, assisted, drive
from .test_database import count, insert, using


@pytest.mark.requirement("unreadable")
@pytest.mark.parametrize("single", [True, False])
def test_a_read_that_fails_half_way_lets_go_of_the_file(tmp_path: Path, single: bool) -> None:
    path = tmp_path / "t.db"

    def half(db: sqlite3.Connection) -> None:
        for found in db.execute("SELECT * FROM sessions"):
            raise StoreError(f"{found['id']} cannot be read.", "")

    async def main(db: Database) -> None:
        for n in range(3):
            await db.write(insert(f"{n}"))
        with pytest.raises(StoreError) as failed:
            await db.read(half, single=single)
        assert failed.value.__traceback__ is not None  # whose frames hold the cursor
        with closing(sqlite3.connect(path, timeout=0)) as other, other:
            other.execute("UPDATE sessions SET title = 'by another process'")
        await db.write(insert("and on"))
        assert await db.read(count) == 4

    using(path, main)


@pytest.mark.requirement("unreadable")
def test_a_write_that_fails_half_way_through_a_read_is_undone_and_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    def half(db: sqlite3.Connection) -> None:
        for found in db.execute("SELECT * FROM sessions"):
            insert("never")(db)
            raise StoreError(f"{found['id']} cannot be read.", "")

    async def main(db: Database) -> None:
        await db.write(insert("one"))
        jobs = [db.write(insert("two")), db.write(half), db.write(insert("three"))]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(o) for o in outcomes] == [type(None), StoreError, type(None)]
        with closing(sqlite3.connect(path, timeout=0)) as other, other:
            other.execute("DELETE FROM sessions WHERE id = 'one'")
        assert await db.read(count) == 2

    using(path, main)


SPOILT = {
    "UPDATE variables SET constraints = '[3]'": "variable v1 cannot be read: constraints.0",
    "UPDATE variables SET kind = 'odd'": "variable v1 cannot be read: 'odd' is not a valid Kind",
    "UPDATE variables SET constraints = '{'": "variable v1 cannot be read: ",
    "UPDATE variables SET file = '[]'": "variable v1 cannot be read: ",
    "UPDATE sessions SET batch = '7'": "cannot be read: batch",
    "UPDATE operations SET inputs = '7'": "operation op1 cannot be read: ",
    "UPDATE calls SET request = '{}'": "the request of call c1 cannot be read: ",
    "UPDATE runs SET state = '[]'": "run r1 cannot be read: state",
}


@pytest.mark.requirement("unreadable")
@pytest.mark.parametrize("spoil", SPOILT)
def test_what_cannot_be_read_is_named_and_the_way_out(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "t.db"

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="q", value="What?"))["session_id"]
        await call("forward", session_id=s, operation="llm", inputs={"x": "v1"})
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(spoil)
        reads = [("resume", {}), ("inspect", {"what": "graph"})]
        said = [(await call.called(tool, {"session_id": s, **more})) for tool, more in reads]
        words = " ".join(str(one.structured_content) for one in said)
        assert SPOILT[spoil] in words.replace('\\"', "'").replace('"', "'")
        assert "database check" in words
        assert "Error executing" not in words

    drive(main, assisted(path))

    async def check() -> list[str]:
        store = Store(path)
        await store.open()
        problems = await store.check()
        await store.close()
        return problems

    assert SPOILT[spoil] in " ".join(asyncio.run(check()))
