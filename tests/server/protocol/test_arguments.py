"""Arguments as hosts send them: null for what was left out, lists as text, ids in quotes, fields of
the host's own. What is left out one way is the same call as left out another."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.server.protocol import page_tools, shapes
from textgrad_mcp.server.protocol.arguments import MOST, ArgumentReader
from textgrad_mcp.server.protocol.tools import OFFERS, AsGiven, offered

from ...helpers import Facts, Tools, assisted, drive

LISTED = [
    offered(offer)
    for offer in [*OFFERS, *page_tools.offers("on")]
    if offer.arguments.tool != "page_data"  # the page's own: no model and no host fills it in
]
SCHEMAS = {tool.name: tool.parameters for tool in LISTED}
SHAPES = {t.name: t.fn_metadata.shapes for t in LISTED if isinstance(t.fn_metadata, AsGiven)}
ROWS = [{"q": f"q{n}", "a": f"a{n}"} for n in range(3)]
NOTHING: list[Any] = [None, "", " ", "null", "NULL", "None", "undefined", ["null"], [], {}]


def reader(tool: str) -> ArgumentReader:
    """Reads what a tool takes."""
    return ArgumentReader(tool, SCHEMAS[tool], SHAPES[tool])


async def program(call: Tools) -> str:
    """A prompt out of a file (v1), fields q and a (v2, v3), a model's answers (v4), a loss (v5)."""
    s = str((await call("create_variable", role="prompt", file="prompt.txt"))["session_id"])
    await call("create_variable", session_id=s, role="q", example_field="q")
    await call("create_variable", session_id=s, role="a", example_field="a", reference=True)
    await call("add_examples", session_id=s, split="train", examples=ROWS)
    held = [{"q": f"w{n}", "a": f"a{n}"} for n in range(3)]
    await call("add_examples", session_id=s, split="validation", examples=held)
    asked = await call("forward", session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
    await call("resume", session_id=s, completions={p["id"]: "no" for p in asked["pending"]})
    compared = {"output": "v4", "answer": "v3"}
    loss = {"kind": "metric", "metric": "exact_match", "inputs": compared}
    await call("compute_loss", session_id=s, **loss)
    return s


async def learnt(call: Tools) -> str:
    """The same with feedback on the prompt."""
    s = await program(call)
    asked = await call("backward", session_id=s)
    given = {p["id"]: {"v1": "Say a0."} for p in asked["pending"]}
    await call("resume", session_id=s, completions=given)
    return s


async def pending(call: Tools) -> str:
    """The same with a run that waits for answers."""
    s = await program(call)
    await call("evaluate", session_id=s)
    return s


Start = Callable[[Tools], Awaitable[str]]
JUDGE = {"kind": "judge", "instruction": "Good?", "inputs": {"output": "v4"}}
CALLS: list[tuple[str, Start, Facts]] = [
    ("optimize_prompt", program, {"prompt": "Be brief.", "judge": "Good?"}),
    ("create_variable", program, {"role": "r", "value": "x"}),
    ("create_variable", program, {"role": "r", "example_field": "q"}),
    ("create_variable", program, {"role": "r", "file": "prompt.txt"}),
    ("create_variable", program, {"role": "r", "demonstrations": 2}),
    ("forward", program, {"operation": "llm", "inputs": {"q": "v2"}}),
    ("compute_loss", program, JUDGE),
    ("backward", program, {}),
    ("step", learnt, {}),
    ("add_examples", program, {"split": "test", "examples": ROWS}),
    ("add_examples", program, {"split": "test", "path": "rows.csv"}),
    ("evaluate", program, {}),
    ("optimize", program, {}),
    ("resume", pending, {}),
    ("inspect", program, {}),
    ("revert", program, {"variable": "v1"}),
    ("show", program, {}),
]
SAME = ("run", "pending_total", "what", "split", "total")


def folder(tmp_path: Path) -> Path:
    """Files for a workspace and a data directory."""
    (tmp_path / "prompt.txt").write_text("Be brief.")
    (tmp_path / "rows.csv").write_text("q,a\nq0,a0\n")
    return tmp_path


def test_every_tool_is_called_here() -> None:
    assert {tool for tool, _, _ in CALLS} == set(SCHEMAS)


@pytest.mark.requirement("host-shapes")
@pytest.mark.parametrize(
    ("tool", "start", "base"), CALLS, ids=[f"{c[0]}-{n}" for n, c in enumerate(CALLS)]
)
def test_whatever_stands_for_left_out_is_left_out(
    tmp_path: Path, tool: str, start: Start, base: Facts
) -> None:
    schema = SCHEMAS[tool]
    optional = set(schema["properties"]) - set(schema.get("required", [])) - {"session_id"}

    async def main(call: Tools) -> None:
        given = {"session_id": await start(call)} | base
        plain = await call(tool, **given)
        for name in sorted(optional - base.keys()):
            for nothing in NOTHING:
                found = await call(tool, **given, **{name: nothing})
                assert {k: found.get(k) for k in SAME} == {k: plain.get(k) for k in SAME}
        every = dict.fromkeys(optional - base.keys())
        assert (await call(tool, **given, **every))["status"] == plain["status"]

    drive(main, assisted(tmp_path / "t.db", workspace=folder(tmp_path), data_dir=tmp_path))


@pytest.mark.requirement("host-shapes")
def test_an_empty_session_id_is_no_new_session() -> None:
    async def main(call: Tools) -> None:
        for empty in ("", "null", " "):
            words = await call.refused("create_variable", role="r", value="x", session_id=empty)
            assert "leave it out" in words
        assert (await call("inspect", session_id=""))["view"]["sessions"] == []
        assert "notes" not in await call("create_variable", role="r", value="x", session_id=None)
        assert len((await call("inspect", session_id=""))["view"]["sessions"]) == 1

    drive(main, assisted())


@pytest.mark.requirement("texts-unchanged")
def test_the_word_null_is_a_text_where_a_text_is_wanted() -> None:
    async def main(call: Tools) -> None:
        for word in ("null", "None", ""):
            made = await call("create_variable", role="r", value=word)
            s = made["session_id"]
            assert (await call("inspect", session_id=s, id="v1"))["view"].get("text", "") == word
        box = {"operation": "external", "function": "f", "inputs": {"x": "v1"}, "output": "null"}
        assert (await call("forward", session_id=s, **box))["values"][0]["text"] == "null"
        told = {"kind": "feedback", "inputs": {"x": "v1"}, "feedback": "null"}
        assert (await call("compute_loss", session_id=s, **told))["values"][0]["text"] == "null"
        asked = await call("forward", session_id=s, operation="llm", inputs={"x": "v1"})
        given = {asked["pending"][0]["id"]: "null"}
        done = await call("resume", session_id=s, completions=given)
        assert done["values"][0]["text"] == "null"

    drive(main, assisted())


@pytest.mark.requirement("host-shapes")
@pytest.mark.parametrize(
    ("tool", "odd", "plain"),
    [
        ("forward", {"examples": '["e1", "e2"]'}, {"examples": ["e1", "e2"]}),
        ("forward", {"examples": '"[\\"e1\\", \\"e2\\"]"'}, {"examples": ["e1", "e2"]}),
        ("forward", {"examples": "e1, e2"}, {"examples": ["e1", "e2"]}),
        ("forward", {"examples": "['e1', 'e2']"}, {"examples": ["e1", "e2"]}),
        ("forward", {"examples": "E2"}, {"examples": ["e2"]}),
        ("forward", {"examples": ["Train "]}, {"examples": "train"}),
        ("forward", {"examples": '"validation"'}, {"examples": "validation"}),
        ("forward", {"inputs": '{"q": "v2"}'}, {"inputs": {"q": "v2"}}),
        ("forward", {"inputs": json.dumps('{"q": "V2"}')}, {"inputs": {"q": "v2"}}),
        ("forward", {"inputs": [{"name": "q", "value": "`v2`"}]}, {"inputs": {"q": "v2"}}),
        ("forward", {"inputs": [{"q": "v2 (the q)"}]}, {"inputs": {"q": "v2"}}),
        ("forward", {"operation": " LLM."}, {"operation": "llm"}),
        ("forward", {"system": ["`V2`"]}, {"system": "v2"}),
        ("backward", {"losses": "v5"}, {"losses": ["v5"]}),
        ("backward", {"losses": '["V5", null]'}, {"losses": ["v5"]}),
        ("backward", {"losses": ["null"], "exact": "yes"}, {"exact": True}),
        ("step", {"variables": "v1", "candidates": "2"}, {"variables": ["v1"], "candidates": 2}),
        (
            "step",
            {"variables": "v1 v1.", "candidates": 2.0},
            {"variables": ["v1", "v1"], "candidates": 2},
        ),
        ("step", {"accept": "If-Better"}, {"accept": "if_better"}),
        ("evaluate", {"loss": '"v5"', "votes": " 3 "}, {"loss": "v5", "votes": 3}),
        ("evaluate", {"split": "Validation"}, {"split": "validation"}),
        ("optimize", {"budget": '{"calls": 99, "cost": null}'}, {"budget": {"calls": 99}}),
        ("optimize", {"budget": [{"calls": "99"}]}, {"budget": {"calls": 99}}),
        ("optimize", {"together": "False", "goal": "0.5"}, {"together": False, "goal": 0.5}),
    ],
)
def test_a_call_in_another_shape_is_the_same_call(
    tmp_path: Path, tool: str, odd: Facts, plain: Facts
) -> None:
    start = learnt if tool == "step" else program
    base = {"operation": "llm", "inputs": {"q": "v2"}} if tool == "forward" else {}

    async def main(call: Tools) -> None:
        s = await start(call)
        first = await call(tool, session_id=s, **(base | odd))
        again = await call(tool, session_id=s, **(base | plain))
        assert first["status"] == "needs_completions"
        assert (again["run"], again["pending"]) == (first["run"], first["pending"])

    drive(main, assisted(tmp_path / "t.db", workspace=folder(tmp_path)))


ids = st.sampled_from(
    ["v1", "op12", "e7", "g3", "p4", "c99", "v3@2", "v3@1..4", "tg_Ab-9_x", "train"]
)
around = st.sampled_from(
    ["{}", " {} ", '"{}"', "'{}'", "`{}`", "“{}”", "<{}>", "[{}]", "{}.", "{},", "{}\n", "\u200b{}"]
)


@settings(deadline=None)
@given(ids, st.lists(around, max_size=3))
def test_an_id_is_found_in_whatever_stands_around_it(plain: str, marks: list[str]) -> None:
    written = plain
    for mark in marks:
        written = mark.format(written)
    assert shapes.bare_id(written) == plain


@settings(deadline=None)
@given(st.text())
def test_what_is_no_id_does_not_become_nothing(text: str) -> None:
    assert bool(shapes.bare_id(text)) == bool(text)


@pytest.mark.parametrize(
    ("written", "plain"),
    [("V12", "v12"), ("OP3", "op3"), ("v1 (the prompt)", "v1"), ("TG_x", "TG_x"), ("vina", "vina")],
)
def test_short_ids_are_small_letters_and_labels_lose_their_words(written: str, plain: str) -> None:
    assert shapes.bare_id(written) == plain


@pytest.mark.requirement("strict-names")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"id": "zz"}, "'zz' is no id"),
        ({"id": "x1"}, "'x1' is no id"),
        ({"id": "r1"}, "'r1' is not shown alone"),
        ({"id": "s1"}, "'s1' is not shown alone"),
        ({"id": "v9"}, "no variable 'v9'"),
        ({"what": "session", "id": "v1"}, "takes no id, such as 'v1'"),
        ({"what": "report", "id": "c1"}, "takes no id, such as 'c1'"),
        ({"what": "steps", "id": "zz"}, "no variable 'zz'"),
        ({"what": "gradients", "id": "v9"}, "no variable 'v9'"),
        ({"what": "examples", "id": "v1"}, "no example 'v1'"),
    ],
)
def test_an_id_that_names_nothing_is_never_answered_with_something_else(
    arguments: Facts, says: str
) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        assert says in await call.refused("inspect", session_id=s, **arguments)

    drive(main, assisted())


