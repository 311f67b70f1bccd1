"""A reply that is paid for is one reply, whoever else answers the same call meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.engine.engine import Engine
from textgrad_mcp.engine.runs.runner import Caller
from textgrad_mcp.schemas.completions import Completion
from textgrad_mcp.schemas.graph import NO_EXAMPLE

from ...helpers import ME, Tools, an_engine, assisted, drive, endpoint
from ...standin import Fault, StandIn, usage_of

pytestmark = pytest.mark.each_store

SOON = Caller(deadline=0.05)
PAID, OTHER = "what the endpoint said", "what the caller made up"


async def asked(engine: Engine, server: StandIn) -> tuple[str, int]:
    """A session whose one call is under way at the endpoint; its id and key."""
    s = (await engine.create_variable(ME, role="q", value="What?", requires_grad=False)).session_id
    assert s is not None
    running = await engine.forward(SOON, session_id=s, operation="llm", inputs={"x": "v1"})
    assert running.status == "running"
    await asyncio.to_thread(server.wait_for, lambda it: it.in_flight == 1)
    return s, (await engine.store.sessions.get(s, "local")).pk


async def facts(engine: Engine, s: str, pk: int) -> dict[str, Any]:
    """What graph and ledger hold of the only call."""
    call = await engine.store.calls.get(pk, 1)
    values = await engine.store.values.get(pk, ["v2"], [NO_EXAMPLE])
    assert call is not None
    assert await engine.store.maintenance.check() == []
    return {
        "graph": values["v2", NO_EXAMPLE].text if values else None,
        "ledger": call["text"],
        "by": call["model"],
        "attempts": [(a["outcome"], a["detail"]) for a in call["attempts"]],  # type: ignore[attr-defined]
        "tokens": call["prompt_tokens"] + call["completion_tokens"],  # type: ignore[operator]
        "session": (await engine.store.sessions.get(s, "local")).used_tokens,
        "usage": await engine.store.calls.usage(pk),
    }


def billed(server: StandIn) -> int:
    """The tokens of all that the endpoint answered."""
    return sum(sum(usage_of(seen.body, PAID).values()) // 2 for seen in server.log)


@pytest.mark.requirement("one-reply")
def test_a_completion_handed_in_while_the_call_is_under_way_gives_way_to_the_paid_reply() -> None:
    async def main(server: StandIn) -> None:
        async with an_engine(OpenAIAnswerer(endpoint(server))) as engine:
            s, pk = await asked(engine, server)
            waiting = await engine.resume(SOON, session_id=s, completions={"c1": OTHER})
            assert waiting.status == "running"
            assert any("call that is under way" in note for note in waiting.notes)
            server.resume()
            assert (await engine.resume(ME, session_id=s)).status == "done"
            found = await facts(engine, s, pk)
            assert found["graph"] == found["ledger"] == PAID
            assert [outcome for outcome, _ in found["attempts"]] == ["handed in", "ok"]
            assert OTHER in found["attempts"][0][1]
            assert found["tokens"] == found["session"] == billed(server) > 0
            after = await engine.resume(ME, session_id=s, completions={"c1": OTHER})
            assert any("the first answer stands" in note for note in after.notes)
            assert (await facts(engine, s, pk))["ledger"] == PAID

    with StandIn(paused=True, reply=lambda _: PAID) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("one-reply")
def test_a_paid_reply_that_comes_after_another_answer_is_counted_and_kept_and_not_used() -> None:
    """The run was cancelled and its call answered from outside, while that was still under way."""

    async def main(server: StandIn) -> None:
        async with an_engine(OpenAIAnswerer(endpoint(server))) as engine:
            s, pk = await asked(engine, server)
            await engine.resume(ME, session_id=s, cancel=True)
            with pytest.raises(Exception, match="was cancelled"):
                await engine.resume(ME, session_id=s, completions={"c1": OTHER})
            again = await engine.forward(ME, session_id=s, operation="llm", inputs={"x": "v1"})
            assert again.status == "done"
            server.resume()
            await engine.ledger.close(10)
            found = await facts(engine, s, pk)
            assert found["ledger"] == OTHER
            assert found["by"] == "assistant"
            assert [outcome for outcome, _ in found["attempts"]] == ["ok"]
            assert PAID in found["attempts"][0][1]
            assert found["tokens"] == found["session"] == billed(server) > 0
            [used] = found["usage"].values()
            assert (used["calls"], used["prompt_tokens"] + used["completion_tokens"]) == (
                1,
                billed(server),
            )

    with StandIn(paused=True, reply=lambda _: PAID) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("one-reply")
def test_a_run_uses_what_is_on_record_and_not_the_reply_that_it_waited_for() -> None:
    async def main(server: StandIn) -> None:
        async with an_engine(OpenAIAnswerer(endpoint(server))) as engine:
            s, pk = await asked(engine, server)
            await engine.ledger.store.calls.answer(
                pk, {1: Completion(text=OTHER, model="another process")}
            )
            server.resume()
            assert (await engine.resume(ME, session_id=s)).status == "done"
            found = await facts(engine, s, pk)
            assert found["graph"] == found["ledger"] == OTHER

    with StandIn(paused=True, reply=lambda _: PAID) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("one-reply")
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\0b", "a\ufffdb"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("whole \ud83d\ude00", "whole \U0001f600"),
        ("\0", "\ufffd"),
    ],
)
def test_a_reply_that_cannot_be_stored_as_it_is_is_cleaned_and_not_asked_for_again(
    text: str, kept: str
) -> None:
    async def main(server: StandIn) -> None:
        async with an_engine(OpenAIAnswerer(endpoint(server))) as engine:
            s = str((await engine.create_variable(ME, role="q", value="What?")).session_id)
            done = await engine.forward(ME, session_id=s, operation="llm", inputs={"x": "v1"})
            assert done.status == "done"
            pk = (await engine.store.sessions.get(s, "local")).pk
            assert (await facts(engine, s, pk))["graph"] == kept
            assert len(server.log) == 1

    with StandIn(reply=lambda _: text) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("one-reply")
def test_a_json_reply_with_such_characters_inside_is_used_and_not_repaired() -> None:
    async def main(server: StandIn) -> None:
        async with an_engine(OpenAIAnswerer(endpoint(server))) as engine:
            s = str((await engine.create_variable(ME, role="letter", value="Dear")).session_id)
            await engine.compute_loss(
                ME, session_id=s, kind="judge", inputs={"x": "v1"}, instruction="Good?"
            )
            pk = (await engine.store.sessions.get(s, "local")).pk
            assert (await facts(engine, s, pk))["graph"] == "a\ufffdb\ufffdc"
            assert len(server.log) == 1

    said = '{"feedback": "a\\u0000b\\ud800c", "score": 0.5}'
    with StandIn(reply=lambda _: said) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("errors-mapped")
def test_an_error_of_the_endpoint_that_quotes_such_characters_is_told() -> None:
    refused = Fault(status=400, raw='{"error": {"message": "no \\ud800 and no \\u0000 here"}}')

    async def main(server: StandIn) -> None:
        async with an_engine(OpenAIAnswerer(endpoint(server))) as engine:
            s = str((await engine.create_variable(ME, role="q", value="What?")).session_id)
            failed = await engine.forward(ME, session_id=s, operation="llm", inputs={"x": "v1"})
            assert failed.status == "failed"
            assert "no \ufffd and no \ufffd here" in str(failed.error)

    with StandIn(faults={1: refused}) as server:
        asyncio.run(main(server))


@pytest.mark.requirement("one-reply")
def test_a_completion_handed_in_with_such_characters_is_taken(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        s = (await call("create_variable", role="q", value="What?"))["session_id"]
        await call("forward", session_id=s, operation="llm", inputs={"x": "v1"})
        done = await call("resume", session_id=s, completions={"c1": "a\0b"})
        assert done["values"][0]["text"] == "a\ufffdb"

    drive(main, assisted(tmp_path / "t.db"))
