"""Killed at every commit boundary of a whole iteration, it ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs import leases
from textgrad_mcp.engine.store import Store
from textgrad_mcp.schemas.completions import CompletionRequest

from ..helpers import ME, Facts, Scripted, an_engine, plain_reply
from ..session_driver import MEMORY_DISK

POINTS = ("before commit", "after commit")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder where commits are quick: a killed process loses nothing that it has written."""
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK) as made:
        yield Path(made)


class Noting(Scripted):
    """Keeps the key of every request in a file, which outlives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(self._note)

    def _note(self, request: CompletionRequest) -> str:
        with self._path.open("a") as file:
            print(request.key, file=file, flush=True)
        return plain_reply(request)


async def build(engine: Engine) -> None:
    """A prompt v1 on two examples, the answer v3 and a judge's loss v4, nothing computed."""
    s = (await engine.create_variable(ME, role="p", value="P")).session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    await engine.compute_loss(
        ME, session_id=s, kind="judge", instruction="i", inputs={"output": "v3"}
    )
    rows = [{"q": "one"}, {"q": "two"}]
    await engine.add_examples(ME, session_id=s, split="train", examples=rows)
    await engine.add_examples(ME, session_id=s, split="test", examples=[{"q": "three"}])


async def iterate(engine: Engine) -> None:
    """One backward, one step, one reading of the test split, from wherever the session is."""
    [session] = await engine.store.sessions.of_owner("local")
    s = session.id
    if await engine.store.runs.active(session.pk, s):
        resumed = await engine.resume(ME, session_id=s)
        assert resumed.status == "done", resumed.error
    if not await engine.store.history.steps(session.pk):
        if not await engine.store.history.gradients(session.pk):
            assert (await engine.backward(ME, session_id=s)).status == "done"
        assert (await engine.step(ME, session_id=s)).status == "done"
    assert (await engine.forward(ME, session_id=s)).status == "done"
    if not await engine.store.evaluations.latest(session.pk):
        assert (await engine.evaluate(ME, session_id=s, split="test")).status == "done"


async def outcome(store: Store) -> Facts:
    """Everything that must be the same in the end, without times and without runs."""
    [session] = await store.sessions.of_owner("local")
    document = await store.export.export_session(session.pk)
    return {
        "counts": [document["session"][k] for k in ("used_calls", "used_tokens", "test_reads")],
        "evaluations": [(e["split"], e["mean"]) for e in document["evaluations"]],
        "calls": sorted((c["key"], c["status"], c["text"]) for c in document["calls"]),
        "texts": [(v["variable"], v["version"], v["text"]) for v in document["versions"]],
        "cells": sorted(map(str, document["cells"])),
        "gradients": [(g["variable"], g["text"], g["spent_by"]) for g in document["gradients"]],
        "proposals": [(p["text"], p["verdict"], p["version"]) for p in document["proposals"]],
    }


def iterated(path: Path, asked: Path, point: str = "", nth: int = -1) -> int:
    """Iterate; at the nth `point`, if that comes, the process is killed. Gives their number."""
    passed = 0

    def fault(where: str) -> None:
        nonlocal passed
        if where != point:
            return
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    async def main() -> None:
        async with an_engine(Noting(asked), path, fault=fault) as engine:
            await iterate(engine)

    asyncio.run(main())
    return passed


def built(path: Path) -> None:
    """A new database with the program in it."""

    async def main() -> None:
        async with an_engine(path=path) as engine:
            await build(engine)

    asyncio.run(main())


def on_disk(path: Path) -> tuple[Facts, list[str]]:
    """What the file holds, and what is wrong with it."""

    async def main() -> tuple[Facts, list[str]]:
        store = Store(path)
        await store.open()
        try:
            return await outcome(store), await store.maintenance.check()
        finally:
            await store.close()

    return asyncio.run(main())


@pytest.mark.requirement("kill", "same-end", "held-out")
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_commit_boundary_it_ends_as_if_undisturbed(
    folder: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.2)  # its successor need not wait long
    whole = folder / "whole.db"
    built(whole)
    boundaries = iterated(whole, folder / "whole.txt", point)
    assert boundaries >= 9
    expected, _ = on_disk(whole)
    process = multiprocessing.get_context("fork").Process
    kills = 0
    for nth in range(boundaries):
        path, asked = folder / f"{nth}.db", folder / f"{nth}.txt"
        built(path)
        killed = process(target=iterated, args=(path, asked, point, nth))
        killed.start()
        killed.join(60)
        # Writes that meet share a commit: a run may have fewer of them, and end before the last.
        assert killed.exitcode in (0, -signal.SIGKILL)
        kills += killed.exitcode != 0
        found, problems = on_disk(path)
        assert problems == []
        before = Counter(asked.read_text().split()) if asked.exists() else Counter()
        iterated(path, asked)
        assert on_disk(path) == (expected, []), f"killed at {point} {nth}"
        again = Counter(asked.read_text().split()) - before
        recorded = {key for key, status, _ in found["calls"] if status == "answered"}
        assert not recorded & set(again), f"killed at {point} {nth}: something was paid twice"
        assert set(before + again) == {key for key, *_ in expected["calls"]}
    assert kills >= 8
