"""Sessions as files: everything comes back, bad files are refused whole; and care of the data."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import SecretStr
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.store import NewRun, Store
from textgrad_mcp.engine.store.export_format import (
    DERIVED,
    LEFT_OUT,
    SESSION,
    TABLES,
    check_file,
    file_schema,
    is_json,
)
from textgrad_mcp.schemas.errors import BadInput, Conflict
from textgrad_mcp.schemas.results import StepResult
from textgrad_mcp.schemas.settings import RoleSettings

from ...helpers import ME, MEMORY, Facts, Scripted, Tools, an_engine, answered, assisted, drive
from ...standin import StandIn

pytestmark = pytest.mark.each_store

Document = dict[str, Any]
ROWS = [{"q": f"question {n}", "a": f"answer {n}"} for n in range(3)]


async def worked_on(engine: Engine) -> str:
    """A session with all that a session can hold."""
    made = await engine.create_variable(ME, role="prompt", value="Be brief.")
    s = str(made.session_id)
    await engine.create_variable(ME, session_id=s, role="q", example_field="q")
    await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
    for split in ("train", "validation"):
        await engine.add_examples(ME, session_id=s, split=split, examples=ROWS)
    await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    inputs = {"output": "v4", "answer": "v3"}
    await engine.compute_loss(ME, session_id=s, kind="judge", inputs=inputs, instruction="Good?")
    await engine.evaluate(ME, session_id=s)
    await engine.backward(ME, session_id=s)
    stepped = await engine.step(ME, session_id=s, accept="always")
    assert isinstance(stepped, StepResult)
    assert stepped.accepted
    await engine.backward(ME, session_id=s)
    await engine.forward(ME, session_id=s)
    await engine.create_variable(ME, session_id=s, role="by mistake", value="x")
    await engine.add_examples(ME, session_id=s, split="test", examples=ROWS[:1])
    await engine.remove(ME, session_id=s, ids=["v6", "test"], confirm=True)
    return s


async def exported(store: Store, session_id: str, owner: str = "local") -> Document:
    """A session's file, as it is after a trip through JSON."""
    session = await store.sessions.get(session_id, owner)
    document: Document = json.loads(json.dumps(await store.export.export_session(session.pk)))
    return document


def a_file() -> Document:
    """The file of a session that was worked on."""

    async def main() -> Document:
        async with an_engine(Scripted()) as engine:
            return await exported(engine.store, await worked_on(engine))

    return asyncio.run(main())


@pytest.fixture(scope="module")
def document() -> Document:
    return a_file()


def on_disk(path: Path, main: Callable[[Store], Awaitable[Any]]) -> Any:
    """What `main` gives with an open store."""

    async def run() -> Any:
        store = Store(path)
        await store.open()
        try:
            return await main(store)
        finally:
            await store.close()

    return asyncio.run(run())


@pytest.mark.about_the_file
@pytest.mark.requirement("export")
def test_a_file_holds_every_column_of_every_table_or_says_why_not() -> None:
    async def main(store: Store) -> dict[str, set[str]]:
        def job(db: sqlite3.Connection) -> dict[str, set[str]]:
            sql = "SELECT name FROM sqlite_master WHERE type = 'table'"
            names = [r[0] for r in db.execute(sql).fetchall()]
            return {
                name: {r[1] for r in db.execute(f"PRAGMA table_info({name})").fetchall()}
                for name in names
            }

        return await store.db.read(job)

    stored = on_disk(MEMORY, main)
    kept = {name: set(columns) for name, columns in TABLES.items()} | {"sessions": set(SESSION)}
    assert {name: stored[name] - {"session"} - LEFT_OUT.get(name, set()) for name in kept} == kept
    assert set(stored) == set(kept) | DERIVED


@pytest.mark.requirement("export")
def test_what_was_exported_fits_its_schema_and_fills_every_table(document: Document) -> None:
    Draft202012Validator.check_schema(file_schema())
    check_file(document)
    assert [name for name in TABLES if not document[name]] == ["attempts"]


