"""Sampling when the client refuses, vanishes, cuts off or runs out of rounds and time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.client import ClientRequestContext
from mcp_types import (
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    CreateMessageRequestParams,
    ErrorData,
    InputRequiredResult,
)
from textgrad_mcp.schemas.settings import RoleSettings
from textgrad_mcp.server.app import build

from .client_model import BOTH, Answer, Mode, Model, drive, prompt_of, said, sampled
from .helpers import Tools
from .tour import sums


@pytest.mark.requirement("sampling-faults")
def test_a_refusal_over_the_back_channel_keeps_what_was_answered(tmp_path: Path) -> None:
    model = Model(fail_after=1)
    role = RoleSettings(answerer="sampling", concurrency=1)

    async def main(call: Tools) -> None:
        s = await sums(call)
        result = await call("forward", session_id=s)
        assert result["status"] == "needs_completions"
        assert len(result["pending"]) == 1
        assert any("The user declined." in note for note in result["notes"])
        model.fail_after = None
        assert (await call("resume", session_id=s))["status"] == "done"
        assert len(model.asked) == 3

    drive(main, sampled(tmp_path, forward=role), "legacy", model)


@pytest.mark.requirement("sampling-faults")
def test_after_a_refused_round_the_assistant_is_given_the_prompts_once(tmp_path: Path) -> None:
    model = Model(fail_after=0)

    async def main(call: Tools) -> None:
        s = await sums(call)
        with pytest.raises(MCPError, match="declined"):
            await call("forward", session_id=s)
        asked = len(model.asked)
        result = await call("resume", session_id=s)
        assert len(result["pending"]) == 2
        assert any("brought no answer" in note for note in result["notes"])
        assert len(model.asked) == asked
        given = {result["pending"][0]["id"]: "3"}
        model.fail_after = None
        result = await call("resume", session_id=s, completions=given)
        assert result["status"] == "done"
        assert len(model.asked) == asked + 1

    drive(main, sampled(tmp_path), "auto", model)


async def chain(call: Tools, length: int) -> str:
    """A chain of calls, each of which waits for the one before, with a new text at its head."""
    s = str((await call("create_variable", role="text", value="first"))["session_id"])
    last = "v1"
    for n in range(length):
        field = {"inputs": {"text": last}, "template": f"{n} {{text}}"}
        last = (await call("forward", session_id=s, operation="llm", **field))["variable"]
    said = {"kind": "feedback", "feedback": "Say more.", "inputs": {"text": "v1"}}
    await call("compute_loss", session_id=s, **said)
    await call("backward", session_id=s)
    assert (await call("step", session_id=s))["accepted"]
    return s


def only_the_caller_can(result: dict[str, Any]) -> None:
    """What is left is to be measured by the caller: the head's feedback is stale, too."""
    assert [p["purpose"].partition(":")[0] for p in result["pending"]] == ["external"]


class Numbered(Model):
    """Never says the same twice."""

    def reply(self, params: CreateMessageRequestParams) -> str:
        if '"value"' in prompt_of(params):
            return '{"value": "second"}'
        return f"answer {len(self.asked)}"


@pytest.mark.requirement("sampling-faults")
def test_eight_rounds_in_one_call_and_then_what_is_done(tmp_path: Path) -> None:
    model = Numbered()

    async def main(call: Tools) -> None:
        s = await chain(call, 11)
        asked = len(model.asked)
        result = await call("forward", session_id=s)
        assert result["status"] == "needs_completions"
        assert result["next"] == f"Call resume(session_id='{s}') to go on."
        assert len(model.asked) - asked == 8
        only_the_caller_can(await call("resume", session_id=s))
        assert len(model.asked) - asked == 11

    drive(main, sampled(tmp_path), "auto", model)


@pytest.mark.requirement("background")
def test_on_older_sessions_a_call_ends_at_the_soft_deadline(tmp_path: Path) -> None:
    class Slow(Numbered):
        delay = 0.0

        async def __call__(
            self, context: ClientRequestContext, params: CreateMessageRequestParams
        ) -> Answer:
            await asyncio.sleep(self.delay)
            return await super().__call__(context, params)

    model = Slow()

    async def main(call: Tools) -> None:
        s = await chain(call, 3)
        asked = len(model.asked)
        model.delay = 2.05
        result = await call("forward", session_id=s)
        assert result["status"] == "needs_completions"
        assert any("time is up" in note for note in result["notes"])
        assert len(model.asked) - asked == 1
        model.delay = 0.0
        only_the_caller_can(await call("resume", session_id=s))
        assert len(model.asked) - asked == 3

    drive(main, sampled(tmp_path, soft_deadline=2.0), "legacy", model)


@pytest.mark.requirement("sampling-faults")
@BOTH
def test_a_client_that_vanishes_leaves_a_run_that_the_next_one_finishes(
    tmp_path: Path, mode: Mode
) -> None:
    stuck = asyncio.Event()

    class Vanishing(Model):
        async def __call__(
            self, context: ClientRequestContext, params: CreateMessageRequestParams
        ) -> Answer:
            if self.asked:
                stuck.set()
                await asyncio.Event().wait()
            return await super().__call__(context, params)

    role = RoleSettings(answerer="sampling", concurrency=1)
    settings = sampled(tmp_path, forward=role)
    sessions: list[str] = []

    async def first() -> None:
        async with Client(build(settings), mode=mode, sampling_callback=Vanishing()) as client:
            sessions.append(await sums(Tools(client)))
            await client.call_tool("forward", {"session_id": sessions[0]})

    async def run() -> int:
        leaving = asyncio.create_task(first())
        await stuck.wait()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        model = Model()
        async with Client(build(settings), mode=mode, sampling_callback=model) as client:
            result = await Tools(client)("resume", session_id=sessions[0])
        assert result["status"] == "done"
        return len(model.asked)

    assert asyncio.run(run()) == (2 if mode == "auto" else 1)


