"""The file under pressure: locked, migrated by many at once, its callers cancelled at random."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.store import StepRecord, Store, connection
from textgrad_mcp.engine.store.database import Database
from textgrad_mcp.engine.store.migrations import MIGRATIONS
from textgrad_mcp.schemas.completions import CompletionRequest
from textgrad_mcp.schemas.errors import Conflict, StoreError
from textgrad_mcp.schemas.graph import Fate, Proposal

from ...helpers import ME, Scripted, an_engine, plain_reply
from ...session_driver import MEMORY_DISK
from ..runs.test_runs import prompts
from .test_database import counted, insert, names_of, using

FORK = multiprocessing.get_context("fork")
PROCESS_SECONDS = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder where commits are quick."""
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK) as made:
        yield Path(made)


def _hold(path: Path, lock: str, held: Any, let_go: Any) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"BEGIN {lock}")
        held.set()
        let_go.wait(PROCESS_SECONDS)
        db.execute("ROLLBACK")


@contextmanager
def locked(path: Path, lock: str) -> Iterator[Any]:
    """Another process keeps the file locked until the event that this gives is set."""
    held, let_go = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=_hold, args=(path, lock, held, let_go))
    holder.start()
    assert held.wait(PROCESS_SECONDS)
    try:
        yield let_go
    finally:
        let_go.set()
        holder.join(PROCESS_SECONDS)


async def write_one(db: Database) -> None:
    """Add a session."""
    await db.write(insert("one"))


@pytest.mark.requirement("locked")
@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_file_that_another_process_keeps_locked_is_named_and_works_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    path = tmp_path / "t.db"
    using(path, lambda db: db.ping())
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0)
    with locked(path, lock):
        with pytest.raises(StoreError, match="locked by another process") as caught:
            using(path, write_one)
        assert str(path) in caught.value.message
        assert "again" in caught.value.next
    using(path, write_one)
    assert counted(path) == 1


