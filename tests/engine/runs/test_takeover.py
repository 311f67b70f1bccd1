"""Whose a run is: taken up when its process is gone, not while it lives, fenced if it stalls."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from textgrad_mcp.engine.answerers import Answerer, Assistant
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs import elsewhere, leases, sweep
from textgrad_mcp.engine.runs import runner as runs
from textgrad_mcp.engine.runs.leases import BLINK_SECONDS, Sightings
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.engine.store import connection
from textgrad_mcp.engine.store.runs import LEASE_SECONDS
from textgrad_mcp.schemas.errors import Conflict
from textgrad_mcp.schemas.graph import Run, number
from textgrad_mcp.schemas.settings import RoleSettings

from ...helpers import ME, Facts, Scripted, an_engine, process, served_by
from ...standin import StandIn
from ...whole.test_kill import N, Stuck, asked, program, recorded, settings_of, stuck_in_backward
from .test_runs import SOON, Gated, prompts

pytestmark = pytest.mark.each_store

SHORT = 0.3
"""Seconds of silence after which a process counts as gone, in tests that wait for it."""


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", SHORT)
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(sweep, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(sweep, "BUSY_SECONDS", 0.02)


short = pytest.mark.usefixtures("_short")


@asynccontextmanager
async def two(
    path: Path, first: Answerer, second: Answerer, **settings: Any
) -> AsyncIterator[tuple[Engine, Engine]]:
    """Two servers on one file."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(an_engine(first, path))
        other = await stack.enter_async_context(an_engine(second, path, **settings))
        yield one, other


def stalled(engine: Engine) -> None:
    """Let a server give no more signs of life, as one that is stopped or whose loop hangs."""
    engine.runs.heart.pause = 3600


async def status(engine: Engine, s: str) -> Run:
    """The session's newest run."""
    session = await engine.store.sessions.get(s, "local")
    run = await engine.store.runs.last(session.pk, s)
    assert run is not None
    return run


async def on_disk(engine: Engine, s: str) -> None:
    """Wait until a run is there for other processes: it begins while it is written."""
    session = await engine.store.sessions.get(s, "local")

    async def there() -> bool:
        return await engine.store.runs.active(session.pk, s) is not None

    await until(there)


async def turn(seconds: float = 0.01) -> None:
    """Let some time pass, in which others go on."""
    await asyncio.sleep(seconds)


async def until(condition: Callable[[], Any]) -> None:
    """Look again and again until `condition` holds."""
    async with asyncio.timeout(30):
        while not await condition():
            await turn()


def run_at(lease: float, process: str = "them") -> Run:
    """What was read of a running run."""
    facts: Facts = {"tool": "forward", "args": {}, "status": "running"}
    return Run(id="r1", session_id="s", process=process, lease=lease, **facts)


LOOKS = st.lists(st.tuples(st.floats(0.01, 2 * BLINK_SECONDS), st.booleans()), max_size=40)


@pytest.mark.requirement("takeover")
@given(LOOKS)
def test_a_process_counts_as_gone_only_after_a_lease_without_a_sign_seen_without_a_break(
    looks: list[tuple[float, bool]],
) -> None:
    now = [100.0]
    sightings = Sightings(lambda: now[0])
    quiet, lease = 0.0, 0.0
    sightings.gone(1, run_at(lease))
    for pause, beat in looks:
        now[0] += pause
        lease += beat
        quiet = 0.0 if beat or pause > BLINK_SECONDS else quiet + pause
        sure = sightings.gone(1, run_at(lease))
        assert sure == (quiet >= LEASE_SECONDS) or abs(quiet - LEASE_SECONDS) < 1e-6


