"""Budgets: calls, tokens, money and time, set aside before a call is made and kept across ends."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.answerers import Assistant, Go, RecordAttempt
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.completions import Completion, CompletionRequest, Purpose, Usage
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.results import ForwardResult, OptimizeResult, Result
from textgrad_mcp.schemas.settings import EvaluatorSettings, RoleSettings, Settings

from ...helpers import ME, Scripted, an_engine, made
from ..optimizer.test_optimize import program, sums

pytestmark = pytest.mark.each_store

PRICED = RoleSettings(price_prompt=200, price_completion=200)
"""In dollars for a million tokens: what is set aside for a short call is about six cents."""


class Paid(Scripted):
    """Sums by a model that counts: 30 tokens and three cents a call. Calls overlap."""

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """The scripted reply with what it cost."""
        found = await super().answer(request, record, go)
        await asyncio.sleep(0)
        assert found is not None
        used = Usage(prompt_tokens=20, completion_tokens=10, cost=0.03)
        return found.model_copy(update={"usage": used})


async def optimize(engine: Engine, s: str, **arguments: Any) -> OptimizeResult:
    """The loop without any other reason to stop than the budget."""
    common: dict[str, Any] = {"steps": 50, "patience": 50, "goal": 1.0, "strategy": "gradient"}
    result: Result = await engine.optimize(ME, session_id=s, **(common | arguments))
    assert isinstance(result, OptimizeResult), result
    return result


@pytest.mark.requirement("budgets")
@pytest.mark.parametrize(
    ("budget", "unit", "spent"),
    [
        ({"calls": 75}, "calls", lambda r: 70 < r.calls <= 75),
        ({"tokens": 2000}, "tokens", lambda r: 1500 < r.tokens <= 2000),
        ({"cost": 2.5}, "dollars", lambda r: 1.5 < (r.cost or 0) <= 2.5),
    ],
)
def test_a_run_stops_within_its_budget_and_says_what_was_won(
    budget: dict[str, float], unit: str, spent: Callable[[OptimizeResult], bool]
) -> None:
    async def main() -> None:
        async with an_engine(Paid(sums)) as engine:
            engine.settings.forward = engine.settings.backward = PRICED
            s = await program(engine)
            result = await optimize(engine, s, budget=budget)
            assert (result.status, result.stopped) == ("done", "budget")
            assert spent(result), (result.calls, result.tokens, result.cost)
            assert result.score_after is not None
            words = " ".join(result.notes)
            assert f"{next(iter(budget.values())):g} {unit} is used up" in words
            assert re.search(r"the next call may take it to [0-9.]+", words)
            next_step = re.search(r"next step would cost about (\d+) calls, (\d+) tokens", words)
            assert next_step is not None
            assert 0 < int(next_step[1]) <= result.calls / result.steps
            assert "dollars, as much as those so far" in words

    asyncio.run(main())


def stubborn(request: CompletionRequest) -> str:
    """A model that never gets a sum right, whatever its prompt says."""
    return "I wonder." if request.purpose is Purpose.FORWARD else sums(request)


@pytest.mark.requirement("budgets")
def test_a_run_stops_when_its_time_is_over() -> None:
    async def main() -> None:
        async with an_engine(Scripted(stubborn)) as engine:
            s = await program(engine)
            result = await optimize(
                engine, s, budget={"seconds": 1}, steps=1000, patience=1000, goal=1.0
            )
            assert result.stopped == "budget"
            assert "budget of 1 seconds is used up" in " ".join(result.notes)

    asyncio.run(main())


class Held(Scripted):
    """Replies to nothing until it is let go, and counts who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.five = asyncio.Event(), asyncio.Event()
        self.running = self.most = 0

    async def answer(
        self, request: CompletionRequest, record: RecordAttempt, go: Go
    ) -> Completion | None:
        """The scripted reply, later."""
        self.asked.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == 5:
            self.five.set()
        await self.gate.wait()
        self.running -= 1
        return Completion(text="x", usage=Usage(prompt_tokens=100, completion_tokens=100))


@pytest.mark.requirement("budgets")
@pytest.mark.parametrize(("budget", "calls"), [({"calls": 5}, 5), ({"tokens": 5 * 300}, 7)])
def test_what_is_under_way_counts_until_it_turns_out_to_cost_less(
    budget: dict[str, float], calls: int
) -> None:
    async def main() -> None:
        model = Held()
        async with an_engine(model, session_budget=budget) as engine:
            s = await fed(engine, 20)
            begun = asyncio.create_task(call_model(engine, s))
            await asyncio.wait_for(model.five.wait(), 20)
            model.gate.set()
            result = await begun
            assert result.status == "failed"
            assert "budget" in (result.error or "")
            assert model.most == 5
            assert len(model.asked) == calls
            assert (await engine.store.sessions.get(s, "local")).used_tokens <= 1500

    asyncio.run(main())


