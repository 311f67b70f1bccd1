"""Loading examples: few and many, without keeping others waiting, with notes on what is odd."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.schemas.errors import BadInput

from .helpers import ME, Tools, an_engine, assisted, drive
from .reading import read

ROWS = [{"q": "1+1?", "a": "2"}, {"q": 'say "hi",\nplease', "a": "ü"}]
JSON_LINES = "\n".join(json.dumps(row) for row in ROWS)
CSV = 'q,a\n1+1?,2\n"say ""hi"",\nplease",ü\n'


def test_rows_and_a_path_together_or_neither_are_refused(tmp_path: Path) -> None:
    for given, path in ((None, None), (ROWS, "rows.csv")):
        with pytest.raises(BadInput, match="either examples or path"):
            read(given, path, tmp_path)


def test_a_files_name_where_rows_are_wanted_is_answered_with_the_right_argument() -> None:
    with pytest.raises(BadInput) as caught:
        read("data/train.csv")
    assert "path='data/train.csv'" in caught.value.next


@pytest.mark.requirement("confined-files")
def test_without_a_data_directory_no_file_is_read_and_the_way_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV)

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        words = await call.refused("add_examples", session_id=s, split="train", path="rows.csv")
        assert "--data-dir" in words

    drive(main, assisted(tmp_path / "t.db"))


def test_a_hundred_thousand_rows_load_from_a_file_and_a_step_uses_a_handful(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with (data / "big.jsonl").open("w") as out:
        out.writelines(f'{{"q": "question {n}", "a": "{n}"}}\n' for n in range(100_000))

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="prompt", value="P"))["session_id"]
        await call("create_variable", session_id=s, role="q", example_field="q")
        added = await call("add_examples", session_id=s, split="train", path="big.jsonl")
        assert (added["added"], added["total"]) == (100_000, 100_000)
        again = await call("add_examples", session_id=s, split="train", path="big.jsonl")
        assert (again.get("added", 0), again["skipped"]) == (0, 100_000)
        inputs = {"q": "v2"}
        first = await call("forward", session_id=s, operation="llm", system="v1", inputs=inputs)
        assert first["pending_total"] == 8
        shown = await call("inspect", session_id=s, id="e100000")
        assert "question 99999" in str(shown["view"])

    drive(main, assisted(tmp_path / "t.db", data_dir=data))


def test_a_split_that_leaks_into_another_is_said_with_a_count(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        await call("add_examples", session_id=s, split="train", examples=JSON_LINES)
        held = [*ROWS, {"q": "new", "a": "1"}]
        added = await call("add_examples", session_id=s, split="validation", examples=held)
        assert added["added"] == 3
        assert any(note.startswith("2 of these") for note in added["notes"])

    drive(main, assisted(tmp_path / "t.db"))


def test_rows_with_other_fields_than_the_rest_are_counted(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        rows = [{"q": "1", "a": "1"}, {"q": "2"}]
        added = await call("add_examples", session_id=s, split="train", examples=rows)
        assert any("1 lack some of the fields a, q" in note for note in added["notes"])

    drive(main, assisted(tmp_path / "t.db"))


@pytest.mark.requirement("free-loop")
@pytest.mark.parametrize("how", ["rows", "text", "file"])
def test_others_have_their_turn_while_many_rows_are_read_and_stored(
    tmp_path: Path, how: str
) -> None:
    """No seconds are measured: what counts is how often another task runs meanwhile."""
    rows = [{"q": f"question {n}"} for n in range(30_000)]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "t.jsonl").write_text(text)
    ways: dict[str, dict[str, Any]] = {
        "rows": {"examples": rows},
        "text": {"examples": text},
        "file": {"path": "t.jsonl"},
    }

    async def main() -> None:
        async with an_engine(data_dir=tmp_path) as engine:
            s = (await engine.create_variable(ME, role="r", value="x")).session_id or ""
            turns = 0
            work = asyncio.create_task(
                engine.add_examples(ME, session_id=s, split="train", **ways[how])
            )
            while not work.done():
                await asyncio.sleep(0.001)
                turns += 1
            assert work.result().added == len(rows)
            assert turns > 20

    asyncio.run(main())


@pytest.mark.requirement("tables", "any-arguments")
def test_a_refused_row_at_the_end_leaves_nothing_of_those_before() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        text = "q,a\n" + "x,1\n" * 25_000 + "alone\n"
        words = await call.refused("add_examples", session_id=s, split="train", examples=text)
        assert "Line 25002" in words
        assert (await call("inspect", session_id=s, what="examples"))["view"]["sizes"] == {}

    drive(main, assisted())


@pytest.mark.requirement("cancelled")
def test_a_cancelled_loading_stores_nothing_and_can_be_made_again(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("q\n" + "".join(f"question {n}\n" for n in range(200_000)))

    async def main() -> None:
        async with an_engine(data_dir=tmp_path) as engine:
            s = (await engine.create_variable(ME, role="r", value="x")).session_id or ""
            load = engine.add_examples(ME, session_id=s, split="train", path="t.csv")
            work = asyncio.create_task(load)
            await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            session = await engine.store.session(s, "local")
            assert await engine.store.split_sizes(session.pk) == {}

    asyncio.run(main())


@pytest.mark.requirement("tables")
def test_what_was_guessed_is_in_the_notes_of_the_result(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("Frage;Größe\r\nWie?;1,5\r\n;\r\n".encode("cp1252"))

    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        added = await call("add_examples", session_id=s, split="train", path="t.csv")
        said = "\n".join(added["notes"])
        for what in ("windows-1252", "semicolons", "Blank rows: 1"):
            assert what in said
        assert "Frage, Größe" in added["next"]

    drive(main, assisted(data_dir=tmp_path))


def test_rows_over_several_pieces_are_counted_together(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="t", value="x"))["session_id"]
        held = [{"q": f"question {n}"} for n in (5, 15_000)]
        await call("add_examples", session_id=s, split="test", examples=held)
        text = "q\n" + "".join(f"question {n % 24_000}\n" for n in range(25_000))
        added = await call("add_examples", session_id=s, split="train", examples=text)
        assert (added["added"], added["skipped"], added["total"]) == (24_000, 1_000, 24_000)
        assert (added["first"], added["last"]) == ("e3", "e24002")
        assert any(note.startswith("2 of these are in another split") for note in added["notes"])

    drive(main, assisted())
