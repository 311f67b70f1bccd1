"""Local work that input can make long: it has a limit, ends with whoever wanted it, and keeps
nobody else waiting. How long the loop is kept at most is measured in benchmarks/pauses.py."""

from __future__ import annotations

import asyncio
import builtins
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.prompts.template import PLACES, check, render
from textgrad_mcp.engine.runs.schedule import FATAL
from textgrad_mcp.engine.workers import pool as workers
from textgrad_mcp.engine.workers.pool import Job, Workers
from textgrad_mcp.schemas.distance import share_changed
from textgrad_mcp.schemas.errors import BadInput, TooLong
from textgrad_mcp.schemas.near import LONG, did_you_mean, nearest

from ...helpers import Facts, Tools, assisted, drive
from ...server.protocol.test_stdio import heard, say, spoken_to

BACKTRACKS = {"pattern": "(a+)+$"}
HOPELESS = "a" * 40 + "b"
PATIENCE = 15
"""Seconds in which a process must be gone."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")
run_code = builtins.eval  # in a worker


def job(owner: str = "me", **more: Any) -> Job:
    return Job(owner, "The work", "Do less.", **more)


@asynccontextmanager
async def some(most: int = 2) -> AsyncIterator[Workers]:
    these = Workers(most)
    try:
        yield these
    finally:
        await these.close()


def alive(pid: int) -> bool:
    """Whether a process runs; one that is over and not yet buried does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # before the file is opened, or after
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    """Whether a process ends in good time."""
    deadline = time.monotonic() + PATIENCE
    while alive(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return not alive(pid)


def children(pid: int) -> list[int]:
    """The processes that `pid` has started."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int(
                    (folder / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except (FileNotFoundError, ProcessLookupError):
                continue
    return [child for child, parent in parents.items() if parent == pid]


@pytest.mark.requirement("bounded-work")
def test_work_that_takes_too_long_is_stopped_in_words_and_the_next_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "SECONDS", 0.5)

    async def main() -> None:
        async with some() as these:
            first = await these.run(job(), run_code, "__import__('os').getpid()")
            with pytest.raises(TooLong, match=r"^The work took longer than 0.5 s and") as caught:
                await these.run(job(), run_code, "__import__('time').sleep(99)")
            assert caught.value.next == "Do less."
            assert await these.run(job(), share_changed, ["a", "b"], ["a", "c"]) == 0.5
            assert sys.platform != "linux" or gone(first)

    asyncio.run(main())


@pytest.mark.requirement("bounded-work")
@linux
def test_work_ends_with_the_call_that_wanted_it() -> None:
    async def main() -> None:
        async with some() as these:
            pid = await these.run(job(), run_code, "__import__('os').getpid()")
            call = asyncio.create_task(these.run(job(), run_code, "[0 for _ in iter(int, 1)]"))
            for _ in range(5):  # until it is at work
                await asyncio.sleep(0)
            assert these.busy["me"]
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert gone(pid)
            assert await these.run(job(), run_code, "6 * 7") == 42

    asyncio.run(main())


@pytest.mark.requirement("bounded-work")
def test_one_owner_cannot_keep_all_workers_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SECONDS", 60)

    async def main() -> None:
        async with some(3) as these:
            slow = [
                asyncio.create_task(these.run(job("ann"), run_code, "__import__('time').sleep(99)"))
                for _ in range(6)
            ]
            for n in range(20):
                assert await these.run(job("bob"), run_code, f"{n} + 1") == n + 1
            assert not any(task.done() for task in slow)
            assert these.busy == {"ann": 2}
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            assert not +these.busy
            assert not these.waiting

    asyncio.run(main())


def test_work_that_has_become_needless_while_it_waited_is_not_begun(tmp_path: Path) -> None:
    done = tmp_path / "done"

    def needless() -> None:
        raise BadInput("Needless.")

    async def main() -> None:
        async with some() as these:
            with pytest.raises(BadInput, match="Needless"):
                await these.run(job(go=needless), run_code, f"open({str(done)!r}, 'w')")
            assert await these.run(job(), run_code, "1") == 1
        assert not done.exists()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("'x' * (3 << 30)", "needed more than 2 GiB of memory"),
        ("__import__('os')._exit(3)", "ended the process it ran in"),
    ],
)
def test_work_that_takes_too_much_memory_or_ends_its_process_is_told(code: str, says: str) -> None:
    async def main() -> None:
        async with some() as these:
            with pytest.raises(TooLong, match=says):
                await these.run(job(), run_code, code)
            assert await these.run(job(), run_code, "1") == 1

    asyncio.run(main())


def test_errors_of_ours_come_back_as_they_are_and_others_as_what_they_are() -> None:
    module = "textgrad_mcp.schemas.errors"
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    ours = f'exec(\'import {module} as e; raise e.NotFound("No.", "Look.")\')'

    async def main() -> None:
        async with some() as these:
            with pytest.raises(Exception, match=r"No\. Look\.") as caught:
                await these.run(job(), run_code, ours)
            assert type(caught.value).__name__ == "NotFound"
            with pytest.raises(RuntimeError, match="ZeroDivisionError in a worker"):
                await these.run(job(), run_code, "1 / 0")
            with pytest.raises(TooLong, match="nested too deeply"):
                await these.run(job(), share_changed, nested, [])

    asyncio.run(main())


@pytest.mark.requirement("keys-hidden", "clean-stdout")
def test_a_worker_knows_neither_the_server_nor_its_keys_and_what_it_prints_goes_astray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    async def main() -> None:
        async with some() as these:
            assert await these.run(job(), share_changed, "ab", "ac") == 0.5
            env = await these.run(job(), run_code, "dict(__import__('os').environ)")
            assert "sk-secret" not in env.values()
            loaded = await these.run(job(), run_code, "list(__import__('sys').modules)")
            known = {name.partition(".")[0] for name in loaded}
            assert not known & {"mcp", "anyio", "openai", "pydantic", "aiosqlite", "asyncio"}
            assert await these.run(job(), run_code, "print('x' * 99)") is None
            assert await these.run(job(), run_code, "__import__('sys').stdin.read(1)") == ""

    asyncio.run(main())


ENDS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "its client hangs up": lambda server: server.stdin.close() if server.stdin else None,
    "it is killed": lambda server: server.kill(),
    "it is told to end": lambda server: server.send_signal(signal.SIGTERM),
}


@pytest.mark.requirement("ends", "bounded-work")
@linux
@pytest.mark.parametrize("how", ENDS)
def test_a_server_and_its_workers_are_gone_whatever_is_at_work_when(
    tmp_path: Path, how: str
) -> None:
    with spoken_to(tmp_path / "t.db") as server:
        ask(server, "create_variable", role="r", value=HOPELESS)
        session = heard(server)["result"]["structuredContent"]["session_id"]
        ask(server, "compute_loss", **metric("regex", session, **BACKTRACKS))
        while not (at_work := children(server.pid)):
            assert server.poll() is None
        ENDS[how](server)
        server.wait(PATIENCE)
        assert all(map(gone, at_work))


STUCK = """
import threading
from textgrad_mcp.server.protocol.stdio_signals import leave_soon
leave_soon(0.1)
threading.Thread(target=threading.Event().wait).start()
"""


@pytest.mark.requirement("ends")
def test_a_process_that_is_leaving_is_gone_though_a_thread_waits_for_ever() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert "not everything could be closed in order" in done.stderr


def ask(server: subprocess.Popen[str], tool: str, **arguments: Any) -> None:
    """Call a tool of a server process."""
    say(server, id=tool, method="tools/call", params={"name": tool, "arguments": arguments})


def metric(name: str, session: str, output: str = "v1", **options: Any) -> Facts:
    """The arguments of a metric on one text."""
    inputs = {"output": output}
    asked = {"kind": "metric", "metric": name, "inputs": inputs, "options": options}
    return {"session_id": session, **asked}


async def a_text(call: Tools, value: str, **more: Any) -> str:
    return str((await call("create_variable", role="r", value=value, **more))["session_id"])


@pytest.mark.requirement("bounded-work", "free-loop")
def test_a_metric_that_takes_too_long_fails_in_words_and_others_are_answered_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "SECONDS", 1.0)

    async def main(call: Tools) -> None:
        s = await a_text(call, HOPELESS)
        slow = asyncio.create_task(call.raw("compute_loss", metric("regex", s, **BACKTRACKS)))
        other = await a_text(call, "x")
        await call("inspect", session_id=other)
        assert not slow.done()
        failed = (await slow).structured_content or {}
        assert "The metric regex on 41 characters, v2 (metric), took longer" in failed["error"]
        assert "Avoid repetitions inside repetitions" in failed["next"]

    drive(main, assisted())


UNIQUE: Facts = {"schema": {"uniqueItems": True}}
OBJECTS = "[" + ",".join(f'{{"a": {n}}}' for n in range(20_000)) + "]"


@pytest.mark.requirement("bounded-work", "cancelled")
@linux
def test_a_metric_that_is_at_work_is_cancelled_with_its_run(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = await a_text(call, OBJECTS)
        begun = await call("compute_loss", **metric("json_schema", s, **UNIQUE))
        assert begun["status"] == "running"
        at_work = children(os.getpid())
        await call("resume", session_id=s, cancel=True)
        assert at_work
        assert all(map(gone, at_work))

    drive(main, assisted(tmp_path / "t.db", soft_deadline=0.2))


def test_patterns_of_properties_are_matched_and_bad_schemas_refused_in_a_worker() -> None:
    schema: Facts = {"patternProperties": {"^n": {"type": "integer"}}}

    async def main(call: Tools) -> None:
        s = await a_text(call, '{"n1": "x", "other": "y"}')
        done = await call("compute_loss", **metric("json_schema", s, schema=schema))
        assert done["mean_score"] == 0
        broken = {"required": [{"a": n} for n in range(300)]}
        said = await call.refused("compute_loss", **metric("json_schema", s, schema=broken))
        assert "not valid at required" in said

    drive(main, assisted())


# Sizes


def test_a_template_is_measured_before_it_is_filled_in() -> None:
    assert render("{a}{a}b", {"a": "xy"}, 5) == "xyxyb"
    with pytest.raises(TooLong, match="a text of 5 characters here; at most 4 are"):
        render("{a}{a}b", {"a": "xy"}, 4)
    with pytest.raises(TooLong, match="100,000,000,000 characters"):  # for which there is no room
        render("{a}" * 100_000, {"a": "x" * 1_000_000}, 1_000_000)


@pytest.mark.requirement("limits")
@pytest.mark.parametrize("operation", ["format", "llm"])
def test_templates_cannot_multiply_a_text_beyond_the_longest_value(operation: str) -> None:
    async def main(call: Tools) -> None:
        s = await a_text(call, "x" * 1000)
        asked = {"session_id": s, "operation": operation, "template": "{a}" * 9}
        words = await call.refused("forward", **asked, inputs={"a": "v1"})
        assert "a text of 9,000 characters here; at most 5,000 are taken" in words
        kept = await call("inspect", session_id=s, id="v2")
        assert kept["view"].get("text") is None

    drive(main, assisted(max_value_chars=5000))


@pytest.mark.requirement("limits")
def test_many_examples_cannot_multiply_a_text_beyond_all_room() -> None:
    async def main(call: Tools) -> None:
        s = await a_text(call, "x" * 990)
        await call("create_variable", session_id=s, role="q", example_field="q")
        rows = [{"q": str(n)} for n in range(101)]
        await call("add_examples", session_id=s, split="train", examples=rows)
        asked = {"session_id": s, "operation": "format", "template": "{a}{q}"}
        words = await call.refused(
            "forward", **asked, inputs={"a": "v1", "q": "v2"}, examples="train"
        )
        assert "more than 100,000 characters in all" in words

    drive(main, assisted(max_value_chars=1000))


@pytest.mark.requirement("limits")
def test_a_candidate_that_makes_too_long_a_text_loses_and_the_run_goes_on() -> None:
    """Its outputs count as 0, like any that cannot be used."""

    async def main(call: Tools) -> None:
        s = await a_text(call, "x")
        await call("create_variable", session_id=s, role="q", example_field="q")
        asked = {"session_id": s, "operation": "format", "template": "{a}{a}{q}"}
        for split in ("train", "validation"):
            await call("add_examples", session_id=s, split=split, examples=[{"q": f"{split} y"}])
        await call("forward", **asked, inputs={"a": "v1", "q": "v2"})
        await call("compute_loss", **metric("regex", s, "v3", pattern="z"))
        await call("backward", session_id=s)
        begun = await call("step", session_id=s, accept="if_better")
        [pending] = begun["pending"]
        given = {pending["id"]: {"value": "z" * 600}}
        done = await call("resume", session_id=s, completions=given)
        assert not done["accepted"]
        assert "a tie on the minibatch: 0.00 on 1 examples" in done["proposals"][0]["reason"]

    drive(main, assisted(max_value_chars=1000))


@pytest.mark.requirement("limits")
def test_an_operation_reads_no_more_than_fits_into_a_request() -> None:
    async def main(call: Tools) -> None:
        s = await a_text(call, "x" * 1000)
        inputs = {f"n{n}": "v1" for n in range(5)}
        asked = {"session_id": s, "kind": "judge", "instruction": "i", "inputs": inputs}
        words = await call.refused("compute_loss", **asked)
        assert "v2 (judge) reads 5,000 characters; at most 4,000 are taken" in words

    drive(main, assisted(max_value_chars=1000))


@pytest.mark.parametrize("template", ["{a}" * (PLACES[0] + 1), "{a}" + "{b}" * PLACES[1]])
def test_a_template_has_so_many_places_at_most(template: str) -> None:
    with pytest.raises(BadInput, match="more than 1,000 places for its inputs, or more than 20"):
        check(template, ["a"])
    assert check("{a}" * PLACES[0] + "{b}" * 99, ["a"])


MANY: dict[str, tuple[str, Facts]] = {
    "inputs": ("forward", {"operation": "format", "inputs": {f"n{n}": "v1" for n in range(2000)}}),
    "examples": ("forward", {"examples": [f"e{n}" for n in range(20_000)]}),
    "options": ("compute_loss", {"options": {f"n{n}": 1 for n in range(2000)}}),
    "losses": ("backward", {"losses": ["v1"] * 20_000}),
    "completions": ("resume", {"completions": {f"c{n}": "" for n in range(20_000)}}),
    "constraints": ("create_variable", {"role": "r", "value": "x", "constraints": ["a"] * 200}),
}


@pytest.mark.requirement("limits", "any-arguments")
@pytest.mark.parametrize("what", MANY)
def test_a_call_names_so_many_things_at_most(what: str) -> None:
    tool, asked = MANY[what]

    async def main(call: Tools) -> None:
        s = await a_text(call, "x")
        judge = {"kind": "judge", "instruction": "i", "inputs": {"x": "v1"}}
        await call("compute_loss", session_id=s, **judge)
        more = metric("exact_match", s) if tool == "compute_loss" else {"session_id": s}
        assert f"{what}" in (said := await call.refused(tool, **more | asked))
        assert "are taken" in said

    drive(main, assisted())


def test_a_long_name_is_no_misspelling() -> None:
    assert nearest("exact_mach", ["contains", "exact_match"]) == "exact_match"
    assert nearest("exact_matc" * 100_000, ["exact_match"]) is None
    assert did_you_mean("a" * LONG, ["a" * (LONG - 1)])
    assert not did_you_mean("a" * (LONG + 1), ["a" * LONG])


def test_what_would_take_too_long_again_is_not_begun_again() -> None:
    assert issubclass(TooLong, FATAL)