@pytest.mark.requirement("locked")
def test_a_writer_waits_for_another_process_to_let_go(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    using(path, lambda db: db.ping())
    with locked(path, "IMMEDIATE") as let_go:

        async def main(db: Database) -> None:
            waiting = asyncio.create_task(write_one(db))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not waiting.done()
            let_go.set()
            await waiting

        using(path, main)
    assert counted(path) == 1


MORE = ("one more column", "ALTER TABLE sessions ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'")


def _open(path: Path, together: Any) -> None:
    together.wait(PROCESS_SECONDS)
    using(path, lambda db: db.ping())


@pytest.mark.requirement("migrations")
def test_eight_processes_may_bring_one_file_up_to_date_at_once_and_once_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, together = tmp_path / "t.db", FORK.Barrier(8)
    using(path, write_one)
    monkeypatch.setattr(connection, "MIGRATIONS", [*MIGRATIONS, MORE])
    processes = [FORK.Process(target=_open, args=(path, together)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PROCESS_SECONDS)
    assert [p.exitcode for p in processes] == [0] * 8
    using(path, lambda db: db.ping())
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT id, colour FROM sessions").fetchall() == [("one", "grey")]
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS) + 1
    monkeypatch.setattr(connection, "MIGRATIONS", MIGRATIONS)
    with pytest.raises(StoreError, match="written by a newer"):
        using(path, write_one)
    assert counted(path) == 1


@pytest.mark.requirement("migrations")
def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.db"
    using(path, write_one)
    broken = ("two statements", f"{MORE[1]};\nALTER TABLE nowhere ADD COLUMN x TEXT")
    monkeypatch.setattr(connection, "MIGRATIONS", [*MIGRATIONS, broken])
    with pytest.raises(StoreError):
        using(path, write_one)
    monkeypatch.setattr(connection, "MIGRATIONS", MIGRATIONS)
    using(path, lambda db: db.ping())
    with closing(sqlite3.connect(path)) as db:
        assert "colour" not in [row[1] for row in db.execute("PRAGMA table_info(sessions)")]


BEFORE_FATES = {
    "validation 0.40 -> 0.60, more than 1 standard error": "accepted",
    "no usable text, not even after a repair: The text is unchanged. Change it.": Fate.UNCHANGED,
    "no usable text, not even after a repair: It copies a test example: 'x'.": Fate.COPIED,
    "no usable text, not even after a repair: It holds talk of gradients.": Fate.LEAKED,
    "no usable text, not even after a repair: The reply was empty.": Fate.UNUSABLE,
    "it breaks a constraint: too long": Fate.BROKEN,
    "the same text as candidate 1": Fate.TWICE,
    "no gain on the minibatch: 0.50 -> 0.25 on 4 examples": Fate.MINIBATCH,
    "Candidate 2 was taken, which gained more: validation 0.40 -> 0.50": Fate.BEATEN,
    "proposed only": Fate.NOT_COMPARED,
}
"""Reasons as they were written when nothing else told what became of a proposal."""


@pytest.mark.requirement("migrations")
def test_older_proposals_come_to_the_fate_that_their_reason_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.db"

    def propose(db: sqlite3.Connection) -> None:
        insert("one")(db)
        for n, (reason, fate) in enumerate(BEFORE_FATES.items(), 1):
            verdict = "accepted" if fate == "accepted" else "refused"
            db.execute(
                "INSERT INTO proposals VALUES (1,?,1,1,1,'',?,?,NULL,NULL,NULL,NULL,0,'[]','')",
                (n, verdict, reason),
            )

    monkeypatch.setattr(connection, "MIGRATIONS", MIGRATIONS[:3])
    using(path, lambda db: db.write(propose))
    monkeypatch.setattr(connection, "MIGRATIONS", MIGRATIONS)
    using(path, lambda db: db.ping())
    with closing(sqlite3.connect(path)) as db:
        assert dict(db.execute("SELECT reason, fate FROM proposals")) == BEFORE_FATES


def cancelled_at_random(path: Path, callers: int) -> None:
    """Pairs of rows written by callers of whom most go away at some moment."""
    draw = random.Random(7)

    def pair(db: sqlite3.Connection, n: int) -> None:
        insert(f"{n} a")(db)
        insert(f"{n} b")(db)

    async def caller(db: Database, n: int) -> None:
        await db.write(lambda connection: pair(connection, n))

    async def main(db: Database) -> None:
        stayed = []
        for first in range(0, callers, 20):
            tasks = [asyncio.create_task(caller(db, n)) for n in range(first, first + 20)]
            for task in tasks:
                for _ in range(draw.randrange(6)):
                    await asyncio.sleep(0)
                if draw.random() < 0.8:
                    task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [o for o in outcomes if isinstance(o, Exception)]
            stayed += [first + n for n, o in enumerate(outcomes) if o is None]
        found = set(await db.read(names_of))
        halves = [{n.split()[0] for n in found if n.endswith(half)} for half in "ab"]
        assert halves[0] == halves[1]
        assert {str(n) for n in stayed} <= halves[0]
        assert 0 < len(stayed) < len(halves[0]) < callers

    using(path, main)


@pytest.mark.requirement("whole-transactions")
def test_two_thousand_random_cancellations_leave_every_transaction_whole(folder: Path) -> None:
    cancelled_at_random(folder / "t.db", 2000)


@pytest.mark.requirement("whole-transactions")
@pytest.mark.slow
def test_twenty_thousand_random_cancellations_do_too(folder: Path) -> None:
    cancelled_at_random(folder / "t.db", 20_000)


@pytest.mark.requirement("cancelled")
def test_calls_cancelled_at_random_moments_are_paid_for_once() -> None:
    draw = random.Random(3)

    class Slow(Scripted):
        """Answers after a few turns of the loop; rings when so many were asked."""

        alarm = 0, asyncio.Event()

        async def answer(self, request: CompletionRequest, record: Any, go: Any) -> Any:
            go()
            for _ in range(draw.randrange(20)):
                await asyncio.sleep(0)
            if len(self.asked) >= self.alarm[0]:
                self.alarm[1].set()
            return await super().answer(request, record, go)

    async def main() -> None:
        slow = Slow(plain_reply)
        async with an_engine(slow, minibatch=200) as engine:
            s = await prompts(engine, count=200)
            for _ in range(15):
                task = asyncio.create_task(engine.forward(ME, session_id=s))
                slow.alarm = len(slow.asked) + draw.randrange(15), asyncio.Event()
                rung = asyncio.create_task(slow.alarm[1].wait())
                await asyncio.wait({task, rung}, return_when=asyncio.FIRST_COMPLETED)
                rung.cancel()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert len(slow.asked) > 0
            assert (await engine.forward(ME, session_id=s)).status == "done"
            assert len({request.key for request in slow.asked}) == len(slow.asked) == 200
            assert (await engine.store.sessions.get(s, "local")).used_calls == 200
            assert await engine.store.maintenance.check() == []

    asyncio.run(main())


@pytest.mark.requirement("whole-steps")
def test_of_two_steps_on_one_variable_at_the_same_instant_one_wins_and_the_other_is_told(
    folder: Path,
) -> None:
    """Two processes, as far as the file can tell, propose from the same version."""

    async def main() -> None:
        stores = [Store(folder / "t.db") for _ in range(2)]
        for store in stores:
            await store.open()
        async with an_engine(path=folder / "t.db") as engine:
            s = (await engine.create_variable(ME, role="r", value="old")).session_id or ""
            pk = (await engine.store.sessions.get(s, "local")).pk
            outcomes = await asyncio.gather(
                *(store.history.record_step(pk, step(n), None) for n, store in enumerate(stores)),
                return_exceptions=True,
            )
            lost = [n for n, o in enumerate(outcomes) if isinstance(o, Conflict)]
            assert len(lost) == 1
            assert "version 2, not 1" in str(outcomes[lost[0]])
            [variable] = (await engine.store.graph.variables(pk)).values()
            assert (variable.value, variable.version) == (f"new {1 - lost[0]}", 2)
            assert (
                len(await engine.store.history.steps(pk))
                == len(await engine.store.history.proposals(pk))
                == 1
            )
        for store in stores:
            await store.close()

    asyncio.run(main())


def step(n: int) -> StepRecord:
    """An accepted new text for version 1 of v1."""
    proposal = Proposal(
        step="",
        variable="v1",
        parent=1,
        text=f"new {n}",
        verdict="accepted",
        reason="",
        gradients=[],
    )
    return StepRecord(accepted=True, gate="", proposals=[proposal])
