"""What the page is told of a session: as it was measured, and had without a call or a write."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.views.examples import Examples
from textgrad_mcp.engine.views.page import Page
from textgrad_mcp.engine.views.replay import Reader
from textgrad_mcp.engine.views.session_report import headline
from textgrad_mcp.schemas.errors import BadInput, NotFound, StoreError
from textgrad_mcp.schemas.graph import Session
from textgrad_mcp.schemas.report import SessionReport

from ...helpers import ME, Facts, Scripted, Tools, an_engine, answered, assisted, drive
from ...page_session import database_of, look, program, reply

MOST_CHARS = 256_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database with an optimised session, and the session's id."""
    return database_of(tmp_path_factory.mktemp("page"))


def sides(summary: Facts, a: int = 0, b: int = -1) -> Facts:
    """Two of the session's sets of texts."""
    return {"a": summary["states"][a]["versions"], "b": summary["states"][b]["versions"]}


def test_the_summary_tells_what_was_won_on_examples_that_no_step_saw(
    made: tuple[Path, str],
) -> None:
    async def main(page: Page, session: Session) -> None:
        found = await page.view(session, "summary", {})
        test = next(s for s in found["scores"] if s["split"] == "test")
        assert (test["first"]["mean"], test["latest"]["mean"]) == (
            0.0,
            pytest.approx(0.917, abs=0.001),
        )
        assert test["paired"]
        assert (test["better"], test["worse"], test["same"]) == (33, 0, 3)
        assert "held-out examples" in found["headline"]
        assert [s["label"] for s in found["states"]] == ["start", "s1", "s2", "s4", "s6"]
        assert found["funnel"] == {"proposed": 21, "usable": 21, "compared": 5, "accepted": 4}
        again = await page.view(session, "summary", {"since": found["revision"]})
        assert again == {"same": True, "revision": found["revision"]}

    look(*made, main)


def test_gains_errors_and_chances_are_columns_that_agree_with_the_gates_words(
    made: tuple[Path, str],
) -> None:
    async def main(page: Page, session: Session) -> None:
        steps = (await page.view(session, "summary", {}))["steps_taken"]
        for i, n in enumerate(steps["n"]):
            step = await page.view(session, "step", {"step": n})
            if steps["gain"][i] is None:
                assert "none of 3 candidates" in step["gate"]
                continue
            assert f"gain {steps['gain'][i]:.2f}" in step["gate"]
            if steps["accepted"][i]:
                assert f"({steps['error'][i]:.2f};" in step["gate"]
            assert steps["after"][i] == pytest.approx(
                steps["before"][i] + steps["gain"][i], abs=0.001
            )

    look(*made, main)


@pytest.mark.requirement("page-read-only")
def test_a_replay_gives_what_the_gate_measured_for_every_version(made: tuple[Path, str]) -> None:
    async def main(page: Page, session: Session) -> None:
        summary = await page.view(session, "summary", {})
        steps = summary["steps_taken"]
        after = {f"s{n}": steps["after"][i] for i, n in enumerate(steps["n"])}
        after["start"] = steps["before"][0]
        for state in summary["states"]:
            asked = {"loss": "v5", "split": "validation", "a": state["versions"]}
            rows = await page.view(session, "rows", asked | {"b": state["versions"], "limit": 200})
            scores = [row["a"]["score"] for row in rows["rows"]]
            assert None not in scores
            assert sum(scores) / len(scores) == pytest.approx(after[state["label"]], abs=0.001)

    look(*made, main)


def test_examples_are_sorted_by_what_became_of_them(made: tuple[Path, str]) -> None:
    async def main(page: Page, session: Session) -> None:
        summary = await page.view(session, "summary", {})
        asked = {"loss": "v5", "split": "validation", **sides(summary, 1, 2)}
        worse = await page.view(session, "rows", asked | {"filter": "worse"})
        assert worse["counts"] == {"all": 37, "better": 9, "worse": 3, "same": 25}
        assert worse["total"] == 3
        assert all("invoice page" in row["fields"]["ticket"] for row in worse["rows"])
        assert all((row["a"]["score"], row["b"]["score"]) == (1, 0) for row in worse["rows"])
        one = await page.view(session, "example", {**asked, "id": worse["rows"][0]["id"]})
        assert (one["a"]["outputs"], one["b"]["outputs"]) == ({"output": "FIN"}, {"output": "ENG"})
        assert "Expected exactly 'FIN'" in one["b"]["feedback"]
        [call] = one["b"]["calls"]
        assert (await page.view(session, "call", {"id": call}))["text"] == "ENG"

    look(*made, main)