def test_ids_in_other_letters_and_quotes_show_what_they_name() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        await call("add_examples", session_id=s, split="train", examples=ROWS)
        for shape in ('"{}"', " {} ", "{}\n", "`{}`", "{}."):
            shown = await call("inspect", session_id=shape.format(s), id=shape.format("V1"))
            assert shown["what"] == "variable"
            assert shown["view"]["variable"]["id"] == "v1"
        assert (await call("inspect", session_id=s, id="Train"))["what"] == "examples"
        assert (await call("inspect", id=f"'{s}'"))["what"] == "session"
        assert "needs a session_id" in await call.refused("inspect", id="v1")

    drive(main, assisted())


COMPLETIONS: list[Any] = [
    {"c1": "42"},
    {"C1": "42"},
    {" c1": "42"},
    {'"c1"': "42"},
    {"c1": {"text": "42"}},
    {"c1": {"id": "c1", "completion": "42"}},
    {"c1": {"role": "assistant", "content": "42"}},
    {"c1": {"role": "assistant", "content": [{"type": "text", "text": "42"}]}},
    {"c1": {"text": "42", "reasoning": "since"}},
    {"completions": {"c1": "42"}},
    [{"id": "c1", "text": "42"}],
    [{"id": "c1", "completion": "42"}],
    [{"id": "c1", "answer": "42"}],
    [{"id": "c1", "output": "42", "purpose": "forward"}],
    [{"id": "C1.", "content": "42"}],
    [{"c1": "42"}],
    {"c1": "42", "c2": None},
    {"c1": "42", "explanation": "because"},
]


