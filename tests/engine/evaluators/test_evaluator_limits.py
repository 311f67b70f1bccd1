"""What an evaluator's program may use, and that nothing of it outlives its run, come what may."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
from mcp.shared.exceptions import MCPError
from textgrad_mcp.engine.evaluators import supervisor
from textgrad_mcp.engine.evaluators.evaluators import Evaluators
from textgrad_mcp.schemas.graph import Value
from textgrad_mcp.schemas.settings import EvaluatorSettings

from ...evaluator_programs import PRELUDE, failure, fifo_reader, program, score
from ...helpers import Process, assisted, process, text_of

LINUX = sys.platform == "linux"
SCORED = "print('{\"score\": 1}')\n"


def children() -> set[str]:
    """The process ids of this process's children, dead but unreaped ones too (Linux; else none)."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if f"\nPPid:\t{os.getpid()}\n" in status.read_text():
                found.add(status.parent.name)
    return found


# memory


@pytest.mark.requirement("program-limits")
@pytest.mark.parametrize(
    "source",
    [
        "used = bytearray(10**9); time.sleep(60)",
        "for _ in range(6):\n"  # each has little, all together too much
        "    if os.fork() == 0:\n"
        "        used = bytearray(60 << 20); time.sleep(60)\n"
        "time.sleep(60)",
        "if os.fork() == 0:\n"  # an orphan in a session of its own
        "    os.setsid(); used = bytearray(300 << 20); time.sleep(60)\n"
        "time.sleep(60)",
    ],
)
def test_memory_counts_over_all_that_a_program_starts_and_is_named(source: str) -> None:
    message = failure(program(source, memory_mb=256))
    assert "it was stopped: out of memory (used " in message
    assert " of 256 MiB)" in message


@pytest.mark.requirement("program-limits")
def test_memory_that_is_reserved_and_not_used_is_not_counted() -> None:
    source = (
        "import mmap, threading\n"
        "reserved = mmap.mmap(-1, 8 << 30)\n"
        "workers = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(50)]\n"
        "[w.start() for w in workers]; [w.join() for w in workers]\n"
    )
    assert score(program(source + SCORED, memory_mb=128)).score == 1


@pytest.mark.skipif(not LINUX, reason="the system does not tell what is shared")
def test_memory_that_processes_share_is_counted_once() -> None:
    source = (
        "shared = bytearray(150 << 20)\n"
        "pids = []\n"
        "for _ in range(5):\n"
        "    pids.append(os.fork())\n"
        "    if pids[-1] == 0: time.sleep(0.3); os._exit(0)\n"
        "[os.waitpid(p, 0) for p in pids]\n"
    )
    assert score(program(source + SCORED, memory_mb=256)).score == 1


def test_both_ways_to_see_a_family_agree() -> None:
    sleeper = "import os, time; os.fork(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True) as child:
        try:
            while len(supervisor.family_in_ps()) < 3:  # ps itself is the third
                pass
            listed = supervisor.family_in_ps()
            if LINUX:
                seen = supervisor.family_in_proc()
                assert seen.keys() == listed.keys() & seen.keys()
                assert len(seen) == 2
                assert all(abs(seen[pid] - listed[pid]) < 1 << 20 for pid in seen)
        finally:
            os.killpg(child.pid, signal.SIGKILL)


# files


FILLING = {
    "one large file": "f = open('big', 'wb')\nfor _ in range(99): f.write(b'x' * (1 << 20))\n",
    "many files": (
        "for n in range(99):\n    with open(f'{n}', 'wb') as f: f.write(b'x' * (1 << 20))\n"
    ),
    "files in folders": (
        "for n in range(99):\n"
        "    os.makedirs(f'a/{n}/b')\n"
        "    with open(f'a/{n}/b/c', 'wb') as f: f.write(b'x' * (1 << 20))\n"
    ),
    "empty files": "for n in range(20_000): open(f'{n}', 'w').close()\n",
}


@pytest.mark.requirement("program-limits")
@pytest.mark.parametrize("source", FILLING.values(), ids=FILLING)
def test_files_in_the_directory_of_a_program_may_hold_so_much(source: str) -> None:
    message = failure(program(source + SCORED, disk_mb=8))
    assert "its files grew too large (used " in message
    assert " of 8 MiB)" in message


@pytest.mark.skipif(not LINUX, reason="the system does not show open files")
def test_files_that_were_deleted_and_are_held_open_count() -> None:
    source = (
        "import tempfile\nheld = [tempfile.TemporaryFile() for _ in range(4)]\n"
        "for f in held: f.write(b'x' * (10 << 20)); f.flush()\n"
        "time.sleep(60)"
    )
    assert "its files grew too large" in failure(program(source, disk_mb=32))


