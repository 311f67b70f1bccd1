"""How processes end, and several of them on one session."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from textgrad_mcp.schemas.settings import Settings

from ..engine.runs.test_ledger import prompts
from ..helpers import process, served_by, text_of
from ..server.protocol.test_stdio import heard, say, spoken_to
from ..standin import StandIn


@pytest.mark.requirement("ends")
def test_a_signal_in_the_middle_of_a_call_keeps_the_reply_that_then_arrives(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with StandIn(paused=True) as endpoint:
        with spoken_to(path, served_by(endpoint, path)) as server:
            made = {"name": "create_variable", "arguments": {"role": "r", "value": "x"}}
            say(server, id=1, method="tools/call", params=made)
            s = heard(server)["result"]["structuredContent"]["session_id"]
            asked = {"session_id": s, "operation": "llm", "inputs": {"x": "v1"}}
            say(server, id=2, method="tools/call", params={"name": "forward", "arguments": asked})
            endpoint.wait_for(lambda it: it.in_flight == 1)
            server.send_signal(signal.SIGTERM)
            endpoint.resume()
            assert server.wait(timeout=20) == 128 + signal.SIGTERM

        async def main() -> None:
            async with process(served_by(endpoint, path)) as again:
                done = await again("resume", session_id=s)
                assert done["status"] == "done"

        asyncio.run(main())
        assert len(endpoint.log) == 1


CLEAN = """
import asyncio, sys, threading
from pathlib import Path
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.protocol.host import answerers

async def main():
    role = RoleSettings(answerer="openai", base_url=sys.argv[2], model="m")
    settings = Settings(forward=role, backward=role)
    store = Store(Path(sys.argv[1]))
    await store.open()
    engine = Engine(settings, store, answerers(settings))
    me = Caller()
    s = (await engine.create_variable(me, role="r", value="x")).session_id
    asked = dict(session_id=s, operation="llm", inputs={"x": "v1"})
    assert (await engine.forward(me, **asked)).status == "done"
    assert not await store.db.read(lambda db: db.in_transaction, single=True)
    await engine.close()

asyncio.run(main(), debug=True)
print(*(t.name for t in threading.enumerate()))
"""


@pytest.mark.requirement("clean-exit")
def test_after_a_clean_exit_no_thread_file_or_transaction_is_left_open(tmp_path: Path) -> None:
    """In the interpreter's development mode, where whatever was not closed is an error."""
    path = tmp_path / "t.db"
    with StandIn() as endpoint:
        strict = ["-X", "dev", "-W", "error", "-c", CLEAN, str(path), endpoint.url]
        ran = subprocess.run([sys.executable, *strict], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["MainThread"]
    for sign in ("ResourceWarning", "never awaited", "was destroyed", "Traceback"):
        assert sign not in ran.stderr
    journal = path.with_name("t.db-journal")
    assert not journal.exists() or not any(journal.read_bytes()[:28])


@pytest.mark.requirement("many-processes")
@pytest.mark.parametrize("count", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_several_processes_that_start_at_once_work_on_one_session_and_ask_everything_once(
    tmp_path: Path, count: int
) -> None:
    async def one(
        settings: Settings, together: asyncio.Barrier, session: asyncio.Future[str], n: int
    ) -> None:
        async with process(settings) as call:
            await together.wait()
            if n == 0:
                s = (await call("create_variable", role="p", value="P"))["session_id"]
                await call("create_variable", session_id=s, role="q", example_field="q")
                made = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
                await call("forward", session_id=s, **made)
                session.set_result(s)
            s = await session
            rows = [{"q": f"{n} {row}"} for row in range(2)]
            await call("add_examples", session_id=s, split="train", examples=rows)
            await together.wait()
            first = await call.raw("forward", {"session_id": s})
            assert not first.is_error or "does one thing at a time" in text_of(first)
            ended = await call("resume", session_id=s)
            shown = min(2 * count, 8)  # a result lists no more
            assert (ended["status"], len(ended["values"])) == ("done", shown)
            await together.wait()

    async def main(endpoint: StandIn) -> None:
        session: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        together = asyncio.Barrier(count)
        settings = served_by(endpoint, tmp_path / "t.db", minibatch=2 * count)
        await asyncio.gather(*(one(settings, together, session, n) for n in range(count)))

    with StandIn() as endpoint:
        asyncio.run(main(endpoint))
        assert len(prompts(endpoint)) == len(set(prompts(endpoint))) == 2 * count
