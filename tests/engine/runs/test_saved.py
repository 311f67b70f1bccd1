"""A run that goes on after a pause: what changed meanwhile is measured again, what cannot be read
is refused in words, and no run is stuck for ever."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.answerers import Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Purpose
from textgrad_mcp.schemas.errors import Conflict, EndpointDown
from textgrad_mcp.schemas.graph import STATE_VERSION
from textgrad_mcp.schemas.results import EvaluateResult, OptimizeResult, Result

from ...helpers import ME, MEMORY, Facts, Scripted, an_engine
from ..optimizer.test_optimize import program, sums


class Failing(Scripted):
    """The model of sums; it is down from its nth rewrite on, until it is let go."""

    def __init__(self, rewrites: int = 1, model: str = "m") -> None:
        super().__init__(sums)
        self.model = model
        self.left = rewrites
        self.down = True

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """The scripted reply, or none."""
        if request.purpose is Purpose.UPDATE:
            self.left -= 1
        if self.down and self.left < 0:
            raise EndpointDown("The endpoint is down.", "Try later.")
        return await super().answer(request, record, go)


@asynccontextmanager
async def half_way(
    path: Path = MEMORY, rewrites: int = 6
) -> AsyncIterator[tuple[Engine, Failing, str]]:
    """An optimisation that has taken some steps and failed."""
    model = Failing(rewrites)
    async with an_engine(model, path) as engine:
        s = await program(engine)
        failed = await engine.optimize(ME, session_id=s, strategy="gradient", steps=6)
        assert failed.status == "failed"
        model.down = False
        yield engine, model, s


async def alter(engine: Engine, sql: str, *values: Any) -> None:
    """Change the database from outside."""

    def job(db: sqlite3.Connection) -> None:
        assert db.execute(sql, values).rowcount

    await engine.store.db.write(job)


async def measured(engine: Engine, s: str) -> float:
    """What validation really scores."""
    result: Result = await engine.evaluate(ME, session_id=s)
    assert isinstance(result, EvaluateResult)
    assert result.mean_score is not None
    return result.mean_score


async def resumed(engine: Engine, s: str) -> OptimizeResult:
    """The result of the optimisation, which must end."""
    result = await engine.resume(ME, session_id=s)
    assert isinstance(result, OptimizeResult)
    assert result.status == "done", result.error
    return result


@pytest.mark.requirement("same-end", "changed-underneath")
def test_where_nothing_changed_a_failed_run_goes_on_as_if_it_had_not_failed() -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            whole = await engine.optimize(ME, session_id=s, strategy="gradient", steps=6)
        async with half_way() as (engine, model, s):
            result = await resumed(engine, s)
            assert len({r.key for r in model.asked}) == len(model.asked)
        figures = ("steps", "accepted", "score_before", "score_after", "calls", "notes")
        assert [getattr(result, f) for f in figures] == [getattr(whole, f) for f in figures]

    asyncio.run(main())


async def add_validation(engine: Engine, s: str) -> None:
    rows = [{"q": f"{n}+1?", "a": str(n + 1)} for n in range(200, 211)]
    await engine.add_examples(ME, session_id=s, split="validation", examples=rows)


async def revert(engine: Engine, s: str) -> None:
    await engine.revert(ME, session_id=s, variable="v1", version=1)


async def rewire(engine: Engine, _: str) -> None:
    spec = json.dumps({"metric": "contains"})
    await alter(engine, "UPDATE operations SET spec = ? WHERE kind = 'metric'", spec)


@pytest.mark.requirement("changed-underneath")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_validation, "the validation examples"),
        (revert, "the text of v1"),
        (rewire, "the program"),
    ],
)
def test_what_changed_under_a_failed_run_is_measured_again_and_said(
    change: Callable[[Engine, str], Any], words: str
) -> None:
    async def main() -> None:
        async with half_way() as (engine, _, s):
            session = await engine.store.sessions.get(s, "local")
            failed = await engine.store.runs.last(session.pk, s)
            assert failed is not None
            await change(engine, s)
            before = await measured(engine, s)  # is a run of its own
            result = await engine.runs.resume(ME, session, failed)
            assert isinstance(result, OptimizeResult)
            assert result.status == "done", result.error
            assert words in " ".join(result.notes)
            assert result.score_before == before
            assert result.score_after == await measured(engine, s)

    asyncio.run(main())


@pytest.mark.requirement("changed-underneath")
def test_scores_of_another_model_are_not_mixed_with_those_of_this_one(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "t.db"
        async with half_way(path) as (_, _, s):
            pass
        other = Failing(0, model="another")
        other.down = False
        async with an_engine(other, path) as engine:
            result = await resumed(engine, s)
            assert "who answers the calls" in " ".join(result.notes)
            assert result.score_after == await measured(engine, s)

    asyncio.run(main())


@pytest.mark.requirement("changed-underneath")
def test_what_was_saved_before_there_were_versions_is_read_and_measured_again() -> None:
    async def main() -> None:
        async with half_way() as (engine, _, s):
            await alter(
                engine,
                "UPDATE runs SET state = json_remove(state, '$.version', '$.stands', '$.notes', "
                "'$.reads') WHERE tool = 'optimize'",
            )
            result = await resumed(engine, s)
            assert "the version of textgrad-mcp" in " ".join(result.notes)
            assert result.score_after == await measured(engine, s)

    asyncio.run(main())


DAMAGES: dict[str, tuple[str, str]] = {
    "state: no JSON": ("state", '{"pool": '),
    "state: a list": ("state", "[1, 2]"),
    "state: a null": ("state", "null"),
    "state: wrong inside": ("state", '{"pool": {"members": 3}}'),
    "state: lengths": (
        "state",
        '{"pool": {"members": [{"name": "a", "texts": {}, "scores": [1.0]}]}, "before": [1, 0]}',
    ),
    "state: newer": ("state", json.dumps({"version": STATE_VERSION + 1})),
    "state: odd version": ("state", '{"version": "x"}'),
    "args: no JSON": ("args", "losses"),
    "args: empty": ("args", "{}"),
    "args: wrong inside": ("args", '{"losses": "v5", "made": [1], "notes": 3}'),
    "args: what is gone": ("args", ""),
    "a newer tool": ("tool", "polish"),
}


@pytest.mark.requirement("changed-underneath")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("status", ["failed", "needs_completions", "running"])
def test_a_run_that_cannot_be_read_says_so_each_time_and_holds_nothing_up(
    damage: str, status: str
) -> None:
    column, value = DAMAGES[damage]

    async def main() -> None:
        async with half_way(rewrites=0) as (engine, _, s):
            if not value:
                await alter(engine, f"UPDATE runs SET {column} = replace(args, 'v5', 'v50')")
            else:
                await alter(engine, f"UPDATE runs SET {column} = ? WHERE tool = 'optimize'", value)
            await alter(
                engine, "UPDATE runs SET status = ?, owner = '' WHERE status = 'failed'", status
            )
            for _ in range(2):
                refused = await engine.resume(ME, session_id=s)
                assert refused.status == "failed"
                assert "cannot go on" in (refused.error or "")
                assert "Begin anew" in refused.next
            for what in ("session", "runs"):
                await engine.inspect(ME, session_id=s, what=what)
            assert (
                await engine.optimize(ME, session_id=s, strategy="gradient", steps=1)
            ).status == "done"

    asyncio.run(main())


@pytest.mark.requirement("changed-underneath")
@pytest.mark.parametrize("column", ["args", "state"])
def test_a_run_that_cannot_be_read_can_be_dropped(column: str) -> None:
    async def main() -> None:
        async with half_way(rewrites=0) as (engine, _, s):
            sql = f"UPDATE runs SET {column} = '[', status = 'needs_completions'"
            await alter(engine, f"{sql} WHERE tool = 'optimize'")
            await engine.resume(ME, session_id=s, cancel=True)
            assert (
                await engine.optimize(ME, session_id=s, strategy="gradient", steps=1)
            ).status == "done"

    asyncio.run(main())


@pytest.mark.requirement("changed-underneath")
@pytest.mark.parametrize("result", ["[", "[]", '{"status": 7}'])
def test_a_result_that_cannot_be_read_is_said_and_the_call_can_be_made_again(result: str) -> None:
    async def main() -> None:
        async with half_way() as (engine, _, s):
            await resumed(engine, s)
            await alter(engine, "UPDATE runs SET result = ? WHERE tool = 'optimize'", result)
            with pytest.raises(Conflict, match="is damaged in the database"):
                await engine.resume(ME, session_id=s)
            again: Facts = {"session_id": s, "steps": 1}
            assert (await engine.optimize(ME, **again)).status == "done"

    asyncio.run(main())


@pytest.mark.requirement("changed-underneath")
def test_a_backward_whose_example_was_taken_out_says_so() -> None:
    async def main() -> None:
        model = Failing()
        async with an_engine(model) as engine:
            s = await program(engine)
            model.reply = down
            failed = await engine.backward(ME, session_id=s, examples=["e1", "e2"], exact=True)
            assert failed.status == "failed"
            model.reply = sums
            await alter(engine, "DELETE FROM examples WHERE n = 2")
            for _ in range(2):
                refused = await engine.resume(ME, session_id=s)
                assert "is about e2, no longer there" in (refused.error or "")
            assert (await engine.backward(ME, session_id=s, examples=["e1"])).status == "done"

    def down(_: CompletionRequest) -> str:
        raise EndpointDown("The endpoint is down.", "Try later.")

    asyncio.run(main())


@pytest.mark.requirement("held-out", "changed-underneath")
def test_an_evaluation_that_goes_on_with_another_text_is_another_reading() -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            rows = [{"q": "1+2?", "a": "3"}]
            await engine.add_examples(ME, session_id=s, split="test", examples=rows)
            await engine.evaluate(ME, session_id=s, split="test")
            await alter(engine, "UPDATE runs SET status = 'failed' WHERE tool = 'evaluate'")
            same = await engine.resume(ME, session_id=s)
            assert isinstance(same, EvaluateResult)
            assert same.reads == 1
            await alter(engine, "UPDATE runs SET status = 'failed' WHERE tool = 'evaluate'")
            await alter(engine, "UPDATE variables SET value = 'digits' WHERE n = 1")
            await alter(engine, "DELETE FROM cells")
            other = await engine.resume(ME, session_id=s)
            assert isinstance(other, EvaluateResult)
            assert other.reads == 2

    asyncio.run(main())