@pytest.mark.requirement("page-read-only", "held-out")
def test_rows_of_the_test_split_are_shown_only_to_who_asked_for_them(
    made: tuple[Path, str],
) -> None:
    async def main(page: Page, session: Session) -> None:
        summary = await page.view(session, "summary", {})
        asked = {"loss": "v5", "split": "test", **sides(summary)}
        held_out = (await page.store.examples.split(session.pk, "test"))[0]
        with pytest.raises(BadInput, match="no held-out figure any more"):
            await page.view(session, "rows", asked)
        with pytest.raises(BadInput, match="no held-out figure any more"):
            await page.view(session, "example", asked | {"id": f"e{held_out}"})

    async def shown(page: Page, session: Session) -> None:
        summary = await page.view(session, "summary", {})
        rows = await page.view(session, "rows", {"loss": "v5", "split": "test", **sides(summary)})
        assert rows["total"] == 36

    look(*made, main)
    look(*made, shown, held_out=True)


@pytest.mark.requirement("page-read-only")
def test_looking_at_everything_calls_nobody_and_writes_nothing(made: tuple[Path, str]) -> None:
    async def main(page: Page, session: Session) -> None:
        await page.store.db.only_read()
        before = await page.store.overview.revision(session.pk)
        summary = await page.view(session, "summary", {})
        asked: dict[str, Facts] = {name: {} for name in page.views}
        rows = {"loss": "v5", "split": "validation", **sides(summary)}
        asked |= {
            "step": {"step": 3},
            "text": {"variable": "v1", "version": 2},
            "rows": rows,
            "example": rows | {"id": "e30"},
            "call": {"id": "c3"},
        }
        for name, args in asked.items():
            found = await page.view(session, name, args)
            assert len(json.dumps(found)) < MOST_CHARS, name
        assert await page.store.overview.revision(session.pk) == before
        with pytest.raises(StoreError, match="read-only"):
            await page.store.db.read(lambda db: db.execute("DELETE FROM sessions"), single=True)

    look(*made, main)


@pytest.mark.parametrize(
    ("view", "args"),
    [
        ("rwos", {}),
        ("step", {"step": 99}),
        ("step", {"step": -1}),
        ("step", {"step": True}),
        ("step", {}),
        ("text", {"variable": "v1", "version": 99}),
        ("text", {"variable": "v99", "version": 1}),
        ("rows", {"loss": "v99"}),
        ("rows", {"loss": "v5", "a": {"v1": 99}}),
        ("rows", {"loss": "v5", "a": {"v77": 1}}),
        ("rows", {"loss": "v5", "a": ["v1"]}),
        ("rows", {"loss": "v5", "a": {"v1": "x"}}),
        ("rows", {"loss": "v5", "split": "all"}),
        ("rows", {"loss": "v5", "filter": "best"}),
        ("rows", {"loss": "v5", "offset": 1e99}),
        ("example", {"loss": "v5", "id": "e9999"}),
        ("example", {"loss": "v5", "id": "x"}),
        ("call", {"id": "c9999"}),
    ],
)
def test_what_is_not_there_is_refused_in_words(
    made: tuple[Path, str], view: str, args: dict[str, Any]
) -> None:
    async def main(page: Page, session: Session) -> None:
        with pytest.raises((BadInput, NotFound)) as refused:
            await page.view(session, view, args)
        assert refused.value.next

    look(*made, main)


def test_an_old_session_without_columns_is_drawn_by_what_it_has(tmp_path: Path) -> None:
    path, session_id = database_of(tmp_path, steps=2)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE steps SET gain = NULL, error = NULL, p = NULL")
        db.execute("UPDATE evaluations SET scores = NULL")
    db.close()

    async def main(page: Page, session: Session) -> None:
        found = await page.view(session, "summary", {})
        assert found["steps_taken"]["after"][0] is not None
        test = next(s for s in found["scores"] if s["split"] == "test")
        assert not test["paired"]
        assert test["error"] is not None
        rows = await page.view(
            session, "rows", {"loss": "v5", "split": "validation", **sides(found)}
        )
        assert rows["counts"]["better"] > 0

    look(path, session_id, main)