@pytest.mark.requirement("export")
def test_an_imported_session_is_the_exported_one(document: Document) -> None:
    async def main(store: Store) -> tuple[str, Document]:
        session_id = await store.export.import_session("alice", document)
        return session_id, await exported(store, session_id, "alice")

    session_id, again = on_disk(MEMORY, main)
    assert session_id == document["id"]
    assert in_order(again) == in_order(document)


@pytest.mark.requirement("asked-once")
def test_an_imported_session_works_as_the_first_did_and_asks_nothing_again() -> None:
    async def main() -> None:
        first = Scripted()
        async with an_engine(first) as engine:
            s = await worked_on(engine)
            document = await exported(engine.store, s)
            usage = await engine.store.calls.usage((await engine.store.sessions.get(s, "local")).pk)
        again = Scripted()
        async with an_engine(again) as engine:
            await engine.store.export.import_session("local", document)
            recomputed = await engine.backward(ME, session_id=s)
            assert recomputed.status == "done"
            assert again.asked == []
            pk = (await engine.store.sessions.get(s, "local")).pk
            assert await engine.store.calls.usage(pk) == usage
            assert await engine.store.maintenance.check() == []

    asyncio.run(main())


@pytest.mark.requirement("export")
def test_a_second_import_gets_an_id_of_its_own(document: Document) -> None:
    async def main(store: Store) -> None:
        first = await store.export.import_session("alice", document)
        second = await store.export.import_session("bob", document)
        assert first != second
        assert [s.id for s in await store.sessions.of_owner("bob")] == [second]
        assert in_order(await exported(store, second, "bob")) == in_order(document | {"id": second})

    on_disk(MEMORY, main)


@pytest.mark.requirement("export")
def test_a_run_that_waits_goes_on_where_it_was_imported(tmp_path: Path) -> None:
    kept: list[Document] = []

    async def begin(call: Tools) -> None:
        made = await call("create_variable", role="q", value="What is 2+2?")
        s = made["session_id"]
        waiting = await call("forward", session_id=s, operation="llm", inputs={"q": "v1"})
        assert waiting["status"] == "needs_completions"
        kept.append(await asyncio.to_thread(on_disk, tmp_path / "a.db", lambda it: exported(it, s)))

    async def go_on(call: Tools) -> None:
        await call("inspect")
        bring = lambda it: it.export.import_session("local", kept[0])  # noqa: E731
        s = await asyncio.to_thread(on_disk, tmp_path / "b.db", bring)
        waiting: Facts = await call("resume", session_id=s)
        done = await answered(call, waiting, lambda _: "4")
        assert done["values"][0]["text"] == "4"

    drive(begin, assisted(tmp_path / "a.db"))
    drive(go_on, assisted(tmp_path / "b.db"))


@pytest.mark.requirement("keys-hidden")
def test_no_key_and_no_owner_is_in_a_file(tmp_path: Path) -> None:
    key = "sk-never-to-be-seen"

    async def main(server: StandIn) -> str:
        role = RoleSettings(
            answerer="openai", base_url=server.url, model="m", api_key=SecretStr(key)
        )
        kept: list[str] = []

        async def work(call: Tools) -> None:
            made = await call("create_variable", role="q", value="Hello?")
            s = made["session_id"]
            await call("forward", session_id=s, operation="llm", inputs={"q": "v1"})

            async def look(store: Store) -> None:
                kept.append(json.dumps(await exported(store, s)))

            await asyncio.to_thread(on_disk, tmp_path / "t.db", look)

        settings = assisted(tmp_path / "t.db").model_copy(
            update={"forward": role, "backward": role}
        )
        await asyncio.to_thread(drive, work, settings)
        return kept[0]

    with StandIn() as server:
        text = asyncio.run(main(server))
    assert key not in text
    assert '"owner"' not in text
    assert "Hello?" in text


def damaged(document: Document, change: Callable[[Document], object]) -> Document:
    """A copy with one thing wrong."""
    bad = copy.deepcopy(document)
    change(bad)
    return bad


