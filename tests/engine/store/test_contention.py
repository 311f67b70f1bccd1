"""Several processes that write at the same time: nobody is kept out, and no paid reply is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from textgrad_mcp.engine.answerers import Go, RecordAttempt
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.engine.store import Store, connection
from textgrad_mcp.schemas.completions import Completion, CompletionRequest

from ...helpers import ME, Scripted, an_engine, endpoint
from ...standin import Fault, StandIn

HOG = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
first = True
while True:
    db.execute("BEGIN IMMEDIATE")
    if first:
        print("up", flush=True)
        first = False
    db.execute("UPDATE sessions SET test_reads = test_reads + 1 WHERE pk = 1")
    time.sleep(0.05)
    db.execute("COMMIT")
    time.sleep(0.0003)
"""


@contextmanager
def hog(path: Path) -> Iterator[None]:
    """A process that holds the write lock nearly all the time."""
    command = [sys.executable, "-c", HOG, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield
        finally:
            process.kill()


@pytest.mark.requirement("many-processes")
def test_a_process_that_hardly_ever_pauses_does_not_keep_others_out(tmp_path: Path) -> None:
    path = tmp_path / "t.db"

    async def main() -> None:
        store = Store(path)
        await store.open()
        await store.sessions.create("me", "first")
        with hog(path):
            for n in range(4):
                await store.sessions.create("me", f"title {n}")
        assert len(await store.sessions.of_owner("me")) == 5
        await store.close()

    asyncio.run(main())
    with closing(sqlite3.connect(path)) as db:
        [[theirs]] = db.execute("SELECT test_reads FROM sessions WHERE pk = 1").fetchall()
    assert 0 < theirs < 200


@pytest.mark.requirement("locked", "asked-once")
def test_a_reply_that_comes_while_the_file_is_locked_is_recorded_and_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.db"
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.3)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    class Locking(Scripted):
        """Locks the file for a while before it answers."""

        async def answer(
            self, request: CompletionRequest, record: RecordAttempt, go: Go
        ) -> Completion | None:
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            threading.Timer(0.6, other.execute, ["ROLLBACK"]).start()
            return await super().answer(request, record, go)

    async def main() -> None:
        model = Locking()
        async with an_engine(model, path) as engine:
            made = await engine.create_variable(ME, role="q", value="question")
            s = str(made.session_id)
            done = await engine.forward(ME, session_id=s, operation="llm", inputs={"q": "v1"})
            assert done.status == "done"
            assert len(model.asked) == 1

    with closing(other):
        asyncio.run(main())


@pytest.mark.requirement("cancelled")
def test_a_run_that_follows_a_cancelled_one_does_not_end_with_it() -> None:
    async def main(server: StandIn) -> None:
        role = endpoint(server, timeout=1.0, retries=1)
        async with an_engine(OpenAIAnswerer(role, backoff=0.01)) as engine:
            made = await engine.create_variable(ME, role="q", value="question")
            s = str(made.session_id)
            begun = asyncio.create_task(
                engine.forward(ME, session_id=s, operation="llm", inputs={"q": "v1"})
            )
            await asyncio.to_thread(server.wait_for, lambda it: len(it.log) == 1)
            begun.cancel()
            await asyncio.gather(begun, return_exceptions=True)
            done = await engine.resume(ME, session_id=s)
            assert (done.status, len(server.log)) == ("done", 2)

    with StandIn(faults={1: Fault(hang=True)}) as server:
        asyncio.run(main(server))
