"""One report, drawn four times: page, Markdown, terminal, and in short for a model."""

from __future__ import annotations

import asyncio
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.evaluation.statistics import paired_gain
from textgrad_mcp.engine.store.export_format import check_file
from textgrad_mcp.engine.views.comparisons import Comparisons, paired, sort
from textgrad_mcp.engine.views.page import Page
from textgrad_mcp.engine.views.report import in_short
from textgrad_mcp.engine.views.session_report import session_report
from textgrad_mcp.engine.views.several import compare
from textgrad_mcp.engine.views.states import STATES, states
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.graph import Session
from textgrad_mcp.server.cli import session_report as session_view
from textgrad_mcp.server.protocol import report_markdown as report
from textgrad_mcp.server.terminal import Styles

from ...helpers import ME, Scripted, an_engine
from ...page_session import database_of, look
from ..store.test_transfer import a_file, exported, worked_on

SCORES = st.dictionaries(st.integers(1, 30), st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database with an optimised session, and the session's id."""
    return database_of(tmp_path_factory.mktemp("drawn"))


@pytest.mark.requirement("one-report")
def test_every_drawing_says_the_same(made: tuple[Path, str]) -> None:
    async def main(page: Page, session: Session) -> None:
        found = await session_report(page.store, session, texts=True)
        [test] = [one for one in found.scores if one.split == "test"]
        assert test.said == "+0.917 ± 0.047"
        summary = await page.view(session, "summary", {})
        markdown = await report.report(page.store, session)
        facts = await session_view.facts(page.store, session)
        terminal = session_view.words(facts, Styles())
        short = in_short(found)
        assert found.headline == summary["headline"] == short["headline"] == facts["headline"]
        assert found.headline in markdown
        assert found.headline in terminal
        for words in (markdown, terminal):
            assert "0.000 ± 0.000" in words
            assert "0.917 ± 0.047" in words
            assert "Tickets about" in words  # the feedback
        assert f"| {test.said} (paired) |" in markdown
        assert summary["gated"] == short["gated"] == facts["gated"]
        assert summary["proposals"] == short["proposals"] == facts["proposals"]
        assert summary["price"] == short["price"] == facts["price"]
        assert "owner" not in summary
        assert "session_id" not in summary

    look(*made, main)


def test_two_evaluations_are_compared_once_however_often_the_page_asks(
    made: tuple[Path, str],
) -> None:
    async def main(page: Page, session: Session) -> None:
        read: list[int] = []

        class Counting:
            def __getattr__(self, verb: str) -> Any:
                return getattr(page.store.overview, verb)

            async def scores_of(self, pk: int, evaluation: int) -> dict[int, float]:
                read.append(evaluation)
                return await page.store.overview.scores_of(pk, evaluation)

        known = Comparisons()
        store: Any = copy(page.store)
        store.overview = Counting()
        first = await session_report(store, session, known)
        told = len(read)
        assert told
        assert await session_report(store, session, known) == first
        assert len(read) == told

    look(*made, main)


@given(SCORES, SCORES)
def test_a_comparison_agrees_with_the_gates(
    before: dict[int, float], after: dict[int, float]
) -> None:
    both = sorted(before.keys() & after.keys())
    found = sort(before, after, set(before) | set(after))
    assert sorted([*found.better, *found.worse, *found.same]) == both
    assert list(found.worse) == [n for n in both if after[n] < before[n]]
    pairs = paired(before, after)
    if pairs is None:
        assert not before or before.keys() != after.keys()
        return
    gain = paired_gain([before[n] for n in both], [after[n] for n in both])
    assert pairs.gain == pytest.approx(gain.gain, abs=1e-9)
    assert pairs.error == (gain.standard_error and pytest.approx(gain.standard_error, abs=1e-9))
    assert (pairs.better, pairs.worse) == (len(found.better), len(found.worse))


@given(st.lists(st.sampled_from(["v1", "v2"]), max_size=3 * STATES), st.integers(1, 4 * STATES))
def test_the_newest_versions_tell_the_states_of_all(taken: list[str], newest: int) -> None:
    """What is read of the versions is bounded; the start and the newest states are the same."""
    now = {"v1": 1, "v2": 1}
    every: list[tuple[str, int, str, int | None]] = [(v, 1, "created", None) for v in now]
    for step, v in enumerate(taken, 1):
        now[v] += 1
        every.append((v, now[v], "step", step))

    def found(rows: list[tuple[str, int, str, int | None]]) -> list[dict[str, Any]]:
        names = ("variable", "version", "origin", "step")
        return states({k: [r[n] for r in rows] for n, k in enumerate(names)}, now)

    whole, part = found(every), found(every[-newest:])
    assert part[0]["label"] == whole[0]["label"] == "start"
    shown = len(part) - 1
    labels = [[one["label"] for one in x] for x in (part[1:], whole[len(whole) - shown :])]
    assert labels[0] == labels[1]
    assert now | part[0]["versions"] == now | whole[0]["versions"]
    for one, other in zip(part[1:], whole[len(whole) - shown :], strict=True):
        assert now | one["versions"] == now | other["versions"]


def test_an_example_that_was_taken_out_is_in_no_list() -> None:
    scores = {1: 0.0, 2: 0.0, 3: 1.0}
    found = sort(scores, {1: 1.0, 2: 1.0, 3: 0.0}, {2, 3})
    assert [list(x) for x in (found.better, found.worse, found.same)] == [[2], [3], []]


def test_sessions_are_compared_on_the_examples_that_all_of_them_have(tmp_path: Path) -> None:
    async def session(engine: Engine, rows: list[int], answer: str) -> Session:
        s = str((await engine.create_variable(ME, role="prompt", value=answer)).session_id)
        data = [{"q": str(n), "a": "odd" if n % 2 else "even"} for n in rows]
        for field in ("q", "a"):
            await engine.create_variable(
                ME, session_id=s, role=field, example_field=field, reference=field == "a"
            )
        await engine.add_examples(ME, session_id=s, split="validation", examples=data)
        inputs = {"output": "v1", "answer": "v3"}
        metric: dict[str, Any] = {"kind": "metric", "metric": "exact_match", "inputs": inputs}
        await engine.compute_loss(ME, session_id=s, examples=["e1"], **metric)
        await engine.evaluate(ME, session_id=s, split="validation")
        return await engine.store.sessions.get(s, "local")

    async def main() -> None:
        async with an_engine(Scripted(), tmp_path / "t.db") as engine:
            one = await session(engine, [5, 1, 2, 3], "odd")
            other = await session(engine, [2, 3, 4, 6, 1], "even")
            matched = (await compare(engine.store, [one, other]))["matched"]
            assert matched["test"] == {"shared": 0, "examples": 0, "sides": []}
            found = matched["validation"]
            assert (found["shared"], found["examples"]) == (3, 3)
            assert found["sides"][0] == {"mean": pytest.approx(2 / 3)}
            second = found["sides"][1]
            assert second["mean"] == pytest.approx(1 / 3)
            assert second["gain"] == pytest.approx(-1 / 3)
            assert (second["better"], second["worse"], second["same"]) == (1, 2, 0)
            third = await session(engine, [2, 9], "odd")
            three = (await compare(engine.store, [one, other, third]))["matched"]["validation"]
            assert [side["mean"] for side in three["sides"]] == [0.0, 1.0, 0.0]

    asyncio.run(main())


@pytest.mark.requirement("one-report")
def test_a_file_from_before_scores_were_kept_is_reported_without_pairs() -> None:
    async def main() -> None:
        async with an_engine(Scripted()) as engine:
            s = await worked_on(engine)
            await engine.evaluate(ME, session_id=s)
            document = await exported(engine.store, s)
            for table in ("steps", "proposals"):
                for row in document[table]:
                    for name in ("gain", "error", "p"):
                        del row[name]
            kept = [row.pop("scores") for row in document["evaluations"]]
            assert len(kept) == 2
            assert all(kept)
            old = await engine.store.export.import_session("local", document)
            for one, paired_ in ((s, True), (old, False)):
                session = await engine.store.sessions.get(one, "local")
                [change] = (await session_report(engine.store, session)).scores
                assert (change.paired, change.gain is not None) == (paired_, True)
            assert await engine.store.maintenance.check() == []

    asyncio.run(main())


@pytest.mark.parametrize("scores", [{"X": 1.0}, {"01": 1.0}, {"1": "1"}, [1.0], {"1": None}, "{}"])
def test_scores_that_are_none_are_refused_with_their_place(scores: object) -> None:
    document = a_file()
    document["evaluations"][0]["scores"] = scores
    with pytest.raises(BadInput, match=r"evaluations\.0\.scores"):
        check_file(document)
