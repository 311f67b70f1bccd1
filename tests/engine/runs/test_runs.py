"""Runs: one active in a session, cancelled and resumed, waited for by several, ended once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textgrad_mcp.engine.answerers import Assistant, Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.schemas.completions import Completion, CompletionRequest
from textgrad_mcp.schemas.errors import Conflict, EndpointDown, NotFound, StoreError
from textgrad_mcp.schemas.results import ForwardResult, Result

from ...helpers import ME, Scripted, an_engine
from ..optimizer.test_optimize import program as sums_program
from ..optimizer.test_optimize import sums

pytestmark = pytest.mark.each_store


class Gated(Scripted):
    """Answers only once `open` is set; `called` is set when the first request is there."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.called = asyncio.Event()

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """The reply, when the gate is open."""
        go()
        self.asked.append(request)
        self.called.set()
        await self.open.wait()
        return Completion(text=self.reply(request), model=self.model)


async def prompts(engine: Engine, count: int = 3) -> str:
    """A session with the prompt v1 on `count` training examples, and v3, not computed."""
    made = await engine.create_variable(ME, role="p", value="P")
    s = made.session_id or ""
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    rows = [{"q": f"question {n}"} for n in range(count)]
    await engine.add_examples(ME, session_id=s, split="train", examples=rows)
    return s


SOON = Caller(deadline=0.05)


@pytest.mark.requirement("background")
def test_a_call_that_takes_long_goes_on_in_the_background_and_resume_waits_for_it() -> None:
    async def main() -> None:
        gated = Gated()
        async with an_engine(gated) as engine:
            s = await prompts(engine)
            running = await engine.forward(SOON, session_id=s)
            assert running.status == "running"
            assert running.run
            assert "resume" in running.next
            gated.open.set()
            done = await engine.resume(ME, session_id=s)
            assert isinstance(done, ForwardResult)
            assert done.status == "done"
            assert len(gated.asked) == 3

    asyncio.run(main())


@pytest.mark.requirement("cancelled")
def test_a_run_that_is_cancelled_tells_who_waits_for_it() -> None:
    async def main() -> None:
        gated = Gated()
        async with an_engine(gated) as engine:
            s = await prompts(engine)
            waiting = asyncio.create_task(engine.forward(ME, session_id=s))
            await gated.called.wait()
            await engine.resume(ME, session_id=s, cancel=True)
            with pytest.raises(Conflict, match="was cancelled"):
                await waiting
            gated.open.set()

    asyncio.run(main())


@pytest.mark.requirement("cancelled")
def test_a_reply_that_comes_after_the_cancellation_is_kept() -> None:
    async def main() -> None:
        gated = Gated()
        async with an_engine(gated) as engine:
            s = await prompts(engine)
            await engine.forward(SOON, session_id=s)
            await engine.resume(ME, session_id=s, cancel=True)
            gated.open.set()
            again = await engine.forward(ME, session_id=s)
            assert again.status == "done"
            assert len(gated.asked) == 3

    asyncio.run(main())


@pytest.mark.requirement("cancelled")
def test_a_caller_who_goes_away_stops_its_run_which_can_be_resumed() -> None:
    async def main() -> None:
        gated = Gated()
        async with an_engine(gated) as engine:
            s = await prompts(engine)
            caller = asyncio.create_task(engine.forward(ME, session_id=s))
            await gated.called.wait()
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            gated.open.set()
            done = await engine.resume(ME, session_id=s)
            assert done.status == "done"
            assert len(gated.asked) == 3

    asyncio.run(main())


@pytest.mark.requirement("cancelled")
def test_a_caller_who_goes_away_does_not_stop_what_another_waits_for() -> None:
    async def main() -> None:
        gated = Gated()
        async with an_engine(gated) as engine:
            s = await prompts(engine)
            one = asyncio.create_task(engine.forward(ME, session_id=s))
            await gated.called.wait()
            two = asyncio.create_task(engine.forward(ME, session_id=s))
            await engine.store.sessions.of_owner("local")  # both are waiting now
            await engine.store.sessions.of_owner("local")
            await engine.store.sessions.of_owner("local")
            one.cancel()
            await asyncio.gather(one, return_exceptions=True)
            gated.open.set()
            assert (await two).status == "done"
            assert len(gated.asked) == 3

    asyncio.run(main())


@pytest.mark.requirement("one-run")
def test_many_calls_at_once_in_one_session_leave_one_run_and_refuse_the_rest() -> None:
    async def main() -> None:
        gated = Gated()
        async with an_engine(gated) as engine:
            s = await prompts(engine)
            await engine.compute_loss(
                SOON, session_id=s, kind="judge", instruction="i", inputs={"x": "v3"}
            )
            assert len(gated.asked) == 3
            calls = [engine.evaluate(SOON, session_id=s, split="train") for _ in range(5)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(o, Conflict) for o in outcomes)
            gated.open.set()
            assert (await engine.resume(ME, session_id=s)).status == "done"

    asyncio.run(main())


@pytest.mark.requirement("owners")
def test_another_owner_cannot_see_resume_or_cancel_a_run() -> None:
    async def main() -> None:
        gated = Gated()
        async with an_engine(gated) as engine:
            s = await prompts(engine)
            await engine.forward(SOON, session_id=s)
            stranger = Caller(owner="somebody else")
            for cancel in (False, True):
                with pytest.raises(NotFound):
                    await engine.resume(stranger, session_id=s, cancel=cancel)
            gated.open.set()
            assert (await engine.resume(ME, session_id=s)).status == "done"

    asyncio.run(main())


