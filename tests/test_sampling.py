"""The sampling answerer: the client's own model writes what a run needs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client, MCPError
from mcp.client import ClientRequestContext
from mcp_types import (
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ErrorData,
    InputRequiredResult,
    TextContent,
)
from textgrad_mcp.schemas.completions import CompletionRequest, Message, Purpose
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.app import build
from textgrad_mcp.server.messages import completion_of, message_request
from textgrad_mcp.server.state_key import kept_key

from .helpers import Tools, endpoint
from .standin import StandIn
from .tour import SUMS, assistant, sums

Mode = Literal["legacy", "auto"]
BOTH = pytest.mark.parametrize("mode", ["legacy", "auto"])
EXACT = {"kind": "metric", "metric": "exact_match", "inputs": {"output": "v4", "answer": "v3"}}
Answer = CreateMessageResult | ErrorData


class Model:
    """A client's model: does sums as told, and refuses when scripted.

    It answers nothing before `wanted` requests were under way at once, and keeps the `most`.
    """

    def __init__(self, fail_after: int | None = None, wanted: int = 1) -> None:
        self.asked: list[CreateMessageRequestParams] = []
        self.at_once = 0
        self.most = 0
        self.fail_after = fail_after
        self.wanted = wanted
        self.enough = asyncio.Event()

    async def __call__(
        self, context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> Answer:
        self.asked.append(params)
        if self.fail_after is not None and len(self.asked) > self.fail_after:
            return ErrorData(code=-1, message="The user declined.")
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        if self.at_once >= self.wanted:
            self.enough.set()
        await self.enough.wait()
        self.at_once -= 1
        return said(self.reply(params))

    def reply(self, params: CreateMessageRequestParams) -> str:
        prompt = prompt_of(params)
        if prompt in SUMS:
            return SUMS[prompt] if "digits" in (params.system_prompt or "") else "Two, I say."
        if '"value"' in prompt:
            return '{"value": "Answer with digits only."}'
        return '{"v1": "Ask for digits only."}'


def prompt_of(params: CreateMessageRequestParams) -> str:
    content = params.messages[-1].content
    assert isinstance(content, TextContent)
    return content.text


def said(text: str, stop: str = "endTurn") -> CreateMessageResult:
    return CreateMessageResult(
        role="assistant",
        content=TextContent(type="text", text=text),
        model="the client's",
        stop_reason=stop,
    )


def sampled(tmp_path: Path, **fields: Any) -> Settings:
    role = RoleSettings(answerer="sampling")
    given: dict[str, Any] = {"database": tmp_path / "t.db", "forward": role, "backward": role}
    return Settings(**(given | fields))


def drive(
    main: Callable[[Tools], Awaitable[None]], settings: Settings, mode: Mode, model: Model | None
) -> None:
    async def run() -> None:
        async with Client(build(settings), mode=mode, sampling_callback=model) as client:
            await main(Tools(client))

    asyncio.run(run())


@BOTH
def test_the_clients_model_writes_a_whole_step_and_nothing_is_asked_twice(
    tmp_path: Path, mode: Mode
) -> None:
    model = Model()

    async def main(call: Tools) -> None:
        s = await sums(call)
        assert (await call("forward", session_id=s))["status"] == "done"
        assert (await call("compute_loss", session_id=s, **EXACT))["mean_score"] == 0.0
        assert (await call("backward", session_id=s))["gradients"][0]["variable"] == "v1"
        assert (await call("step", session_id=s, accept="if_better"))["accepted"]
        assert (await call("evaluate", session_id=s))["mean_score"] == 1.0
        calls = (await call("inspect", session_id=s, what="calls"))["view"]["calls"]
        assert {c["answerer"] for c in calls} == {"sampling"}
        assert {c["model"] for c in calls} == {"the client's"}
        assert len(calls) == len(model.asked)

    drive(main, sampled(tmp_path), mode, model)
    prompts = [(p.system_prompt, prompt_of(p)) for p in model.asked]
    assert len(set(prompts)) == len(prompts)


@BOTH
def test_a_wavefront_is_asked_for_at_once_and_within_the_bound_on_older_sessions(
    tmp_path: Path, mode: Mode
) -> None:
    most = 3 if mode == "auto" else 2
    model = Model(wanted=most)
    role = RoleSettings(answerer="sampling", concurrency=2)

    async def main(call: Tools) -> None:
        s = await sums(call)
        assert (await call("forward", session_id=s, examples="validation"))["status"] == "done"

    drive(main, sampled(tmp_path, forward=role), mode, model)
    assert model.most == most


@BOTH
def test_a_client_without_sampling_gets_the_prompts(tmp_path: Path, mode: Mode) -> None:
    async def main(call: Tools) -> None:
        s = await sums(call)
        result = await call("forward", session_id=s)
        assert result["status"] == "needs_completions"
        assert len(result["pending"]) == 2
        assert any("no sampling" in note for note in result["notes"])

    drive(main, sampled(tmp_path), mode, None)


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


@BOTH
def test_only_roles_that_are_sampling_go_to_the_client(tmp_path: Path, mode: Mode) -> None:
    model = Model()

    async def main(call: Tools) -> None:
        s = await sums(call)
        asked = {"operation": "external", "function": "Count.", "inputs": {"text": "v4"}}
        counted = await call("forward", session_id=s, **asked)
        assert {p["purpose"].partition(":")[0] for p in counted["pending"]} == {"external"}
        counts = {p["id"]: "1" for p in counted["pending"]}
        assert (await call("resume", session_id=s, completions=counts))["status"] == "done"

    drive(main, sampled(tmp_path), mode, model)
    assert len(model.asked) == 2


@BOTH
def test_an_endpoint_forward_and_the_client_backward_work_together(
    tmp_path: Path, mode: Mode
) -> None:
    model = Model()

    async def main(call: Tools) -> None:
        s = await sums(call)
        await call("compute_loss", session_id=s, **EXACT)
        assert (await call("backward", session_id=s))["status"] == "done"
        assert (await call("step", session_id=s))["accepted"]

    with StandIn(rules=[("", "no idea")]) as server:
        drive(main, sampled(tmp_path, forward=endpoint(server)), mode, model)
        assert len(server.log) == 2
    assert len(model.asked) == 2


@BOTH
def test_the_client_forward_and_the_assistant_backward_work_together(
    tmp_path: Path, mode: Mode
) -> None:
    model = Model()

    async def main(call: Tools) -> None:
        s = await sums(call)
        await call("compute_loss", session_id=s, **EXACT)
        result = await call("backward", session_id=s)
        assert [p["purpose"].partition(":")[0] for p in result["pending"]] == ["gradient"]
        given = {p["id"]: assistant(p) for p in result["pending"]}
        assert (await call("resume", session_id=s, completions=given))["status"] == "done"

    drive(main, sampled(tmp_path, backward=RoleSettings(answerer="assistant")), mode, model)
    assert len(model.asked) == 2


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


def test_a_request_carries_what_the_settings_and_the_prompt_say() -> None:
    request = CompletionRequest(
        purpose=Purpose.FORWARD,
        messages=(
            Message(role="system", content="Be terse."),
            Message(role="user", content="What is it?", images=("data:image/png;base64,AAAA",)),
        ),
        model="sonnet",
        params={"temperature": 0, "max_tokens": 77},
    )
    params = message_request(request).params
    assert params.system_prompt == "Be terse."
    assert (params.temperature, params.max_tokens) == (0.0, 77)
    assert params.model_preferences is not None
    assert [m.role for m in params.messages] == ["user", "user"]
    assert completion_of(said("x", "maxTokens")).finish == "length"


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.state-key"
    key = kept_key(path)
    assert key == kept_key(path)
    assert os.stat(path).st_mode & 0o077 == 0
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    path.write_text("short")
    with pytest.raises(OSError, match="no key"):
        kept_key(path)