@pytest.mark.requirement("host-shapes")
@pytest.mark.parametrize("times", [0, 1, 2])
def test_answers_are_taken_in_every_shape_that_says_which_is_which(times: int) -> None:
    async def main(call: Tools) -> None:
        for answers in COMPLETIONS:
            for _ in range(times):
                answers = json.dumps(answers)
            s = (await call("create_variable", role="r", value="x"))["session_id"]
            await call("forward", session_id=s, operation="llm", inputs={"x": "v1"})
            done = await call("resume", session_id=s, completions=answers)
            assert [v["text"] for v in done["values"]] == ["42"], answers

    drive(main, assisted())


def test_what_was_made_of_answers_is_said() -> None:
    answers = {"C1": {"text": "a"}, "c2": "b", "remark": "c"}
    taken, notes = shapes.as_completions(answers)
    assert taken == {"c1": "a", "c2": "b"}
    assert notes == [
        "Taken out of an object: the text of c1.",
        "No pending id, and not used: 'remark'.",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {"answer": "42"},
        {"output": "42"},
        {"text": "a", "score": 1},
        {"value": "new"},
        ["42"],
        42,
        {},
    ],
)
def test_an_answer_that_may_be_an_object_stays_one(answer: Any) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        await call("forward", session_id=s, operation="llm", inputs={"x": "v1"})
        done = await call("resume", session_id=s, completions={"c1": answer})
        assert done["values"][0]["text"] == json.dumps(answer)

    drive(main, assisted())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("42", "does not say which pending id"),
        (["42"], "does not say which pending id"),
        ([{"text": "42"}, {"text": "43"}], "text"),
        ([{"id": "c1", "text": "a"}, {"id": "C1", "text": "b"}], "two answers for c1"),
        ({"first": "42"}, "no pending id"),
    ],
)
def test_answers_that_do_not_say_which_is_which_are_refused(given: Any, says: str) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        await call("forward", session_id=s, operation="llm", inputs={"x": "v1"})
        assert says in await call.refused("resume", session_id=s, completions=given)

    drive(main, assisted())