WRONG: dict[str, Callable[[Document], object]] = {
    "another format": lambda d: d.update(format="something else"),
    "a newer version": lambda d: d.update(version=2),
    "a foreign id": lambda d: d.update(id="../../etc/passwd"),
    "a missing table": lambda d: d.pop("calls"),
    "an unknown key": lambda d: d.update(extra=1),
    "a missing column": lambda d: d["variables"][0].pop("role"),
    "a wrong type": lambda d: d["variables"][0].update(role=7),
    "a number too large": lambda d: d["cells"][0].update(place=2**80),
    "an unknown kind": lambda d: d["operations"][0].update(kind="shell"),
    "a cycle": lambda d: d["operations"][0]["inputs"].update(q="4"),
    "an operation that reads itself": lambda d: d["operations"][0]["inputs"].update(q=4),
    "an input from nowhere": lambda d: d["operations"][0]["inputs"].update(q=99),
    "two variables of one number": lambda d: d["variables"].append(d["variables"][0]),
    "an example twice": lambda d: d["examples"].append(d["examples"][0] | {"n": 99}),
    "a value that is not its version": lambda d: d["variables"][0].update(value="other"),
    "a request that was changed": lambda d: d["calls"][0]["request"].update(model="other"),
    "no request at all": lambda d: d["calls"][0].update(request={"a": 1}),
    "an answer without text": lambda d: d["calls"][0].update(text=None),
    "a gradient on nothing": lambda d: d["gradients"][0].update(variable=99),
    "a proposal of no step": lambda d: d["proposals"][0].update(step=99),
    "a batch from nowhere": lambda d: d["session"].update(batch=[99]),
    "a NUL": lambda d: d["variables"][0].update(role="a\0b"),
    "half a surrogate pair": lambda d: d["variables"][0].update(role="a\ud800"),
    "an unknown tool": lambda d: d["runs"][0].update(tool="shell"),
}


@pytest.mark.requirement("export")
@pytest.mark.parametrize("what", WRONG)
def test_a_bad_file_is_refused_whole(document: Document, what: str) -> None:
    async def main(store: Store) -> list[Any]:
        with pytest.raises(BadInput, match="Nothing was imported"):
            await store.export.import_session("local", damaged(document, WRONG[what]))
        return await store.maintenance.every_session()

    assert on_disk(MEMORY, main) == []


@pytest.mark.requirement("export")
@pytest.mark.parametrize("bad", [None, [], "x", 1, {}, {"format": "textgrad-mcp session"}])
def test_what_is_no_file_at_all_is_refused(bad: object) -> None:
    with pytest.raises(BadInput):
        check_file(bad)


ODD: list[Any] = [
    None,
    -3,
    -1,
    0,
    1,
    2,
    2**31,
    2**63,
    2**70,
    0.5,
    True,
    "",
    "x",
    "v1",
    "é\n",
    [],
    {},
]
"""In place of what a field holds. A list: values that a strategy takes from the source would change
with what is imported meanwhile."""


def in_order(document: Document) -> Document:
    """The same with its rows in an order of their own: a server does not keep that of a file."""
    return {k: sorted(v, key=json.dumps) if k in TABLES else v for k, v in document.items()}


def places(document: Document) -> list[tuple[str, int, str]]:
    """Every field of every row."""
    return [(t, n, c) for t in TABLES for n in range(len(document[t])) for c in TABLES[t]]


@pytest.mark.requirement("export")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_a_file_is_taken_whole_or_refused_whole(
    document: Document, data: st.DataObject
) -> None:
    table, n, column = data.draw(st.sampled_from(places(document)))
    kind = TABLES[table][column]
    odd = data.draw(st.sampled_from(ODD))
    bad = damaged(document, lambda d: d[table][n].update({column: odd}))

    async def main(store: Store) -> None:
        try:
            session_id = await store.export.import_session("local", bad)
        except BadInput:
            assert await store.maintenance.every_session() == []
        else:
            assert in_order(await exported(store, session_id)) == in_order(bad)
            assert await store.maintenance.check() == []

    if is_json(kind):
        bad[table][n][column] = json.loads(json.dumps(bad[table][n][column]))
    on_disk(MEMORY, main)