def test_a_program_may_remove_its_own_directory() -> None:
    assert score(program("os.rmdir(os.getcwd())\n" + SCORED)).score == 1


def test_what_is_written_without_end_is_stopped_on_either_stream() -> None:
    for stream, most in (("stdout", "1,048,576"), ("stderr", "67,108,864")):
        found = program(f"while True: sys.{stream}.write('x' * 65536)")
        assert f"it printed more than {most} bytes and was stopped" in failure(found)


# processes


OPEN = "pipe = os.open(sys.argv[1], os.O_WRONLY); os.set_inheritable(pipe, True)\n"
SLEEP = "[sys.executable, '-c', 'import time; time.sleep(60)']"
STARTED = "os.write(pipe, b'%d\\n' % os.getppid())\n"
FAMILIES = {
    "a child": f"subprocess.Popen({SLEEP}, close_fds=False)\n",
    "a new session": f"subprocess.Popen({SLEEP}, close_fds=False, start_new_session=True)\n",
    "a daemon": (
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.close(0); os.close(1); os.close(2); time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    ),
    "one that heeds no signal": (
        "if os.fork() == 0:\n"
        "    for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(n, 1)\n"
        "    os.setsid(); time.sleep(60)\n"
    ),
    "one that was stopped": (
        "if os.fork() == 0:\n    os.setsid(); os.kill(os.getpid(), signal.SIGSTOP)\n"
    ),
    "one that never stays": (  # each starts the next and goes
        "if os.fork() == 0:\n    os.setsid()\n    while True:\n        if os.fork(): os._exit(0)\n"
    ),
}


async def begun(alive: TextIO) -> int:
    """The id of the supervisor, once the program has written it."""
    await asyncio.to_thread(select.select, [alive], [], [])
    return int(alive.readline())


def families(*names: str) -> pytest.MarkDecorator:
    """Runs a test with each of these families; elsewhere than on Linux, with a child alone."""
    found = [name for name in FAMILIES if name in (names or FAMILIES)] if LINUX else ["a child"]
    return pytest.mark.parametrize("family", [FAMILIES[name] for name in found], ids=found)


@pytest.mark.requirement("program-limits")
@families("a daemon", "one that never stays")
def test_a_time_out_ends_all_that_was_started(family: str, tmp_path: Path) -> None:
    with fifo_reader(tmp_path / "alive") as alive:
        source = OPEN + family + STARTED + "time.sleep(60)"
        found = program(source, str(tmp_path / "alive"), timeout=3.0)
        assert "did not finish" in failure(found)
        assert alive.read().count("\n") == 1  # ends only when the last of them is dead


@pytest.mark.requirement("program-limits")
@families()
def test_what_a_finished_program_left_running_is_ended_and_does_not_hold_us_up(
    family: str, tmp_path: Path
) -> None:
    with fifo_reader(tmp_path / "alive") as alive:
        found = program(OPEN + family + STARTED + SCORED, str(tmp_path / "alive"))
        assert score(found).score == 1
        assert alive.read().count("\n") == 1


@pytest.mark.requirement("program-limits")
@families("a child", "a daemon")
def test_cancellation_ends_all_that_was_started(family: str, tmp_path: Path) -> None:
    async def cancelled(alive: TextIO) -> None:
        source = OPEN + family + STARTED + "time.sleep(60)"
        task = asyncio.create_task(program(source, str(tmp_path / "alive")).score("it", {}))
        await begun(alive)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with fifo_reader(tmp_path / "alive") as alive:
        asyncio.run(cancelled(alive))
        assert alive.read() == ""


@pytest.mark.requirement("program-limits")
def test_cancellation_at_any_moment_leaves_no_child_and_no_directory(tmp_path: Path) -> None:
    async def storm() -> None:
        found = program(SCORED)
        tasks = [asyncio.create_task(found.score("it", {})) for _ in range(30)]
        for turns, task in enumerate(tasks):
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(o, Value | asyncio.CancelledError) for o in outcomes)
        assert (await found.score("it", {})).score == 1  # no slot was lost

    before = children()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        asyncio.run(storm())
    assert list(tmp_path.iterdir()) == []
    assert children() <= before


def test_a_program_that_signals_its_own_group_reaches_itself_alone() -> None:
    assert "killed by signal 15 (SIGTERM)" in failure(program("os.kill(0, signal.SIGTERM)"))