def test_a_run_that_waits_is_told_with_what_it_waits_for(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    ids: list[str] = []

    async def begin(call: Tools) -> None:
        s = await program(call)
        ids.append(s)
        await call("evaluate", session_id=s, split="validation")

    drive(begin, assisted(path))

    async def main(page: Page, session: Session) -> None:
        run = (await page.view(session, "summary", {}))["run"]
        assert (run["tool"], run["status"]) == ("evaluate", "needs_completions")
        assert run["open"] == {"forward": 37}
        pending = await page.view(session, "pending", {})
        assert pending["total"] == 37
        assert len(pending["pending"]) == 20

    look(path, ids[0], main)


def test_a_session_with_nothing_measured_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with an_engine(Scripted(), tmp_path / "t.db") as engine:
            made = await engine.create_variable(ME, role="a text", value="Be kind.")
            session = await engine.store.sessions.get(made.session_id or "", "local")
            page = Page(Reader(engine.store, engine.settings, engine.parts.workers))
            found = await page.view(session, "summary", {})
            assert found["headline"] == "Nothing has been measured yet."
            assert found["run"] is None
            for view in ("graph", "versions", "calls", "cost", "pending"):
                await page.view(session, view, {})

    asyncio.run(main())


def test_the_headline_never_says_more_than_the_figures() -> None:
    def report(**one: Any) -> SessionReport:
        side = {"error": 0.1, "examples": 20, "versions": {}}
        change = {
            "loss": "v1",
            "split": "test",
            "first": {"mean": 0.5, **side},
            "latest": {"mean": 0.6, **side},
            "evaluations": 2,
            "texts": 2,
            "gain": 0.1,
            "error": 0.1,
        }
        price = {"calls": 0, "tokens": 0, "cost": 0}
        found = {
            **{"title": "", "created": "", "updated": "", "headline": "", "scores": [change | one]},
            **{"session_id": "", "owner": "", "gated": None, "proposals": {}, "price": price},
            **{"steps": 1, "accepted": 1, "funnel": {}, "test_reads": 2},
            **{"examples": {}, "parameters": []},
        }
        return SessionReport.model_validate(found)

    assert "may be noise" in headline(report())
    assert "may be noise" not in headline(report(gain=0.5, error=0.1))
    assert "steered the search" in headline(report(split="validation"))
    assert "no held-out figure any more" in headline(report(texts=5))
    assert "read once" in headline(report(evaluations=1))


def test_scores_that_were_not_kept_are_not_guessed(tmp_path: Path) -> None:
    """A version that was never run on a split has no scores there, and no example is sorted."""
    path, ids = tmp_path / "t.db", []

    async def begin(call: Tools) -> None:
        s = await program(call)
        ids.append(s)
        await answered(call, await call("evaluate", session_id=s), reply)
        await call("create_variable", session_id=s, role="other", value="x")

    drive(begin, assisted(path))

    async def main(page: Page, session: Session) -> None:
        await page.store.history.set_value(session.pk, "v1", "A text that nobody ran.", "edit")
        rows = await Examples(page.reader, session).rows("v5", "validation", {"v1": 1}, {"v1": 2})
        assert not rows["counted"]
        assert rows["rows"][0]["a"]["score"] is not None
        assert rows["rows"][0]["b"] == {
            "output": "",
            "score": None,
            "missing": "This was never run with these texts.",
        }

    look(path, ids[0], main)


@pytest.mark.requirement("page-read-only")
def test_a_replay_reads_thoughts_repairs_and_refusals_as_the_run_did(tmp_path: Path) -> None:
    def untidy(pending: Facts) -> Any:
        if pending["purpose"].startswith("judge"):
            if "could not be used" not in pending["prompt"]:
                return "I would say it is fine."
            return (
                {"feedback": "It is short.", "score": 0.75} if "#1" in pending["prompt"] else "No."
            )
        return f"<think>Hm, {pending['prompt'][:5]}</think>FIN"

    path, ids, means = tmp_path / "t.db", [], []

    async def begin(call: Tools) -> None:
        s = str((await call("create_variable", role="prompt", value="Sort."))["session_id"])
        ids.append(s)
        await call("create_variable", session_id=s, role="x", example_field="x")
        rows = [{"x": f"case #{n}"} for n in (1, 2, 10)]
        await call("add_examples", session_id=s, split="validation", examples=rows)
        ask = {"operation": "llm", "system": "v1", "inputs": {"x": "v2"}}
        await answered(call, await call("forward", session_id=s, **ask, examples=["e1"]), untidy)
        judge = {"kind": "judge", "instruction": "Good?", "inputs": {"x": "v2", "output": "v3"}}
        loss = await call("compute_loss", session_id=s, **judge, examples=["e1"])
        await answered(call, loss, untidy)
        found = await answered(call, await call("evaluate", session_id=s), untidy)
        means.append(found["mean_score"])

    drive(begin, assisted(path))

    async def main(page: Page, session: Session) -> None:
        asked = {"loss": "v4", "split": "validation", "a": {"v1": 1}, "b": {"v1": 1}}
        rows = (await page.view(session, "rows", asked))["rows"]
        scores = [row["a"]["score"] or 0.0 for row in rows]
        assert means == [pytest.approx(sum(scores) / 3, abs=0.001)]
        assert [row["a"]["output"] for row in rows] == ["FIN", "FIN", "FIN"]
        assert "could not be used" in rows[1]["a"]["missing"]

    look(path, ids[0], main)
