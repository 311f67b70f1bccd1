"""The sampling answerer: the client's own model writes what a run needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server.request_state import InvalidRequestState
from textgrad_mcp.schemas.completions import CompletionRequest, Message, Purpose
from textgrad_mcp.schemas.settings import RoleSettings
from textgrad_mcp.server.protocol.app import build
from textgrad_mcp.server.protocol.request_state import SharedSeal
from textgrad_mcp.server.protocol.sampling_messages import completion_of, message_request

from ...client_model import BOTH, EXACT, Mode, Model, drive, prompt_of, said, sampled
from ...helpers import Tools, endpoint
from ...standin import StandIn
from ...tour import assistant, over_stdio, sums
from ...whole.test_eras import over_http


@pytest.mark.requirement("asked-once")
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


@BOTH
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_clients_model_is_asked_over_the_wire_too(
    tmp_path: Path, mode: Mode, transport: str
) -> None:
    settings = sampled(tmp_path)
    model = Model()

    async def run(server: Any) -> None:
        async with Client(server, mode=mode, sampling_callback=model) as client:
            call = Tools(client)
            s = await sums(call)
            assert (await call("forward", session_id=s))["status"] == "done"

    if transport == "stdio":
        asyncio.run(run(over_stdio(settings)))
    else:
        with over_http(build(settings)) as url:
            asyncio.run(run(url))
    assert len(model.asked) == 2


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


@pytest.mark.requirement("any-replica")
def test_what_one_server_sealed_another_opens_with_the_same_key_and_none_without_it() -> None:
    async def key() -> str:
        return "k" * 64

    async def another() -> str:
        return "a" * 64

    async def main() -> None:
        one, other, stranger = SharedSeal(), SharedSeal(), SharedSeal()
        await one.ready(key)
        token = one.seal(b"round 2")
        with pytest.raises(InvalidRequestState):
            other.unseal(token)
        await other.ready(key)
        await stranger.ready(another)
        assert other.unseal(token) == b"round 2"
        with pytest.raises(InvalidRequestState):
            stranger.unseal(token)

    asyncio.run(main())