async def fed(engine: Engine, rows: int) -> str:
    """A prompt v1 and a field v2 with so many rows, all in use."""
    s = str((await engine.create_variable(ME, role="prompt", value="P")).session_id)
    await engine.create_variable(ME, role="q", example_field="q", session_id=s)
    data = [{"q": f"{n}?"} for n in range(rows)]
    await engine.add_examples(ME, session_id=s, split="train", examples=data)
    return s


async def call_model(engine: Engine, s: str) -> Result:
    """A call of the model for every row."""
    return await engine.forward(
        ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"}, examples="train"
    )


@pytest.mark.requirement("budgets")
def test_a_session_budget_holds_over_all_runs_and_survives_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "t.db"
        first, second, third = Scripted(), Scripted(), Scripted()
        async with an_engine(first, path, session_budget={"calls": 12}) as engine:
            s = await fed(engine, 8)
            assert (await call_model(engine, s)).status == "done"
        async with an_engine(second, path, session_budget={"calls": 12}) as engine:
            again = await engine.compute_loss(
                ME, session_id=s, kind="judge", instruction="i", inputs={"text": "v3"}
            )
            assert again.status == "failed"
            assert "12 calls is used up" in (again.error or "")
        assert (len(first.asked), len(second.asked)) == (8, 4)
        async with an_engine(third, path, session_budget={"calls": 16}) as engine:
            done = await engine.resume(ME, session_id=s)
            assert isinstance(done, ForwardResult)
            assert done.status == "done"
        assert len(third.asked) == 4

    asyncio.run(main())


@pytest.mark.requirement("budgets")
def test_another_session_has_a_budget_of_its_own() -> None:
    async def main() -> None:
        async with an_engine(session_budget={"calls": 8}) as engine:
            for _ in range(2):
                assert (await call_model(engine, await fed(engine, 8))).status == "done"

    asyncio.run(main())


@pytest.mark.requirement("budgets")
def test_what_a_run_spent_is_not_forgotten_when_it_is_resumed(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "t.db"
        async with an_engine(Paid(sums), path) as engine:
            s = await program(engine)
            session = await engine.store.sessions.get(s, "local")
            stopped = await optimize(engine, s, budget={"calls": 75})
            spent = await engine.store.calls.usage(session.pk, int(str(stopped.run)[1:]))
        async with an_engine(Paid(sums), path) as engine:
            again = await engine.resume(ME, session_id=s)
            assert "had ended already" in " ".join(again.notes)
            more = await optimize(engine, s, budget={"calls": 75})
            assert more.run != stopped.run
            assert 0 < more.calls <= 75
            assert sum(u["calls"] for u in spent.values()) == stopped.calls

    asyncio.run(main())


@pytest.mark.requirement("budgets")
def test_a_budget_too_small_for_one_gated_step_is_refused_and_the_one_named_is_enough() -> None:
    async def main() -> None:
        model = Paid(sums)
        async with an_engine(model) as engine:
            s = await program(engine)
            asked = len(model.asked)
            with pytest.raises(BadInput) as refusal:
                await optimize(engine, s, budget={"calls": 10})
            assert len(model.asked) == asked
            least = re.search(r"takes about (\d+)", refusal.value.message)
            sensible = re.search(r"'calls': (\d+)", refusal.value.next)
            assert least is not None
            assert sensible is not None
            result = await optimize(engine, s, budget={"calls": int(least[1])}, candidates=1)
            assert result.steps >= 1
            s = await program(engine)
            result = await optimize(engine, s, budget={"calls": int(sensible[1])})
            assert result.steps >= 1

    asyncio.run(main())


@pytest.mark.requirement("budgets")
@pytest.mark.parametrize(("key", "small"), [("tokens", 300), ("cost", 0.01)])
def test_tokens_or_money_that_cannot_pay_for_one_gated_step_are_refused_likewise(
    key: str, small: float
) -> None:
    async def main() -> None:
        model = Paid(sums)
        async with an_engine(model) as engine:
            engine.settings.forward = engine.settings.backward = PRICED
            s = await program(engine)
            asked = len(model.asked)
            with pytest.raises(BadInput, match="validation examples, before and after") as refusal:
                await optimize(engine, s, budget={key: small})
            assert len(model.asked) == asked
            sensible = re.search(rf"'{key}': ([0-9.]+)", refusal.value.next)
            assert sensible is not None
            result = await optimize(engine, s, budget={key: float(sensible[1])})
            assert result.steps >= 1

    asyncio.run(main())


@pytest.mark.requirement("budgets")
def test_a_run_that_ends_before_its_first_step_says_what_that_would_take() -> None:
    async def main() -> None:
        async with an_engine(Paid(sums), session_budget={"calls": 24}) as engine:
            s = await program(engine)
            result = await optimize(engine, s)
            assert (result.steps, result.stopped) == (0, "budget")
            words = " ".join(result.notes)
            assert re.search(r"start and one step take about \d+ calls", words)

    asyncio.run(main())


@pytest.mark.requirement("budgets")
@pytest.mark.parametrize("budget", [{"calls": 0}, {"tokens": -1}, {"euros": 5}])
def test_a_budget_that_cannot_be_is_refused_with_what_can(budget: dict[str, float]) -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums)) as engine:
            s = await program(engine)
            with pytest.raises(BadInput, match="calls, tokens, cost, seconds"):
                await optimize(engine, s, budget=budget)

    asyncio.run(main())


