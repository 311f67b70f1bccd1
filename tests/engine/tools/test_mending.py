"""Examples are taken out or mended; files of sessions carry what was taken out of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store import connection
from textgrad_mcp.engine.store.migrations import MIGRATIONS
from textgrad_mcp.schemas.errors import BadInput, Conflict, NotFound
from textgrad_mcp.schemas.results import (
    EvaluateResult,
    ForwardResult,
)

from ...helpers import (
    ME,
    Facts,
    Scripted,
    Tools,
    assisted,
    drive,
    tools,
)
from ...small_program import ROWS, a_program, document, gone, run

# examples


@pytest.mark.requirement("taken-out")
def test_examples_go_from_what_is_in_use_and_from_what_is_about_to_be_learnt() -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        await engine.forward(ME, session_id=s, examples=["e1", "e2"])
        await engine.backward(ME, session_id=s, examples=["e1", "e2"])
        notes = await gone(engine, s, "e2")
        assert notes == [
            "Removed: e2.",
            "Gradients that go with it, which no step has used: 1.",
            "train: 3 examples are left.",
        ]
        found = await engine.forward(ME, session_id=s)
        assert isinstance(found, ForwardResult)
        assert found.examples == ["e1"]
        learnt = (await engine.inspect(ME, session_id=s, what="gradients")).view["gradients"]
        assert all("e2" not in g["examples"] for g in learnt)
        await engine.backward(ME, session_id=s)
        assert (await engine.step(ME, session_id=s, accept="if_better")).status == "done"
        await gone(engine, s, "e1")  # the last in use: the first of the split are, as at the start
        found = await engine.forward(ME, session_id=s)
        assert isinstance(found, ForwardResult)
        assert found.examples == ["e3", "e4"]
        assert (
            await engine.optimize(ME, session_id=s, strategy="gradient", steps=1)
        ).status == "done"

    run(main)


def test_gradients_on_others_of_a_batch_stay_when_an_example_goes() -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        await engine.backward(ME, session_id=s, examples=["e1", "e2"], exact=True)
        await gone(engine, s, "e2")
        session = await engine.store.sessions.get(s, "local")
        kept = await engine.store.history.gradients(session.pk)
        assert [(g.examples, g.batch) for g in kept] == [(["e1"], ["e1"])]
        assert (await engine.step(ME, session_id=s, accept="if_better")).status == "done"

    run(main)


def test_a_split_may_be_emptied_and_is_refused_in_words_until_it_is_filled() -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        notes = await gone(engine, s, "validation", "train")
        assert "validation: 0 examples are left, and what needs them is refused." in notes
        assert "Scores on validation so far are those of the split as it was." in notes
        for call in (
            engine.evaluate(ME, session_id=s),
            engine.backward(ME, session_id=s),
            engine.optimize(ME, session_id=s, strategy="gradient"),
        ):
            with pytest.raises((BadInput, Conflict)) as refused:
                await call
            assert "add_examples" in refused.value.next
        added = await engine.add_examples(ME, session_id=s, split="train", examples=ROWS[:1])
        assert (added.first, added.last) == ("e7", "e7")
        assert (await engine.forward(ME, session_id=s)).status == "done"

    run(main)


# mending


@pytest.mark.requirement("mended")
def test_a_mended_example_keeps_its_other_fields_and_what_rests_on_it_is_computed_again() -> None:
    answerer = Scripted()

    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        before = len(answerer.asked)
        found = await engine.mend(
            ME,
            session_id=s,
            split="train",
            changes={"e1": {"a": 42}, "e2": {"q": "other", "b": ""}},
        )
        assert found.notes == ["Mended: e1, e2.", "e2 did not have b before."]
        assert (found.total, found.added) == (4, 0)
        shown = (await engine.inspect(ME, session_id=s, what="examples", id="train")).view
        assert [e["fields"] for e in shown["examples"]] == [
            ROWS[0] | {"a": "42"},
            ROWS[1] | {"q": "other", "b": ""},
            *ROWS[2:4],
        ]
        done = await engine.forward(ME, session_id=s)
        assert isinstance(done, ForwardResult)
        assert done.recomputed == ["v4", "v5"]
        assert len(answerer.asked) - before == 3  # e2's output, both judgements: no more
        again = await engine.mend(
            ME, session_id=s, split="train", changes={"e1": {"a": "answer 0"}}
        )
        assert again.notes == ["Mended: e1."]
        await engine.forward(ME, session_id=s)
        assert len(answerer.asked) - before == 3

    run(main, answerer=answerer)


@pytest.mark.requirement("mended")
def test_mending_takes_back_what_was_about_to_be_learnt_and_says_what_was_measured() -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        await engine.backward(ME, session_id=s, examples=["e1"])
        await engine.mend(ME, session_id=s, split="train", changes={"e1": {"a": "right"}})
        with pytest.raises(Conflict, match="no gradient"):
            await engine.step(ME, session_id=s)
        first = await engine.evaluate(ME, session_id=s)
        found = await engine.mend(ME, session_id=s, split="validation", changes={"e5": {"a": "x"}})
        assert "Scores on validation so far are those of the split as it was." in found.notes
        second = await engine.evaluate(ME, session_id=s)
        assert isinstance(first, EvaluateResult)
        assert isinstance(second, EvaluateResult)
        assert first.examples == second.examples == 2

    run(main)


@pytest.mark.parametrize(
    ("split", "changes", "says"),
    [
        ("train", {"e9": {"q": "x"}}, "train has no example e9: it is not there"),
        ("train", {"e5": {"q": "x"}}, "train has no example e5: it is in validation"),
        ("train", {"e1": {"q": "x"}, "e5": {"q": "y"}}, "it is in validation. Nothing was changed"),
        ("train", {"e1": ROWS[1]}, "e1 would be the same as e2"),
        ("train", {"v1": {"q": "x"}}, "'v1' is no example's id"),
        ("train", {"q": "x", "a": "y"}, "'q' is no example's id"),
        ("train", {"e1": "x"}, "What e1 is to have is no object"),
        ("train", {"e1": {}}, "What e1 is to have is no object"),
        ("train", {"e1": {"q": "x\x00"}}, "The field 'q' of example e1 holds a NUL"),
        ("train", {}, "no examples in the call"),
    ],
)
def test_mending_that_cannot_be_done_changes_nothing(split: str, changes: Facts, says: str) -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        before = await document(engine.store, s)
        with pytest.raises((BadInput, NotFound)) as refused:
            await engine.mend(ME, session_id=s, split=split, changes=changes)
        assert says in refused.value.message
        assert await document(engine.store, s) == before

    run(main)


def test_changes_may_come_as_an_object_or_as_its_text_and_rows_are_rows() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        await call("add_examples", session_id=s, split="train", examples=[{"id": "e1", "q": "a"}])
        to: Facts = {"session_id": s, "split": "train"}
        row = await call("add_examples", examples=[{"id": "e1", "q": "b"}], **to)
        assert (row["added"], row["first"]) == (1, "e2")  # a field called id is a field
        for changes in ({"e1": {"q": "c"}}, json.dumps({"e1": {"q": "d"}})):
            assert (await call("add_examples", examples=changes, **to))["notes"] == ["Mended: e1."]
        fields = (await call("inspect", session_id=s, id="e1"))["view"]["examples"][0]["fields"]
        assert fields == {"id": "e1", "q": "d"}
        assert "Give either examples or path" in await call.refused(
            "add_examples", examples={"e1": {"q": "e"}}, path="x.csv", **to
        )

    drive(main, assisted())


# files of sessions


@pytest.mark.requirement("export", "taken-out")
def test_an_export_carries_what_was_taken_out_and_its_numbers_stay_used(tmp_path: Path) -> None:
    async def main(engine: Engine) -> None:
        s = await a_program(engine)
        await engine.backward(ME, session_id=s)
        await engine.step(ME, session_id=s)
        await engine.evaluate(ME, session_id=s)
        await gone(engine, s, "v1", "e6")
        file = await document(engine.store, s)
        copy = await engine.store.export.import_session("local", file)
        assert (await engine.inspect(ME, session_id=copy, id="v1")).view["removed"] is True
        new = await engine.create_variable(ME, session_id=copy, role="r", value="x")
        added = await engine.add_examples(ME, session_id=copy, split="train", examples=ROWS[5:])
        assert (new.variable, added.first) == ("v6", "e7")
        [was] = [row for row in file["removed"] if row["kind"] == "variables" and row["n"] == 1]
        clash = file | {"removed": [*file["removed"], was | {"n": 2}]}
        with pytest.raises(BadInput, match="variables has 2, which was removed"):
            await engine.store.export.import_session("local", clash)
        unknown = file | {"removed": []}
        with pytest.raises(BadInput, match="names 1, which is not there"):
            await engine.store.export.import_session("local", unknown)

    run(main, tmp_path / "t.db")


def test_a_file_from_before_anything_could_be_taken_out_is_imported() -> None:
    async def main(engine: Engine) -> None:
        file = await document(engine.store, await a_program(engine))
        del file["removed"]
        copy = await engine.store.export.import_session("local", file)
        assert "v5" in str(await engine.inspect(ME, session_id=copy, what="graph"))

    run(main)


def test_removal_is_open_to_sessions_of_older_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name, _ in MIGRATIONS]
    before = MIGRATIONS[: names.index("what was taken out of a session")]
    monkeypatch.setattr(connection, "MIGRATIONS", before)

    async def old() -> str:
        async with tools(assisted(tmp_path / "t.db")) as call:
            assert "no such table" not in str(await call("inspect"))
            return ""

    asyncio.run(old())
    monkeypatch.setattr(connection, "MIGRATIONS", MIGRATIONS)

    async def new(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        await call("revert", session_id=s, remove=["v1"], confirm=True)
        assert (await call("create_variable", session_id=s, role="r", value="x"))[
            "variable"
        ] == "v2"

    drive(new, assisted(tmp_path / "t.db"))
