"""How often a call waits for the disk: once, where it changes something; never, where it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.answerers import Assistant
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store import database
from textgrad_mcp.schemas.errors import StoreError

from ...helpers import ME, Scripted, an_engine, made


@pytest.fixture(autouse=True)
def _held_however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction is held open for those who follow, not for less where the machine is busy."""
    monkeypatch.setattr(database, "HOLD_SECONDS", 3600)


class Commits:
    """Counts the commits of an engine, and fails the next one on demand."""

    def __init__(self) -> None:
        self.count = 0
        self.fail = False

    def __call__(self, point: str) -> None:
        if point == "before commit":
            self.count += 1
            if self.fail:
                self.fail = False
                raise OSError(28, "No space left on device")

    async def of(self, call: Awaitable[Any]) -> int:
        """How many commits `call` made."""
        before = self.count
        await call
        return self.count - before


async def _text(engine: Engine) -> str:
    first = await engine.create_variable(ME, role="a text", value="some text")
    return first.session_id or ""


@pytest.mark.requirement("shared-commits")
def test_a_call_that_needs_no_model_commits_once_and_one_that_reads_not_at_all(
    tmp_path: Path,
) -> None:
    commits = Commits()

    async def main() -> None:
        async with an_engine(Scripted(), tmp_path / "t.db", fault=commits) as engine:
            first = engine.create_variable(ME, role="a text", value="x")
            assert await commits.of(first) == 1
            s = await _text(engine)
            call: dict[str, Any] = {"session_id": s, "inputs": {"x": "v1"}}
            filled = engine.forward(ME, operation="format", template="{x}!", **call)
            assert await commits.of(filled) == 1
            measured = engine.compute_loss(ME, kind="metric", metric="contains", **call)
            with pytest.raises(Exception, match="contains"):
                await commits.of(measured)
            assert (
                await commits.of(engine.create_variable(ME, session_id=s, role="y", value="")) == 1
            )
            for what in ("session", "graph", "steps", "calls"):
                assert await commits.of(engine.inspect(ME, session_id=s, what=what)) == 0
            assert await commits.of(engine.forward(ME, session_id=s)) == 0

    asyncio.run(main())


def test_a_step_of_four_calls_in_a_row_waits_for_six_commits(tmp_path: Path) -> None:
    commits = Commits()

    async def main() -> None:
        async with an_engine(Scripted(), tmp_path / "t.db", fault=commits) as engine:
            s = await _text(engine)
            inputs = {"text": "v1"}
            answer = made(await engine.forward(ME, session_id=s, operation="llm", inputs=inputs))
            await engine.compute_loss(
                ME, session_id=s, kind="judge", instruction="Good?", inputs={"text": answer}
            )
            await engine.backward(ME, session_id=s)
            await engine.step(ME, session_id=s)
            # answer, critique, feedback; the feedback's gradients with the end of their run
            assert await commits.of(engine.backward(ME, session_id=s)) <= 4
            # the new text; the step with the end of its run
            assert await commits.of(engine.step(ME, session_id=s)) <= 2

    asyncio.run(main())


def test_no_call_waits_for_the_time_after_which_lazy_writes_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LAZY_SECONDS", 3600)

    async def main() -> None:
        async with (
            asyncio.timeout(60),
            an_engine(Scripted(), tmp_path / "t.db", backward=Assistant()) as engine,
        ):
            s = await _text(engine)
            inputs = {"text": "v1"}
            answer = made(await engine.forward(ME, session_id=s, operation="llm", inputs=inputs))
            judged = await engine.compute_loss(
                ME, session_id=s, kind="judge", instruction="Good?", inputs={"text": answer}
            )
            assert judged.status == "needs_completions"

    asyncio.run(main())


@pytest.mark.requirement("commit-error")
def test_a_commit_that_fails_is_told_and_nothing_of_the_call_is_left(tmp_path: Path) -> None:
    commits = Commits()

    async def main() -> None:
        async with an_engine(Scripted(), tmp_path / "t.db", fault=commits) as engine:
            s = await _text(engine)
            call: dict[str, Any] = {"session_id": s, "operation": "format", "template": "{x}!"}
            commits.fail = True
            with pytest.raises(StoreError):
                await engine.forward(ME, inputs={"x": "v1"}, **call)
            assert await engine.store.graph.operations(1) == []
            assert made(await engine.forward(ME, inputs={"x": "v1"}, **call)) == "v2"

    asyncio.run(main())
