"""Every tool with hypothesis-made arguments, over MCP: never a crash, a hang, a masked internal
error, or a half-made change."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp_types import CallToolResult
from textgrad_mcp.engine.store import Store
from textgrad_mcp.server.protocol.app import TextGradServer, build

from ..helpers import MEMORY, Facts, assisted, text_of

T = TypeVar("T")
Schema = dict[str, Any]
Values = st.SearchStrategy[Any]
SESSION = "the session's id"
MASKED = ("Error executing tool", "Traceback", "by a fault of the server")
USES = 10
"""Calls before a session is replaced by a fresh one."""
CALL_SECONDS = 20
SOUND: dict[str, Any] = {
    "forward": "a1",
    "judge": {"feedback": "Too long.", "score": 0.5},
    "gradient": {"v1": "Say less."},
}


class Host:
    """A server in memory with one client, in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stop = asyncio.Event()
        self.run(self._begin())
        self.session = ""
        self._calls = 0

    async def _begin(self) -> None:
        up: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(self._serve(up))
        await up

    async def _serve(self, up: asyncio.Future[None]) -> None:
        self.server: TextGradServer = build(assisted(MEMORY, soft_deadline=5))
        async with Client(self.server) as client:
            self.client = client
            up.set_result(None)
            await self._stop.wait()

    def close(self) -> None:
        """End it all."""

        async def end() -> None:
            self._stop.set()
            await self._task

        self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work`, done in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5 * CALL_SECONDS)

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool; a hang is an error."""
        async with asyncio.timeout(CALL_SECONDS):
            return await self.client.call_tool(tool, arguments)

    async def fresh(self) -> None:
        """Every few calls, a new session with a prompt, fields, data, a model call and a loss."""
        self._calls += 1
        if self.session and self._calls % USES:
            return
        made = await self.call("create_variable", {"role": "prompt", "value": "Be brief."})
        self.session = str((made.structured_content or {})["session_id"])
        rows = [{"q": f"q{n}", "a": f"a{n}"} for n in range(3)]
        compared = {"output": "v4", "answer": "v3"}
        metric = {"kind": "metric", "metric": "exact_match", "inputs": compared}
        judge = {"kind": "judge", "instruction": "Good?", "inputs": {"output": "v4"}}
        for tool, more in (
            ("create_variable", {"role": "q", "example_field": "q"}),
            ("create_variable", {"role": "a", "example_field": "a", "reference": True}),
            ("add_examples", {"split": "train", "examples": rows}),
            ("add_examples", {"split": "validation", "examples": rows}),
            ("forward", {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}),
            ("compute_loss", metric if self._calls % (2 * USES) else judge),
            ("backward", {}),
        ):
            await self._sound(tool, {"session_id": self.session} | more)

    async def _sound(self, tool: str, arguments: dict[str, Any]) -> None:
        result = await self.call(tool, arguments)
        while True:
            assert not result.is_error, text_of(result)
            facts = result.structured_content or {}
            if facts["status"] != "needs_completions":
                return
            said = {one["id"]: SOUND[one["purpose"].split(":")[0]] for one in facts["pending"]}
            given = {"session_id": self.session, "completions": said}
            result = await self.call("resume", given)

    async def state(self) -> str:
        """Everything the session holds, but for when it was last used."""
        assert self.server.host is not None
        store: Store = (await self.server.host.engine()).store
        session = await store.sessions.get(self.session, "local")
        document = await store.export.export_session(session.pk)
        document["session"].pop("updated")
        return json.dumps(document)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


WORDS = st.sampled_from(
    [
        *("v1", "v2", "v3", "v4", "v5", "v6", "v99", "v0", "v-1", "c1", "c2", "e1", "e4", "e99"),
        *("train", "validation", "test", "output", "answer", "q", "a", "r1", "s1", "v1@1", "{q}"),
        *("exact_match", "regex", "json_schema", "max_chars=5", "parses=json", "max_change=0.1"),
        *("[", "(a+)+$", "data:image/png;base64,AAAA", "{", "{}", "null", '{"a": 1}', "", " "),
        *("[" * 3000, '{"a":' * 3000, "9" * 5000, "v" + "9" * 30, "v1@1..999999999999", "\u202e"),
        *("\x1b[2J", "NaN", '{"value": NaN}', '[{"q": 1e999}]', '{"q": "\\ud800"}', "q,a\n1,2"),
    ]
)
TEXT = st.one_of(WORDS, WORDS, st.text(max_size=40))
FAR = st.sampled_from([-1, 2**31, 2**53, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**1001])
WHOLE = st.one_of(st.integers(), FAR)
DEEP = st.sampled_from([90, 101, 150]).map(lambda levels: nested(levels))
JUNK: Values = st.recursive(
    st.one_of(st.none(), st.booleans(), WHOLE, st.floats(allow_nan=False), TEXT, DEEP),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def nested(levels: int) -> Any:
    """A value so many levels deep."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


ID = st.sampled_from(["v1", "v1", "v2", "v3", "v4", "v4", "v5", "v5", "v6"])
LIKELY: dict[str, Values] = {
    "variable": ID,
    "system": ID,
    "loss": ID,
    "variables": st.lists(ID, max_size=2),
    "losses": st.lists(ID, max_size=2),
    "inputs": st.dictionaries(st.sampled_from(["output", "answer", "q"]), ID, min_size=1),
    "metric": st.sampled_from(["exact_match", "contains", "regex", "numeric", "f1", "json_schema"]),
    "examples": st.sampled_from(
        ["train", "validation", ["e1"], ["e2", "e5"], [{"q": "x"}], {"e1": {"q": "x"}}]
    ),
    "remove": st.lists(ID | st.sampled_from(["op1", "e1", "e5", "train"]), max_size=2),
    "constraints": st.lists(st.sampled_from(["max_chars=9", "parses=json", "contains=x", "Short"])),
    "budget": st.dictionaries(st.sampled_from(["calls", "cost", "seconds"]), st.floats(0, 9)),
}
FEW = st.integers(0, 4)


def fitting(schema: Schema) -> Values:
    """Values that fit `schema`, with ids and words that mean something here."""
    if "anyOf" in schema:
        return st.one_of(*(fitting(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string":
            return TEXT
        case "integer":
            return st.one_of(FEW, WHOLE)
        case "number":
            return st.one_of(st.floats(0, 1), st.floats(allow_nan=False, allow_infinity=False))
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(fitting(schema.get("items", {})), max_size=3)
        case "object":
            inner = schema.get("additionalProperties")
            values = fitting(inner) if isinstance(inner, dict) else JUNK
            return st.dictionaries(TEXT, values, max_size=3)
    return JUNK


def likely(name: str, schema: Schema) -> Values:
    """Values for one argument, most of them such as mean something."""
    meant = LIKELY.get(name, FEW if schema.get("type") == "integer" else None)
    return fitting(schema) if meant is None else mostly(meant, fitting(schema))


@st.composite
def mostly(draw: st.DrawFn, usual: Values, odd: Values) -> Any:
    """Three of four times `usual` (a plain one_of would not weigh its branches)."""
    return draw(usual if draw(st.integers(0, 3)) else odd)


@st.composite
def around(draw: st.DrawFn, schema: Schema) -> dict[str, Any]:
    """Arguments that fit a tool's schema, mostly; now and then some that do not."""
    if draw(st.integers(0, 19)) == 19:
        return draw(st.dictionaries(st.text(max_size=12), JUNK))
    properties = dict(schema.get("properties", {}))
    properties.pop("session_id", None)
    needed = [name for name in schema.get("required", []) if name in properties]
    others = sorted(properties.keys() - set(needed)) or needed
    some = draw(st.lists(st.sampled_from(others), max_size=3, unique=True)) if others else []
    made = {name: draw(likely(name, properties[name])) for name in dict.fromkeys([*needed, *some])}
    made["session_id"] = draw(st.sampled_from([SESSION] * 15 + [None, "tg_unknown"]))
    if draw(st.integers(0, 9)) == 9:
        made[draw(st.sampled_from(sorted(properties) or ["session_id"]))] = draw(JUNK)
    return made


REPLIES = st.one_of(
    TEXT,
    st.just({"v1": "Say only the answer."}),
    st.just({"value": "Answer in one word."}),
    st.just({"feedback": "Too long.", "score": 0.5}),
    st.dictionaries(st.sampled_from(["v1", "value", "feedback", "score", "text"]), JUNK),
)
TOOLS = [
    *("create_variable", "forward", "compute_loss", "backward", "step", "add_examples"),
    *("evaluate", "optimize", "resume", "inspect", "revert", "optimize_prompt", "show"),
]


async def one_call(host: Host, tool: str, arguments: dict[str, Any], replies: list[Any]) -> None:
    """Call, answer what is pending with `replies`, then leave nothing under way."""
    await host.fresh()
    if arguments.get("session_id") == SESSION:
        arguments = arguments | {"session_id": host.session}
    facts = await checked_call(host, tool, arguments)
    for reply in replies:
        if facts["status"] != "needs_completions":
            break
        given = {one["id"]: reply for one in facts["pending"]}
        more = {"session_id": facts["session_id"], "completions": given}
        facts = await checked_call(host, "resume", more)
    await checked_call(host, "resume", {"session_id": host.session, "cancel": True})


async def checked_call(host: Host, tool: str, arguments: dict[str, Any]) -> Facts:
    """What came back is an answer, and what was refused left no trace."""
    before = await host.state()
    result = await host.call(tool, arguments)
    words = text_of(result)
    assert not any(mark in words for mark in MASKED), words
    facts = dict(result.structured_content or {})
    assert facts["status"] in ("done", "needs_completions", "running", "failed")
    assert (facts["status"] == "failed") == result.is_error
    if result.is_error:
        assert facts["error"], facts
        assert facts["next"], facts
    if result.is_error and "run" not in facts and tool != "resume":
        assert await host.state() == before, f"{tool} was refused and left a trace: {words}"
    return facts


def fuzz(host: Host, tool: str, examples: int) -> None:
    """Throw so many calls of one tool at the server."""
    listed = host.run(host.client.list_tools()).tools
    schema = next(one.input_schema for one in listed if one.name == tool)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # the server remembers: shrinking would take minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(arguments=around(schema), replies=st.lists(REPLIES, max_size=6))
    def throw(arguments: dict[str, Any], replies: list[Any]) -> None:
        try:
            host.run(one_call(host, tool, arguments, replies))
        except BaseException:
            host.session = ""  # the same is tried again, on a fresh session
            raise

    throw()


@pytest.mark.requirement("any-arguments")
def test_the_tools_that_are_fuzzed_are_all_there_are(host: Host) -> None:
    assert sorted(one.name for one in host.run(host.client.list_tools()).tools) == sorted(TOOLS)


@pytest.mark.requirement("any-arguments")
@pytest.mark.parametrize("tool", TOOLS)
def test_no_argument_crashes_hangs_or_half_changes(host: Host, tool: str) -> None:
    fuzz(host, tool, 50)


@pytest.mark.requirement("any-arguments")
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tool", TOOLS)
def test_thousands_of_arguments_do_not_either(host: Host, tool: str) -> None:
    fuzz(host, tool, 1000)