@pytest.mark.requirement("budgets")
def test_a_budget_that_ends_before_the_start_is_scored_fails_and_says_so() -> None:
    async def main() -> None:
        async with an_engine(Paid(sums), session_budget={"calls": 9}) as engine:
            s = await program(engine)
            result = await optimize(engine, s)
            assert result.status == "failed"
            assert "session's budget of 9 calls" in (result.error or "")

    asyncio.run(main())


@pytest.mark.requirement("budgets")
@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("key", ["calls", "tokens", "cost", "seconds"])
def test_a_budget_that_is_no_amount_is_refused(key: str, amount: float) -> None:
    async def main() -> None:
        async with an_engine() as engine:
            s = await program(engine)
            with pytest.raises(BadInput, match="finite number"):
                await engine.optimize(ME, session_id=s, budget={key: amount})

    asyncio.run(main())
    if key != "seconds":
        with pytest.raises(ValueError, match=f"no budget for {key}|{key}\n.*finite number"):
            Settings(session_budget={key: amount})


@pytest.mark.requirement("budgets")
@pytest.mark.parametrize("waiting", [True, False])
def test_the_time_that_the_assistant_takes_to_answer_is_not_the_budgets(waiting: bool) -> None:
    async def main() -> None:
        async with an_engine(Scripted(sums), backward=Assistant()) as engine:
            s = await program(engine)
            result = await engine.optimize(ME, session_id=s, steps=1, budget={"seconds": 3600})
            assert result.status == "needs_completions"
            await two_hours_passed(engine)
            while result.status == "needs_completions":
                reply = {"v1": "Ask for digits.", "value": "Answer in digits."}
                given = {p.id: reply for p in result.pending or []}
                result = await engine.resume(ME, session_id=s, completions=given)
            assert isinstance(result, OptimizeResult)
            assert result.stopped == ("steps" if waiting else "budget")

    async def two_hours_passed(engine: Engine) -> None:
        """As if the run had begun two hours ago, or had waited for the assistant since."""

        def job(db: sqlite3.Connection) -> None:
            db.execute("UPDATE runs SET began = began - 7200")
            if waiting:
                db.execute("UPDATE runs SET stopped = stopped - 7200")

        await engine.store.db.write(job)


@pytest.mark.requirement("budgets")
def test_runs_of_the_operators_program_are_no_calls_of_a_budget() -> None:
    source = "import json, sys; json.load(sys.stdin); print(json.dumps({'score': 0.5}))"
    registered = {"it": EvaluatorSettings(command=[sys.executable, "-c", source])}

    async def main() -> None:
        model = Paid(sums)
        async with an_engine(model, evaluators=registered) as engine:
            s = await program(engine)
            inputs = {"output": "v4"}
            judged = engine.compute_loss(
                ME, session_id=s, kind="evaluator", evaluator="it", inputs=inputs
            )
            loss = made(await judged)
            asked = len(model.asked)
            result = await optimize(engine, s, loss=loss, budget={"calls": 30})
            assert result.stopped == "budget"
            assert result.calls == len(model.asked) - asked
            assert 20 < result.calls <= 30
            view = (await engine.inspect(ME, session_id=s, what="report")).view
            assert view["price"]["calls"] == len(model.asked)

    asyncio.run(main())