def test_a_program_that_starts_too_many_processes_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    few = tmp_path / "supervisor.py"  # the same with another number, not to fill the machine
    few.write_text(
        Path(supervisor.__file__).read_text().replace("PROCESSES = 1000", "PROCESSES = 9")
    )
    monkeypatch.setattr("textgrad_mcp.engine.evaluators.process.SUPERVISOR", str(few))
    source = "for _ in range(20):\n    if os.fork() == 0: time.sleep(60)\ntime.sleep(60)"
    assert re.search(r"it was stopped: it ran [12]\d processes at once", failure(program(source)))


# the server, or the supervisor, is killed


async def _scored(call: Process, alive: TextIO, kill: Callable[[Process, int], None]) -> str:
    """What a caller is told whose evaluation is killed once it has begun."""
    s = (await call("create_variable", role="r", value="x"))["session_id"]
    loss = {"session_id": s, "kind": "evaluator", "evaluator": "it", "inputs": {"x": "v1"}}
    scoring = asyncio.create_task(call.called("compute_loss", loss))
    above = await begun(alive)
    gone = os.pidfd_open(above)
    kill(call, above)
    await asyncio.to_thread(select.select, [gone], [], [])  # all is done when it ends
    os.close(gone)
    try:
        return text_of(await scoring)
    except MCPError as error:
        return str(error)


async def _killed(
    family: str, tmp_path: Path, kill: Callable[[Process, int], None]
) -> tuple[str, str]:
    """What the pipe held when all were dead, and what the caller was told."""
    with fifo_reader(tmp_path / "alive") as alive:
        source = PRELUDE + OPEN + family + STARTED + "time.sleep(60)"
        command = [sys.executable, "-c", source, str(tmp_path / "alive")]
        it = EvaluatorSettings(command=command, timeout=100)
        async with process(assisted(tmp_path / "t.db", evaluators={"it": it})) as call:
            told = await _scored(call, alive, kill)
        return await asyncio.to_thread(alive.read), told


@pytest.mark.requirement("program-limits")
@pytest.mark.skipif(not LINUX, reason="waits for processes by descriptor")
@families("a daemon")
def test_a_killed_server_leaves_no_process_and_no_directory(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    left, told = asyncio.run(_killed(family, tmp_path, lambda server, _: server.kill()))
    assert (left, told) == ("", "Connection closed")
    assert list(place.iterdir()) == []


@pytest.mark.skipif(not LINUX, reason="waits for processes by descriptor")
@pytest.mark.parametrize(
    ("number", "says"), [(signal.SIGKILL, "by signal 9"), (signal.SIGTERM, "by signal 15")]
)
def test_a_killed_supervisor_takes_its_program_along_and_the_caller_is_told(
    number: int, says: str, tmp_path: Path
) -> None:
    left, told = asyncio.run(_killed("", tmp_path, lambda _, pid: os.kill(pid, number)))
    assert left == ""
    assert says in told


# how many at once


COUNTING = (
    "mine = os.path.join(sys.argv[1], str(os.getpid()))\n"
    "open(mine, 'w').close(); n = len(os.listdir(sys.argv[1])); os.remove(mine)\n"
    "print(json.dumps({'score': 1, 'feedback': str(n)}))"
)


@pytest.mark.parametrize(("at_once", "slots"), [(1, None), (16, 1)])
def test_only_so_many_programs_run_at_once(at_once: int, slots: int | None, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRELUDE + COUNTING, str(tmp_path)]

    async def many() -> list[Value]:
        settings = EvaluatorSettings(command=command, slots=slots)
        found = Evaluators({"it": settings}, at_once=at_once)
        return await asyncio.gather(*(found.score("it", {}) for _ in range(5)))

    assert [value.text for value in asyncio.run(many())] == ["1"] * 5


def test_slots_of_its_own_let_an_evaluator_run_beside_others(tmp_path: Path) -> None:
    """Each waits until the other has begun, which one slot for both would never let happen."""
    meet = (
        "mine, other = (os.path.join(sys.argv[1], n) for n in sys.argv[2:])\n"
        "open(mine, 'w').close()\n"
        "while not os.path.exists(other): time.sleep(0.01)\n" + SCORED
    )

    def settings(mine: str, other: str, slots: int | None) -> EvaluatorSettings:
        command = [sys.executable, "-c", PRELUDE + meet, str(tmp_path), mine, other]
        return EvaluatorSettings(command=command, slots=slots)

    async def both() -> list[Value]:
        ours = {"a": settings("a", "b", None), "b": settings("b", "a", 1)}
        found = Evaluators(ours, at_once=1)
        return list(await asyncio.gather(found.score("a", {}), found.score("b", {})))

    assert [value.score for value in asyncio.run(both())] == [1, 1]
