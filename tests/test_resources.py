"""Resources: what they hold, who may read them, and who hears of changes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, MCPError
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import (
    CompleteResult,
    ReadResourceResult,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
    TextResourceContents,
)
from textgrad_mcp.engine.runs import Caller
from textgrad_mcp.schemas.graph import Kind, Op, Operation, Variable
from textgrad_mcp.server.app import build
from textgrad_mcp.server.mermaid import flowchart

from .helpers import Tools, an_engine, assisted, drive, served_by
from .standin import StandIn
from .tour import improved, judged, sums

ROOT = "textgrad://sessions"
PARTS = ["", "/graph", "/graph.mmd", "/gradients", "/steps", "/runs", "/calls", "/report"]


def text_of(result: ReadResourceResult) -> str:
    [content] = result.contents
    assert isinstance(content, TextResourceContents)
    return content.text


async def read(call: Tools, uri: str) -> str:
    return text_of(await call.client.read_resource(uri))


async def data(call: Tools, uri: str) -> Any:
    return json.loads(await read(call, uri))


async def refusal(call: Tools, uri: str) -> tuple[int, str]:
    with pytest.raises(MCPError) as caught:
        await call.client.read_resource(uri)
    return caught.value.code, caught.value.message


def after_a_step(
    main: Callable[[Tools, str], Awaitable[None]],
    tmp_path: Path,
    mode: Literal["legacy", "auto"] = "auto",
) -> None:
    """Run `main` with a session in which one step was accepted."""

    async def run(call: Tools) -> None:
        s = await sums(call)
        await judged(call, s)
        await improved(call, s)
        await main(call, s)

    drive(run, assisted(tmp_path / "t.db"), mode)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_every_part_of_a_session_can_be_read(
    tmp_path: Path, mode: Literal["legacy", "auto"]
) -> None:
    async def main(call: Tools, s: str) -> None:
        uri = f"{ROOT}/{s}"
        [listed] = (await data(call, ROOT))["sessions"]
        assert listed["uri"] == uri
        overview = await data(call, uri)
        assert overview["parts"] == [uri + part for part in PARTS[1:]]
        for part in overview["parts"] + overview["variables"]:
            assert await read(call, part)
        assert [v["version"] for v in (await data(call, f"{uri}/variables/v1"))["versions"]] == [
            2,
            1,
        ]
        assert await read(call, f"{uri}/variables/v1/versions/1") == "Be kind."
        change = await read(call, f"{uri}/variables/v1/diff/1..2")
        assert "-Be kind.\n+Answer with digits only." in change
        [gradient] = (await data(call, f"{uri}/gradients"))["gradients"]
        assert gradient["variable"] == "v1"
        assert gradient["losses"] == ["v5"]
        assert gradient["examples"] == ["e1", "e2"]
        assert (await data(call, f"{uri}/steps"))["proposals"][0]["verdict"] == "accepted"
        assert {r["status"] for r in (await data(call, f"{uri}/runs"))["runs"]} == {"done"}
        assert (await data(call, f"{uri}/calls"))["usage"]["update"]["calls"] == 1

    after_a_step(main, tmp_path, mode)


def test_the_report_says_what_was_won_and_what_it_cost(tmp_path: Path) -> None:
    async def main(call: Tools, s: str) -> None:
        report = await read(call, f"{ROOT}/{s}/report")
        assert "1 steps, 1 accepted; 1 proposals." in report
        assert "Score before the first step 0.000, after the last accepted one 1.000" in report
        assert "    Answer with digits only." in report
        assert re.search(r"\| update \| 1 \|", report)

    after_a_step(main, tmp_path)


def test_the_graph_fits_its_schema_and_its_drawing_names_every_variable(tmp_path: Path) -> None:
    async def main(call: Tools, s: str) -> None:
        graph = await data(call, f"{ROOT}/{s}/graph")
        jsonschema.validate(graph, await data(call, graph["$schema"]))
        drawing = await read(call, f"{ROOT}/{s}/graph.mmd")
        assert drawing.startswith("flowchart TD\n")
        for variable in graph["variables"]:
            assert f"    {variable['id']}" in drawing
        assert 'v1 -->|"system"| v4' in drawing
        assert 'v2 -->|"question"| v4' in drawing

    after_a_step(main, tmp_path)


def test_types_titles_and_dates_are_given(tmp_path: Path) -> None:
    async def main(call: Tools, s: str) -> None:
        listed = (await call.client.list_resources()).resources
        assert [r.uri for r in listed] == [
            ROOT,
            "textgrad://schemas/graph",
            f"{ROOT}/{s}",
            f"{ROOT}/{s}/report",
        ]
        assert all(r.title and r.mime_type for r in listed)
        dates = [r.annotations.last_modified for r in listed if r.annotations]
        assert len(dates) == 2
        assert all(date and date.endswith("Z") for date in dates)
        for template in (await call.client.list_resource_templates()).resource_templates:
            assert template.title
            assert template.description
            uri = template.uri_template.replace("{session_id}", s).replace("{variable}", "v1")
            uri = uri.replace("{version}", "1").replace("{old}", "1").replace("{new}", "2")
            [content] = (await call.client.read_resource(uri)).contents
            assert content.mime_type == template.mime_type

    after_a_step(main, tmp_path)


def test_lists_stay_fresh_for_long_and_only_immutable_texts_do(tmp_path: Path) -> None:
    async def main(call: Tools, s: str) -> None:
        client = call.client
        assert (await client.list_tools()).ttl_ms == 3_600_000
        assert (await client.list_prompts()).cache_scope == "public"
        listed = await client.list_resources()
        assert (listed.ttl_ms, listed.cache_scope) == (0, "private")
        assert (await client.read_resource(f"{ROOT}/{s}")).ttl_ms == 0
        fixed = await client.read_resource(f"{ROOT}/{s}/variables/v1/versions/1")
        assert fixed.ttl_ms == 86_400_000
        assert fixed.cache_scope == "private"

    after_a_step(main, tmp_path)


@pytest.mark.requirement("addresses")
def test_foreign_and_unknown_sessions_get_the_same_answer(tmp_path: Path) -> None:
    database = tmp_path / "t.db"

    async def prepare() -> str:
        async with an_engine(path=database) as engine:
            made = await engine.create_variable(Caller(owner="another"), role="r", value="secret")
        return str(made.session_id)

    async def main(call: Tools) -> None:
        for part in [*PARTS, "/variables/v1", "/variables/v1/versions/1"]:
            mine = await refusal(call, f"{ROOT}/{foreign}{part}")
            assert mine == await refusal(call, f"{ROOT}/tg_no_such_session{part}")
            assert mine[0] == -32602
        assert (await data(call, ROOT))["sessions"] == []
        assert len((await call.client.list_resources()).resources) == 2

    foreign = asyncio.run(prepare())
    drive(main, assisted(database))


@pytest.mark.requirement("addresses")
@pytest.mark.parametrize(
    "tail",
    [
        "/variables/v9",
        "/variables/v0",
        "/variables/v01",
        "/variables/1",
        "/variables/v1/versions/3",
        "/variables/v1/versions/01",
        "/variables/v1/versions/-1",
        "/variables/v1/versions/٢",
        "/variables/v1/diff/1..9",
        "/variables/v4/versions/1",
        "/nothing",
        "/",
        "/../x",
        "/variables/..",
        "/variables/v1%00",
        "/graph%2Emmd",
        "%2Fgraph",
    ],
)
def test_what_is_not_there_is_refused_in_words(tmp_path: Path, tail: str) -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        code, words = await refusal(call, f"{ROOT}/{s}{tail}")
        assert code == -32602
        assert words.startswith(("There is no", "v1 has no", "v4 has no"))

    drive(main, assisted(tmp_path / "t.db"))


@given(st.text(max_size=40))
def test_no_label_can_break_out_of_the_drawing(words: str) -> None:
    variable = Variable(id="v1", kind=Kind.PARAMETER, role=words, name=words)
    operation = Operation(id="op1", kind=Op.LLM, output="v2", inputs={words: "v1"})
    made = Variable(id="v2", kind=Kind.OUTPUT, role="out", operation="op1")
    lines = flowchart([variable, made], [operation]).split("\n")
    assert len(lines) == 8
    assert lines[1].count('"') == 2
    assert lines[1].startswith('    v1[["')
    assert lines[1].endswith('"]]')


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_variable_can_be_drawn(kind: Kind) -> None:
    assert "v1" in flowchart([Variable(id="v1", kind=kind, role="r")], [])


def test_an_older_client_hears_of_changes_it_subscribed_to_until_it_unsubscribes(
    tmp_path: Path,
) -> None:
    heard: list[str] = []

    async def listener(message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.append(message.params.uri)

    async def main() -> None:
        server = build(assisted(tmp_path / "t.db"))
        async with Client(server, mode="legacy", message_handler=listener) as client:
            call = Tools(client)
            s = await sums(call)
            for path in ("graph", "variables/v1/versions/1"):
                with pytest.warns(MCPDeprecationWarning):
                    await client.subscribe_resource(f"{ROOT}/{s}/{path}")
            await call("create_variable", session_id=s, role="another", value="x")
            await call("inspect", session_id=s)
            with pytest.warns(MCPDeprecationWarning):
                await client.unsubscribe_resource(f"{ROOT}/{s}/graph")
            await call("create_variable", session_id=s, role="one more", value="x")
            with pytest.warns(MCPDeprecationWarning), pytest.raises(MCPError, match="no such"):
                await client.subscribe_resource(f"{ROOT}/tg_another/graph")
            assert heard == [f"{ROOT}/{s}/graph"]

    asyncio.run(main())


def test_a_newer_client_hears_of_changes_on_its_listen_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with Client(build(assisted(tmp_path / "t.db"))) as client:
            call = Tools(client)
            s = await sums(call)
            uris = [f"{ROOT}/{s}/report", f"{ROOT}/tg_another/report"]
            async with client.listen(
                resource_subscriptions=uris, resources_list_changed=True
            ) as events:
                assert events.honored.resource_subscriptions == uris[:1]
                await call("create_variable", session_id=s, role="another", value="x")
                assert getattr(await anext(aiter(events)), "uri", None) == uris[0]
                await call("create_variable", role="in a session of its own", value="x")
                assert type(await anext(aiter(events))).__name__ == "ResourcesListChanged"

    asyncio.run(main())


def test_a_run_that_goes_on_in_the_background_is_announced_until_its_end(tmp_path: Path) -> None:
    async def main(server: StandIn) -> None:
        settings = served_by(server, tmp_path / "t.db", soft_deadline=0.3)
        async with Client(build(settings)) as client, asyncio.timeout(30):
            call = Tools(client)
            s = str((await call("create_variable", role="text", value="first"))["session_id"])
            uri = f"{ROOT}/{s}/runs"
            async with client.listen(resource_subscriptions=[uri]) as events:
                asked = {"operation": "llm", "inputs": {"text": "v1"}}
                assert (await call("forward", session_id=s, **asked))["status"] == "running"
                async for _ in events:
                    if (await data(call, uri))["runs"][0]["status"] == "done":
                        break

    with StandIn(rules=[("", "no idea")], latency=1.5) as server:
        asyncio.run(main(server))


def test_arguments_of_templates_are_completed_one_from_the_other(tmp_path: Path) -> None:
    async def main(call: Tools, s: str) -> None:
        template = ResourceTemplateReference(
            type="ref/resource",
            uri=f"{ROOT}/{{session_id}}/variables/{{variable}}/diff/{{old}}..{{new}}",
        )

        async def complete(name: str, value: str, **known: str) -> list[str]:
            result: CompleteResult = await call.client.complete(
                template, {"name": name, "value": value}, known or None
            )
            return result.completion.values

        assert await complete("session_id", s[:5]) == [s]
        assert await complete("session_id", "nothing") == []
        assert await complete("variable", "v", session_id=s) == ["v1", "v2", "v3", "v4", "v5"]
        assert await complete("variable", "v", session_id="foreign") == []
        assert await complete("new", "", session_id=s, variable="v1") == ["2", "1"]
        assert await complete("old", "", session_id=s, variable="nonsense") == []

    after_a_step(main, tmp_path)