@pytest.mark.parametrize(
    ("value", "text"), [(5, "5"), (0.5, "0.5"), (True, "true"), ({"a": [1]}, '{"a": [1]}')]
)
def test_what_is_no_text_where_a_text_is_wanted_is_its_json(value: Any, text: str) -> None:
    async def main(call: Tools) -> None:
        made = await call("create_variable", role="r", value=value)
        shown = await call("inspect", session_id=made["session_id"], id="v1")
        assert shown["view"]["text"] == text
        assert ("value was given as JSON" in str(made.get("notes"))) == isinstance(value, dict)

    drive(main, assisted())


@pytest.mark.parametrize(
    "rows",
    [
        [{"q": "1"}, {"q": "2"}],
        '[{"q": "1"}, {"q": "2"}]',
        json.dumps('[{"q": "1"}, {"q": "2"}]'),
        ['{"q": "1"}', '{"q": "2"}'],
        ["q", "1", "2"],
        {"data": [{"q": "1"}, {"q": "2"}]},
        {"q": ["1", "2"]},
        [{"q": 1}, {"q": 2.0}],
    ],
)
def test_rows_are_taken_in_every_shape(rows: Any) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="r", value="x"))["session_id"]
        await call("add_examples", session_id=s, split="train", examples=rows)
        shown = (await call("inspect", session_id=s, what="examples"))["view"]["examples"]
        assert [e["fields"] for e in shown] == [{"q": "1"}, {"q": "2"}]

    drive(main, assisted())