@pytest.mark.requirement("partial-failure")
def test_an_endpoint_that_is_down_fails_the_run_and_resume_asks_only_for_the_rest() -> None:
    async def main() -> None:
        class Flaky(Scripted):
            up = False

            async def answer(
                self, request: CompletionRequest, record: RecordAttempt, go: Go
            ) -> Completion | None:
                if "question 2" in request.prompt and not self.up:
                    raise EndpointDown("The endpoint is down.", "Try later.")
                return await super().answer(request, record, go)

        flaky = Flaky()
        async with an_engine(flaky) as engine:
            s = await prompts(engine)
            failed = await engine.forward(ME, session_id=s)
            assert failed.status == "failed"
            assert "down" in (failed.error or "")
            flaky.up = True
            done = await engine.resume(ME, session_id=s)
            assert done.status == "done"
            assert len(flaky.asked) == 3

    asyncio.run(main())


@pytest.mark.requirement("takeover")
def test_a_closed_engine_leaves_its_run_to_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "t.db"
        gated = Gated()
        async with an_engine(gated, path) as engine:
            s = await prompts(engine)
            await engine.forward(SOON, session_id=s)
            gated.open.set()
        other = Scripted()
        async with an_engine(other, path) as engine:
            assert (await engine.resume(ME, session_id=s)).status == "done"
        assert len(gated.asked) + len(other.asked) == 3

    asyncio.run(main())


@pytest.mark.requirement("commit-error")
@pytest.mark.parametrize("point", ["before commit", "after commit"])
@pytest.mark.parametrize("nth", [3, 6, 9, 12])
def test_a_failure_at_any_commit_boundary_leaves_a_session_that_can_go_on(
    tmp_path: Path, point: str, nth: int
) -> None:
    """The store fails once, at the nth boundary of a backward pass; the same call then ends."""
    left = [-1]

    def fault(where: str) -> None:
        if where == point and left[0] >= 0:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(5, "scripted failure")

    async def main() -> None:
        critic = Scripted()
        async with an_engine(critic, tmp_path / "t.db", fault=fault) as engine:
            s = await prompts(engine, count=2)
            loss = await engine.compute_loss(
                ME, session_id=s, kind="judge", instruction="i", inputs={"x": "v3"}
            )
            assert loss.status == "done"
            left[0] = nth
            done = await persistent(engine, s)
            assert done.status == "done"
            session = await engine.store.sessions.get(s, "local")
            assert len(await engine.store.history.gradients(session.pk)) == 1

    asyncio.run(main())


async def persistent(engine: Engine, s: str) -> Result:
    """Call backward until it is done, as a model would that reads what failed."""
    for _ in range(4):
        try:
            result = await engine.backward(ME, session_id=s)
        except (StoreError, Conflict):
            continue
        if result.status == "failed":
            result = await engine.resume(ME, session_id=s)
        if result.status == "done":
            return result
    raise AssertionError("it never came to an end")


@pytest.mark.requirement("one-admission", "cancelled")
@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_a_caller_who_goes_away_while_its_run_begins_leaves_no_run_behind(turns: int) -> None:
    async def main() -> None:
        async with an_engine(Scripted()) as engine:
            s = await prompts(engine)
            caller = asyncio.create_task(engine.forward(ME, session_id=s))
            for _ in range(turns):
                await asyncio.sleep(0)
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            rows = [{"q": "another"}]
            added = await engine.add_examples(ME, session_id=s, split="train", examples=rows)
            assert added.added == 1

    asyncio.run(main())


@pytest.mark.requirement("background")
def test_the_running_score_is_told_to_everybody_who_waits() -> None:
    async def main() -> None:
        told: list[list[str]] = [[], []]
        gated = Gated()
        gated.reply = sums

        def caller(n: int, deadline: float = 45.0) -> Caller:
            return Caller(
                deadline=deadline, on_progress=lambda done, asked, phase: told[n].append(phase)
            )

        async with an_engine(gated) as engine:
            gated.open.set()
            s = await sums_program(engine)
            gated.open.clear()
            first = await engine.optimize(caller(0, 0.05), session_id=s, steps=2)
            assert first.status == "running"
            gated.open.set()
            done = await engine.resume(caller(1), session_id=s)
            assert done.status == "done"
        assert any("score" in phase for phase in told[1])
        assert not any("score" in phase for phase in told[0])

    asyncio.run(main())


@pytest.mark.requirement("one-admission", "asked-once")
def test_completions_handed_in_by_two_calls_at_once_end_the_run() -> None:
    async def main() -> None:
        async with an_engine(Assistant()) as engine:
            s = await prompts(engine, count=4)
            waiting = await engine.forward(ME, session_id=s)
            ids = [one.id for one in waiting.pending or []]
            given = [{id_: f"answer {id_}"} for id_ in ids]
            calls = [engine.resume(ME, session_id=s, completions=one) for one in given]
            results = await asyncio.gather(*calls)
            assert "done" in [result.status for result in results]
            left = [one.id for r in results if r.status != "done" for one in r.pending or []]
            assert set(left) <= set(ids)
            session = await engine.store.sessions.get(s, "local")
            assert (session.used_calls, len(await engine.store.runs.latest(session.pk))) == (4, 1)

    asyncio.run(main())
