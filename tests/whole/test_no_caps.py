"""No silent caps: what counts beyond a thousand counts, and what is left out of a list is said."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.results import OptimizeResult, StepResult
from textgrad_mcp.server.cli import session_report as session_view
from textgrad_mcp.server.protocol import report_markdown as report
from textgrad_mcp.server.protocol import resource_views as views
from textgrad_mcp.server.terminal import Styles

from ..engine.optimizer.test_long_history import stepped
from ..helpers import ME, Scripted, an_engine
from ..row_copies import copy_first_row

MANY = 1300


async def lengthened(engine: Engine, tables: Mapping[str, Mapping[str, str]]) -> tuple[str, int]:
    """A session that has stepped, with MANY more of the first row of each of these tables."""
    s = await stepped(engine)
    pk = (await engine.store.sessions.get(s, "local")).pk

    def job(db: sqlite3.Connection) -> None:
        for table, changes in tables.items():
            copy_first_row(db, table, pk, MANY, dict(changes))

    await engine.store.db.write(job)
    return s, pk


@pytest.mark.requirement("no-caps")
def test_a_step_uses_every_gradient_there_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with an_engine(Scripted(), tmp_path / "t.db") as engine:
            more = {"gradients": {"spent_by": "NULL", "version": "2"}}
            s, pk = await lengthened(engine, more)
            assert len(await engine.store.history.gradients(pk)) == MANY
            assert await engine.store.history.with_gradients(pk) == ["v1"]
            assert len(await engine.store.history.gradients(pk, unspent=False, limit=7)) == 7
            stepped = await engine.step(ME, session_id=s, accept="never")
            assert isinstance(stepped, StepResult)
            [proposal] = await engine.store.history.proposals(pk, limit=1)
            assert len(proposal.gradients) == MANY
            assert await engine.store.history.gradients(pk) == []

    asyncio.run(main())


@pytest.mark.requirement("no-caps")
def test_a_report_counts_from_the_first_step_and_evaluation_on(tmp_path: Path) -> None:
    more = {
        "steps": {"before": "0.5", "after": "0.75", "accepted": "1", "split": "'validation'"},
        "evaluations": {"mean": "0.9"},
        "proposals": {"step": "1 + k.value"},
    }

    async def main() -> None:
        async with an_engine(Scripted(), tmp_path / "t.db") as engine:
            s, pk = await lengthened(engine, more)
            first = (await engine.store.evaluations.latest(pk, 10_000))[-1]
            found: dict[str, Any] = (await engine.inspect(ME, session_id=s, what="report")).view
            [scores] = found["scores"]
            assert scores["first"].startswith(f"{first['mean']:.3f}")
            assert scores["latest"].startswith("0.900")
            assert scores["evaluations"] == 1 + MANY
            assert found["gated"] == {
                "split": "validation",
                "before": 0.5,
                "after": 0.75,
                "steps": MANY,
                "accepted": MANY,
            }
            assert sum(found["proposals"].values()) == 1 + MANY
            session = await engine.store.sessions.get(s, "local")
            said = await report.report(engine.store, session)
            assert f"{1 + MANY} steps, {1 + MANY} accepted; {1 + MANY} proposals." in said
            assert f"{1 + MANY} accepted, 0 refused; the 20 newest are listed." in said
            facts = await session_view.facts(engine.store, session)
            assert facts["scores"][0]["first"]["mean"] == first["mean"]
            assert facts["scores"][0]["evaluations"] == 1 + MANY

    asyncio.run(main())


@pytest.mark.requirement("no-caps")
def test_parameters_behind_a_thousand_variables_are_reported_and_those_left_out_are_counted(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with an_engine(Scripted(), tmp_path / "t.db") as engine:
            s = str(
                (await engine.create_variable(ME, role="c", value="x", reference=True)).session_id
            )
            pk = (await engine.store.sessions.get(s, "local")).pk
            await engine.store.db.write(lambda db: copy_first_row(db, "variables", pk, MANY, {}))
            for n in range(10):
                await engine.create_variable(
                    ME, session_id=s, role=f"prompt {n}", value=f"text {n}"
                )
            assert len(await engine.store.graph.variables(pk)) == 1 + MANY + 10
            found = (await engine.inspect(ME, session_id=s, what="report")).view
            assert [p["role"] for p in found["parameters"]] == [f"prompt {n}" for n in range(8)]
            assert found["left_out"][0].startswith("8 of 10 parameters are shown")
            session = await engine.store.sessions.get(s, "local")
            words = session_view.words(await session_view.facts(engine.store, session), Styles())
            assert "8 of 10 parameters are shown" in words
            said = await report.report(engine.store, session)
            assert "8 of 10 parameters are shown" in said
            assert "text 9" in said
            seen = (await engine.inspect(ME, session_id=s)).view
            assert seen["left_out"] == [
                "The first 20 variables are listed; what='graph' shows the others."
            ]
            assert '"truncated": true' in await views.session(engine.store, session)

    asyncio.run(main())


@pytest.mark.requirement("no-caps")
def test_lists_say_how_to_read_on() -> None:
    async def main() -> None:
        async with an_engine(Scripted(), minibatch=50) as engine:
            for n in range(25):
                await engine.create_variable(ME, role=f"session {n}", value="x")
            first = await engine.inspect(ME)
            assert len(first.view["sessions"]) == 20
            assert "offset=20 shows more" in first.next
            second = await engine.inspect(ME, offset=20)
            assert len(second.view["sessions"]) == 5
            assert "offset" not in second.next
            s = str(first.view["sessions"][0]["session_id"])
            await engine.create_variable(ME, session_id=s, role="q", example_field="q")
            rows = [{"q": f"question {n}"} for n in range(30)]
            await engine.add_examples(ME, session_id=s, split="train", examples=rows)
            await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
            values = await engine.inspect(ME, session_id=s, id="v3")
            assert len(values.view["values"]) == 20
            assert "offset=20" in values.next
            rest = await engine.inspect(ME, session_id=s, id="v3", offset=20)
            assert len(rest.view["values"]) == 10
            calls = await engine.inspect(ME, session_id=s, what="calls")
            assert "offset=20" in calls.next

    asyncio.run(main())


@pytest.mark.requirement("no-caps")
def test_a_run_says_how_many_of_its_proposals_are_shown() -> None:
    async def main() -> None:
        async with an_engine(Scripted()) as engine:
            s = await stepped(engine)
            optimized = await engine.optimize(
                ME, session_id=s, strategy="gradient", steps=6, patience=6, candidates=2
            )
            assert isinstance(optimized, OptimizeResult)
            assert any("The last 8 proposals are shown" in note for note in optimized.notes)

    asyncio.run(main())