@pytest.mark.requirement("sampling-faults")
def test_a_round_that_began_before_a_restart_ends_after_it(tmp_path: Path) -> None:
    settings = sampled(tmp_path)

    async def main() -> None:
        async with Client(build(settings), sampling_callback=Model()) as client:
            s = await sums(Tools(client))
            first = await client.session.call_tool(
                "forward", {"session_id": s}, allow_input_required=True
            )
        assert isinstance(first, InputRequiredResult)
        replies: dict[str, Any] = {key: said("4") for key in first.input_requests or {}}
        async with Client(build(settings), sampling_callback=Model()) as client:
            result = await client.session.call_tool(
                "forward",
                {"session_id": s},
                input_responses=replies,
                request_state=first.request_state,
                allow_input_required=True,
            )
        assert isinstance(result, CallToolResult)
        assert (result.structured_content or {})["status"] == "done"

    asyncio.run(main())


@pytest.mark.requirement("sampling-faults")
def test_answers_for_another_call_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with Client(build(sampled(tmp_path)), sampling_callback=Model()) as client:
            s = await sums(Tools(client))
            first = await client.session.call_tool(
                "forward", {"session_id": s}, allow_input_required=True
            )
            assert isinstance(first, InputRequiredResult)
            with pytest.raises(MCPError, match="requestState"):
                await client.session.call_tool(
                    "backward",
                    {"session_id": s},
                    input_responses={key: said("4") for key in first.input_requests or {}},
                    request_state=first.request_state,
                    allow_input_required=True,
                )

    asyncio.run(main())


@pytest.mark.requirement("no-bad-values")
def test_a_cut_off_reply_is_repaired_not_kept(tmp_path: Path) -> None:
    class Chatty(Model):
        async def __call__(
            self, context: ClientRequestContext, params: CreateMessageRequestParams
        ) -> Answer:
            self.asked.append(params)
            return said("4", "maxTokens" if len(params.messages) == 1 else "endTurn")

    model = Chatty()

    async def main(call: Tools) -> None:
        s = await sums(call)
        result = await call("forward", session_id=s)
        assert result["status"] == "done"
        assert len(model.asked) == 4

    drive(main, sampled(tmp_path), "auto", model)


class Hostile(Model):
    """Says what no model would."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    async def __call__(
        self, context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> Answer:
        """The same to everything."""
        self.asked.append(params)
        return self.answer


@pytest.mark.requirement("sampling-faults")
def test_a_long_excuse_is_cut(tmp_path: Path) -> None:
    excuse = ErrorData(code=-1, message="no\x1b[2J" * 100_000)

    async def main(call: Tools) -> None:
        result = await call("forward", session_id=await sums(call))
        [note] = [note for note in result["notes"] if "did not answer" in note]
        assert len(note) < 500
        assert "\x1b" not in note

    drive(main, sampled(tmp_path), "legacy", Hostile(excuse))


@pytest.mark.requirement("sampling-faults")
def test_an_endless_answer_is_not_taken(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        result = await call("forward", session_id=await sums(call))
        assert result["status"] == "needs_completions"
        assert any("at most 1,000 are taken" in note for note in result["notes"])

    drive(main, sampled(tmp_path, max_value_chars=1000), "legacy", Hostile(said("x" * 1001)))


@pytest.mark.requirement("sampling-faults")
def test_an_endless_answer_is_not_taken_in_a_round(tmp_path: Path) -> None:
    async def main(call: Tools) -> None:
        words = await call.refused("forward", session_id=await sums(call))
        assert "at most 1,000 are taken" in words

    drive(main, sampled(tmp_path, max_value_chars=1000), "auto", Hostile(said("x" * 1001)))


@BOTH
@pytest.mark.requirement("sampling-faults")
def test_what_cannot_be_stored_of_an_answer_is_replaced(tmp_path: Path, mode: Mode) -> None:
    reply = said("3\0")
    reply.model = "m\0" * 10_000

    async def main(call: Tools) -> None:
        s = await sums(call)
        assert (await call("forward", session_id=s))["status"] == "done"
        calls = (await call("inspect", session_id=s, what="calls"))["view"]["calls"]
        one = (await call("inspect", session_id=s, id=calls[0]["id"]))["view"]
        assert one["text"] == "3\ufffd"
        assert len(one["model"]) == 200

    drive(main, sampled(tmp_path), mode, Hostile(reply))


@pytest.mark.requirement("sampling-faults")
def test_a_state_that_the_server_did_not_seal_is_refused(tmp_path: Path) -> None:
    forged = 'textgrad-sampling {"session": "tg_another", "run": "r1", "round": -1000000}'

    async def main() -> None:
        async with Client(build(sampled(tmp_path)), sampling_callback=Model()) as client:
            params = {"name": "forward", "arguments": {}, "requestState": forged}
            with pytest.raises(MCPError, match="requestState"):
                await client.session.send_request(
                    CallToolRequest(params=CallToolRequestParams.model_validate(params)),
                    CallToolResult,
                )

    asyncio.run(main())
