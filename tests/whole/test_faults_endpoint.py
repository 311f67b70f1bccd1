"""A whole run against an endpoint that fails: exact numbers of requests, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from mcp import Client
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.schemas.errors import EndpointDown
from textgrad_mcp.server.protocol.app import build

from ..engine.answerers.test_openai_answerer import settings
from ..engine.answerers.test_openai_faults import outcome
from ..engine.runs.test_ledger import session, values, with_endpoint
from ..helpers import ME, Tools, assisted, behind_its_back
from ..standin import Fault, StandIn, fault

FATAL: Mapping[str, Fault] = {
    "401": fault("401"),
    "quota": fault("quota"),
    "404": fault("404"),
    "HTML": fault("html"),
    "a long pause": fault("429", retry_after=3600),
    "down, without retries": fault("503"),
}


@pytest.mark.requirement("fatal-stops")
@pytest.mark.parametrize("refusal", FATAL.values(), ids=FATAL.keys())
@pytest.mark.parametrize("at_once", [1, 4])
def test_after_a_fatal_refusal_only_the_calls_in_flight_have_gone_out(
    tmp_path: Path, refusal: Fault, at_once: int
) -> None:
    """Replies come at once, so that every slot is free again before anything is recorded."""

    async def main(engine: Engine) -> None:
        s = await session(engine, [f"q{n}" for n in range(12)])
        assert (await engine.forward(ME, session_id=s)).status == "failed"
        assert len(server.log) == at_once
        broken[0] = False
        assert (await engine.resume(ME, session_id=s)).status == "done"
        assert len(server.log) == at_once + 12
        assert len(await values(engine, s)) == 12

    broken = [True]
    with StandIn(faults=lambda *_: refusal if broken[0] else None) as server:
        role = {"concurrency": at_once, "retries": 0}
        with_endpoint(server, main, tmp_path / "t.db", role=role, minibatch=16)


@pytest.mark.requirement("retries")
def test_an_endpoint_that_keeps_hanging_is_asked_once_more_for_each_retry() -> None:
    with StandIn(faults=lambda *_: fault("hang")) as server:
        result, attempts = outcome(settings(server, timeout=0.1, retries=2))
    assert isinstance(result, EndpointDown)
    assert [a.outcome for a in attempts] == ["timeout"] * 3
    assert len(server.log) == 3


@pytest.mark.requirement("changed-underneath")
def test_a_text_that_changed_under_a_waiting_run_gets_no_answer_meant_for_the_old_one() -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="p", value="old"))["session_id"]
        asked = await call("forward", session_id=s, operation="llm", inputs={"x": "v1"})
        [before] = asked["pending"]
        engine = await engine_of(call)
        pk = (await engine.store.sessions.get(s, "local")).pk
        await behind_its_back(engine.store, pk, "v1", "new")
        again = await call("resume", session_id=s, completions={before["id"]: "to the old"})
        [after] = again["pending"]
        assert (before["prompt"], after["prompt"]) == ("old", "new")
        done = await call("resume", session_id=s, completions={after["id"]: "to the new"})
        assert [v["text"] for v in done["values"]] == ["to the new"]

    async def engine_of(call: Tools) -> Engine:
        assert server.host is not None
        return await server.host.engine()

    async def run() -> None:
        async with Client(server) as client:
            await main(Tools(client))

    server = build(assisted())
    asyncio.run(run())