@pytest.mark.about_the_file
@pytest.mark.requirement("delete")
def test_a_deleted_session_leaves_nothing_in_the_file(tmp_path: Path, document: Document) -> None:
    path = tmp_path / "t.db"
    marked = damaged(document, lambda d: d["examples"][0]["fields"].update(q="ERASE-ME-ENTIRELY"))

    async def main(store: Store) -> None:
        await store.export.import_session("local", marked)
        assert b"ERASE-ME-ENTIRELY" in path.read_bytes()
        assert (
            await store.maintenance.delete_sessions(
                [s.pk for s in await store.maintenance.every_session()]
            )
            == 1
        )
        assert await store.maintenance.every_session() == []
        assert await store.maintenance.check() == []

    on_disk(path, main)
    assert b"ERASE-ME-ENTIRELY" not in path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        assert [t for t in TABLES if db.execute(f"SELECT count(*) FROM {t}").fetchone()[0]] == []


@pytest.mark.requirement("delete")
def test_a_session_that_is_being_run_is_not_deleted() -> None:
    async def main(store: Store) -> None:
        session = await store.sessions.create("me", "t")
        await store.runs.start(session.pk, session.id, NewRun("forward", {}, "d", "somebody"))
        with pytest.raises(Conflict, match="being run"):
            await store.maintenance.delete_sessions([session.pk])
        assert await store.maintenance.unused_since(-1) == []
        assert len(await store.maintenance.every_session()) == 1

    on_disk(MEMORY, main)


@pytest.mark.requirement("delete")
def test_what_nobody_used_for_long_is_found(document: Document) -> None:
    async def main(store: Store) -> None:
        old = damaged(document, lambda d: d["session"].update(updated="2020-01-01T00:00:00.000Z"))
        kept = await store.export.import_session("alice", old)
        await store.export.import_session("bob", document)
        assert [s.id for s in await store.maintenance.unused_since(30)] == [kept]
        assert await store.maintenance.unused_since(30, "bob") == []

    on_disk(MEMORY, main)


@pytest.mark.about_the_file
@pytest.mark.requirement("check")
def test_a_check_names_what_is_wrong(tmp_path: Path, document: Document) -> None:
    path = tmp_path / "t.db"
    on_disk(path, lambda store: store.export.import_session("local", document))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE calls SET text = NULL WHERE n = 1")
        db.execute("UPDATE variables SET value = 'other' WHERE n = 1")
        db.execute("INSERT INTO cells VALUES (99, 1, 1, 'x', NULL)")
        db.execute("UPDATE gradients SET examples = '[7]' WHERE n = 1")
    problems = " ".join(on_disk(path, lambda store: store.maintenance.check()))
    assert "have no text" in problems
    assert "not those of their versions" in problems
    assert "belongs to no session" in problems
    assert f"{document['id']}: What is stored as gradient g1 cannot be read" in problems


@pytest.mark.about_the_file
@pytest.mark.requirement("backup")
def test_a_backup_made_while_others_write_is_whole_and_opens(
    tmp_path: Path, document: Document
) -> None:
    path, target = tmp_path / "t.db", tmp_path / "copy.db"

    async def main(store: Store) -> None:
        writing = [
            asyncio.create_task(store.export.import_session(f"owner{n}", document))
            for n in range(20)
        ]
        await writing[0]
        await store.maintenance.backup(target)
        await asyncio.gather(*writing)
        with pytest.raises(BadInput, match="exists already"):
            await store.maintenance.backup(target)

    async def look(store: Store) -> tuple[list[str], int]:
        return await store.maintenance.check(), len(await store.maintenance.every_session())

    on_disk(path, main)
    problems, count = on_disk(target, look)
    assert problems == []
    assert 1 <= count <= 20
    assert target.stat().st_mode & 0o777 == 0o600
    assert on_disk(path, look) == ([], 20)