@pytest.mark.parametrize(
    "extra",
    [
        {"toolCallId": "call_1"},
        {"tool_call_id": "call_1", "_meta": {"progressToken": 1}},
        {"sessionId": "n8n-7", "action": "sendMessage", "chatInput": "hi"},
        {"explanation": "Because."},
        {"reason": "x", "thought": "y", "random_string": "dummy"},
        {"kwargs": {}, "requestHeartbeat": True},
        {"_internal": 1},
    ],
)
def test_fields_that_hosts_add_are_not_used_and_that_is_said(extra: Facts) -> None:
    async def main(call: Tools) -> None:
        made = await call("create_variable", role="r", value="x", **extra)
        [note] = made["notes"]
        assert all(name in note for name in extra)

    drive(main, assisted())


@pytest.mark.requirement("strict-names")
@pytest.mark.parametrize(
    ("tool", "slip", "meant"),
    [
        ("create_variable", {"constraint": ["max_chars=5"]}, "constraints"),
        ("create_variable", {"requiresGrad": False}, "requires_grad"),
        ("create_variable", {"sessionId": "tg_x"}, "session_id"),
        ("create_variable", {"_role": "x"}, "role"),
        ("step", {"acept": "never"}, "accept"),
        ("inspect", {"sessionId": "tg_x"}, "session_id"),
        ("evaluate", {"kwargs": {"votes": 3}}, "It takes"),
        ("evaluate", {"colour": "red"}, "It takes"),
    ],
)
def test_a_name_that_is_nearly_ours_or_nobodys_is_refused(
    tool: str, slip: Facts, meant: str
) -> None:
    async def main(call: Tools) -> None:
        base = {"create_variable": {"role": "r", "value": "x"}, "inspect": {}}
        words = await call.refused(tool, **base.get(tool, {"session_id": "tg_x"}), **slip)
        assert meant in words
        assert (await call("inspect"))["view"]["sessions"] == []

    drive(main, assisted())


def test_arguments_that_a_host_put_into_one_object_are_taken_out() -> None:
    takes = reader("evaluate")
    plain = {"session_id": "tg_x", "votes": 3}
    for wrapped in ({"kwargs": plain}, {"arguments": json.dumps(plain)}, {"input": plain}):
        assert takes.read(wrapped) == (plain, [])


def test_endless_marks_around_an_id_take_no_time() -> None:
    for text in ('"' * 1_000_000, "[" * 500_000 + "]" * 500_000, "." * 1_000_000):
        assert shapes.bare_id(text) == text


def test_thousands_of_strange_names_or_entries_are_refused_at_once() -> None:
    takes = reader("evaluate")
    with pytest.raises(BadInput, match="So are 39995 others"):
        takes.read({f"_arg{n}x": 0 for n in range(40_000)})
    takes = reader("backward")
    with pytest.raises(BadInput, match=f"losses has {MOST + 1:,} entries"):
        takes.read({"session_id": "tg_x", "losses": ["v1"] * (MOST + 1)})


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), around),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(ids, st.text(max_size=5)), inner, max_size=3),
    ),
    max_leaves=8,
)


@pytest.mark.requirement("any-arguments")
@pytest.mark.parametrize("tool", SCHEMAS)
@settings(deadline=None)
@given(st.data())
def test_any_value_of_any_argument_is_read_or_refused(tool: str, data: st.DataObject) -> None:
    names = st.sampled_from([*SCHEMAS[tool]["properties"], "toolCallId", "kwargs", "_x", "arg"])
    values = st.one_of(JUNK, JUNK.map(lambda junk: json.dumps(junk)))
    with suppress(BadInput):  # and nothing else
        reader(tool).read(data.draw(st.dictionaries(names, values)))


def test_it_is_known_of_every_text_argument_how_it_is_read() -> None:
    """A new argument is a text of its own, an id, a name or a list: its type says which."""
    unknown = {
        f"{tool}: {name}"
        for tool, schema in SCHEMAS.items()
        for name, about in schema["properties"].items()
        if "string" in json.dumps(about) and "enum" not in about
        if SHAPES[tool][name] is None
    }
    assert unknown == set()