@pytest.mark.requirement("takeover")
@short
def test_a_caller_who_waits_for_a_run_goes_on_with_it_once_its_process_is_gone(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        gated, other = Gated(), Scripted()
        async with two(tmp_path / "t.db", gated, other) as (one, another):
            s = await prompts(one)
            await one.forward(SOON, session_id=s)
            waiting = asyncio.create_task(another.resume(ME, session_id=s))
            stalled(one)
            assert (await waiting).status == "done"
            assert len(other.asked) == 3

    asyncio.run(main())


@pytest.mark.requirement("progress-elsewhere")
@short
def test_who_waits_hears_how_far_a_run_is_at_another_server_and_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 6 calls 3 are answered there; then that server stalls, and the rest is done here."""
    monkeypatch.setattr(elsewhere, "TELL_SECONDS", 0.0)
    heard: list[tuple[int, int, str]] = []

    async def main() -> None:
        gated, judge, other = Scripted(), Gated(), Scripted()
        async with AsyncExitStack() as stack:
            path = tmp_path / "t.db"
            one = await stack.enter_async_context(an_engine(gated, path, backward=judge))
            another = await stack.enter_async_context(an_engine(other, path))
            s = await prompts(one)
            loss: Facts = {"kind": "judge", "instruction": "i", "inputs": {"x": "v3"}}
            begun = await one.compute_loss(SOON, session_id=s, **loss)
            assert begun.status == "running"
            soon = await another.resume(SOON, session_id=s)
            assert soon.answered is not None
            caller = Caller(on_progress=lambda *told: heard.append(told))
            waiting = asyncio.create_task(another.resume(caller, session_id=s))

            async def told() -> bool:
                return (3, 6, "compute_loss, at another server") in heard

            await until(told)
            assert "3 of 6 calls answered" in (await another.resume(SOON, session_id=s)).next
            stalled(one)
            assert (await waiting).status == "done"
            assert [n for n, _, _ in heard] == sorted(n for n, _, _ in heard)
            assert heard[-1][:2] == (6, 6)

    asyncio.run(main())


@pytest.mark.requirement("takeover")
@short
def test_a_process_that_only_stalled_is_refused_and_its_caller_gets_the_others_result(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        gated, other = Gated(), Scripted()
        async with two(tmp_path / "t.db", gated, other) as (one, another):
            s = await prompts(one)
            caller = asyncio.create_task(one.forward(ME, session_id=s))
            await gated.called.wait()
            await on_disk(another, s)
            stalled(one)
            done = await another.resume(ME, session_id=s)
            assert (done.status, len(other.asked)) == ("done", 3)
            gated.open.set()
            assert (await caller).model_dump() == done.model_dump()
            session = await one.store.sessions.get(s, "local")
            assert session.used_calls == 3
            assert len(await one.store.runs.latest(session.pk)) == 1

    asyncio.run(main())


@pytest.mark.requirement("takeover")
@short
def test_a_process_that_comes_back_late_asks_nothing_more(tmp_path: Path) -> None:
    """It had 3 of 6 calls under way, by its limit, when it stalled and another took over."""

    class Late(Gated):
        engine: Engine

        async def answer(self, *args: Any) -> Any:
            if self.open.is_set():
                for work in self.engine.runs.heart.works():
                    work.alive_until = 0.0  # what its own clock says when it wakes
            return await super().answer(*args)

    async def main() -> None:
        late, other = Late(), Scripted()
        async with two(tmp_path / "t.db", late, other) as (one, another):
            late.engine = one
            s = await prompts(one, count=2)
            loss: Facts = {"kind": "judge", "instruction": "i", "inputs": {"x": "v3"}}
            caller = asyncio.create_task(one.compute_loss(ME, session_id=s, **loss))
            await late.called.wait()
            await on_disk(another, s)
            stalled(one)
            assert (await another.resume(ME, session_id=s)).status == "done"
            late.open.set()
            assert (await caller).status == "done"
            assert len(late.asked) == 2  # the outputs; never the judgements that follow
            assert len(other.asked) == 4

    asyncio.run(main())


@pytest.mark.requirement("takeover")
@short
def test_what_nobody_goes_on_with_is_taken_up_unasked(tmp_path: Path) -> None:
    async def main() -> None:
        gated, other = Gated(), Scripted()
        async with two(tmp_path / "t.db", gated, other) as (one, another):
            s = await prompts(one)
            await one.forward(SOON, session_id=s)
            stalled(one)
            another.parts.sweep.start()

            async def over() -> bool:
                return (await status(another, s)).status == "done"

            await until(over)
            assert len(other.asked) == 3

    asyncio.run(main())


@pytest.mark.requirement("takeover")
@short
@pytest.mark.parametrize(
    ("answerer", "settings"),
    [
        (Assistant(), {}),
        (Scripted(), {"forward": RoleSettings(base_url="http://127.0.0.1:9/v1")}),
    ],
    ids=["the caller answers", "another endpoint answers"],
)
def test_a_run_that_others_would_answer_waits_for_its_caller(
    tmp_path: Path, answerer: Answerer, settings: Facts
) -> None:
    async def main() -> None:
        gated = Gated()
        async with two(tmp_path / "t.db", gated, answerer, **settings) as (one, another):
            s = await prompts(one)
            await one.forward(SOON, session_id=s)
            stalled(one)
            another.parts.sweep.start()
            before = await status(another, s)
            await asyncio.sleep(3 * SHORT)
            after = await status(another, s)
            assert (after.status, after.process) == ("running", before.process)

    asyncio.run(main())


@pytest.mark.requirement("takeover")
@short
def test_a_run_that_was_taken_over_again_and_again_is_left_to_a_caller(tmp_path: Path) -> None:
    async def main() -> None:
        async with two(tmp_path / "t.db", Gated(), Scripted()) as (one, another):
            s = await prompts(one)
            await one.forward(SOON, session_id=s)
            stalled(one)
            session = await one.store.sessions.get(s, "local")
            for n in range(sweep.MOST_TAKEN):
                claimed = None
                while claimed is None:  # until its last sign of life was given
                    run = await status(one, s)
                    claimed = await one.store.runs.claim(session.pk, run, f"process {n}", dead=True)
            another.parts.sweep.start()
            await asyncio.sleep(3 * SHORT)
            assert (await status(another, s)).status == "running"
            assert (await another.resume(ME, session_id=s)).status == "done"

    asyncio.run(main())


@pytest.mark.requirement("takeover", "locked")
@short
def test_signs_of_life_go_on_after_the_file_was_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.db"

    async def main() -> None:
        gated, other = Gated(), Scripted()
        async with two(path, gated, other) as (one, another):
            s = await prompts(one)
            one.runs.heart.pause = 0.02
            await one.forward(SOON, session_id=s)

            async def noted() -> bool:
                return len(await one.store.calls.pending(1, number(run.id, "r") or 0)) == 3

            run = await status(one, s)
            await until(noted)
            with (
                monkeypatch.context() as impatient,
                closing(sqlite3.connect(path, isolation_level=None)) as lock,
            ):
                impatient.setattr(connection, "BUSY_SECONDS", 0.05)
                lock.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(2 * SHORT)
                lock.execute("ROLLBACK")
            before = (await status(one, s)).lease

            async def beaten() -> bool:
                return (await status(one, s)).lease > before

            await until(beaten)
            waiting = asyncio.create_task(another.resume(ME, session_id=s))
            await asyncio.sleep(2 * SHORT)
            gated.open.set()
            assert (await waiting).status == "done"
            assert (len(gated.asked), len(other.asked)) == (3, 0)

    asyncio.run(main())


@pytest.mark.requirement("cancelled", "takeover")
@short
def test_a_run_that_is_cancelled_at_another_server_ends_though_its_calls_hang(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        gated = Gated()
        async with two(tmp_path / "t.db", gated, Scripted()) as (one, another):
            one.runs.heart.pause = 0.02
            s = await prompts(one)
            caller = asyncio.create_task(one.forward(ME, session_id=s))
            await on_disk(another, s)
            await another.resume(ME, session_id=s, cancel=True)
            with pytest.raises(Conflict, match="was cancelled"):
                await caller
            gated.open.set()

    asyncio.run(main())


@pytest.mark.requirement("takeover", "ends")
def test_a_server_that_ends_gives_its_runs_back_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "t.db"
        async with an_engine(Scripted(), path) as another:
            async with an_engine(Gated(), path) as one:
                s = await prompts(one)
                await one.forward(SOON, session_id=s)
            run = await status(another, s)
            assert (run.status, run.process) == ("running", "")
            claimed = await another.store.runs.claim(1, run, "somebody")
            assert claimed is not None

    asyncio.run(main())


@pytest.mark.requirement("ends")
def test_a_server_that_is_ending_begins_nothing_new() -> None:
    async def main() -> None:
        async with an_engine() as engine:
            s = await prompts(engine)
            await engine.runs.close()
            with pytest.raises(Conflict, match="ending"):
                await engine.forward(ME, session_id=s)

    asyncio.run(main())


@pytest.mark.requirement("kill", "takeover")
def test_what_a_killed_server_was_running_is_ended_by_another_and_asks_nothing_twice(
    tmp_path: Path,
) -> None:
    path, stuck = tmp_path / "t.db", Stuck(6)

    async def main(server: StandIn) -> None:
        async with process(settings_of(server, path)) as other:
            await other("inspect")  # its database is open
            async with process(settings_of(server, path)) as call:
                s = await program(call)
                begun = await stuck_in_backward(call, server, path, s)
                before, on_disk = asked(server), recorded(path)
                call.kill()
                with pytest.raises(MCPError):
                    await begun
            stuck.stuck = False

            async def over() -> bool:
                found = (await other("inspect", session_id=s, what="runs"))["view"]["runs"]
                return bool(found[0]["status"] == "done")

            await until(over)
            after = asked(server)[len(before) :]
            assert not set(after) & set(on_disk)
            assert len(after) == (N - 6) + N
            assert len(recorded(path)) == 4 * N

    with StandIn(faults=stuck) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("takeover")
@pytest.mark.slow
def test_a_process_that_was_stopped_and_goes_on_finds_its_run_done_by_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.db"

    async def main(server: StandIn) -> None:
        settings = served_by(server, path)
        async with process(settings) as one, process(settings) as other:
            s = (await one("create_variable", role="p", value="P"))["session_id"]
            asked_for: Facts = {"session_id": s, "operation": "llm", "inputs": {"x": "v1"}}
            caller = asyncio.create_task(one("forward", **asked_for))
            await asyncio.to_thread(server.wait_for, lambda it: it.in_flight == 1)
            os.kill(one.pid, signal.SIGSTOP)
            waiting = asyncio.create_task(other("resume", session_id=s))
            await asyncio.to_thread(server.wait_for, lambda it: it.in_flight == 2, 30)
            server.resume()
            done = await waiting
            os.kill(one.pid, signal.SIGCONT)
            assert (await caller)["values"] == done["values"]
            total = (await other("inspect", session_id=s))["view"]["total"]
            assert total["calls"] == 1

    with StandIn(paused=True) as server:
        asyncio.run(main(server))
