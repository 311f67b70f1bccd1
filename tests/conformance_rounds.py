"""Fixtures of the conformance suite that ask the client for input in rounds (2026-07-28)."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    MissingRequiredClientCapabilityErrorData,
    SamplingCapability,
    SamplingMessage,
    TextContent,
)

Ctx = Context[Any, Any]
Outcome = CallToolResult | InputRequiredResult


def said(text: str) -> CallToolResult:
    """A tool's answer in words."""
    return CallToolResult(content=[TextContent(type="text", text=text)])


def form(message: str, **properties: dict[str, Any]) -> ElicitRequest:
    """A form for the user, every field required."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def question(text: str, most: int) -> CreateMessageRequest:
    """A question for the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    params = CreateMessageRequestParams(messages=[message], max_tokens=most)
    return CreateMessageRequest(params=params)


def asks(state: str | None = None, **requests: InputRequest) -> InputRequiredResult:
    """A round that asks for all of these."""
    return InputRequiredResult(input_requests=requests, request_state=state)


def filled(ctx: Ctx, key: str, field: str) -> Any:
    """What the user wrote into a field of the form `key`; None if the form is not there."""
    response = (ctx.input_responses or {}).get(key)
    if not isinstance(response, ElicitResult) or response.action != "accept":
        return None
    return (response.content or {}).get(field)


STRING = {"type": "string"}
NAME = form("What is your name?", name=STRING)
CONFIRM = form("Please confirm", ok={"type": "boolean"})


async def test_input_required_result_elicitation(ctx: Ctx) -> Outcome:
    """Asks for a name, then greets."""
    name = filled(ctx, "user_name", "name")
    return said(f"Hello, {name}!") if isinstance(name, str) else asks(user_name=NAME)


async def test_input_required_result_sampling(ctx: Ctx) -> Outcome:
    """Asks the client's model for a capital."""
    response = (ctx.input_responses or {}).get("capital_question")
    if isinstance(response, CreateMessageResult) and isinstance(response.content, TextContent):
        return said(response.content.text)
    return asks(capital_question=question("What is the capital of France?", 100))


async def test_input_required_result_list_roots(ctx: Ctx) -> Outcome:
    """Asks for the client's roots, then names them."""
    response = (ctx.input_responses or {}).get("client_roots")
    if isinstance(response, ListRootsResult):
        return said(", ".join(str(root.uri) for root in response.roots))
    return asks(client_roots=ListRootsRequest())


async def test_input_required_result_request_state(ctx: Ctx) -> Outcome:
    """Asks for a confirmation and checks that its state came back."""
    if ctx.request_state == "fixture" and filled(ctx, "confirm", "ok") is not None:
        return said("state-ok")
    return asks("fixture", confirm=CONFIRM)


async def test_input_required_result_tampered_state(ctx: Ctx) -> Outcome:
    """The same; a state that was tampered with must not get as far as here."""
    return await test_input_required_result_request_state(ctx)


async def test_input_required_result_multiple_inputs(ctx: Ctx) -> Outcome:
    """Asks for three things at once."""
    if {"user_name", "greeting", "client_roots"} <= set(ctx.input_responses or {}):
        return said("All there.")
    return asks(
        "three",
        user_name=NAME,
        greeting=question("Generate a greeting", 50),
        client_roots=ListRootsRequest(),
    )


async def test_input_required_result_multi_round(ctx: Ctx) -> Outcome:
    """Asks in two rounds; the second round's state carries the first one's answer."""
    state = ctx.request_state or ""
    if state.startswith("step2:") and (color := filled(ctx, "step2", "color")):
        return said(f"{state.removeprefix('step2:')} likes {color}.")
    if state == "step1" and (name := filled(ctx, "step1", "name")):
        return asks(
            f"step2:{name}", step2=form("Step 2: What is your favorite color?", color=STRING)
        )
    return asks("step1", step1=form("Step 1: What is your name?", name=STRING))


async def test_input_required_result_capabilities(ctx: Ctx) -> Outcome:
    """Asks only for what the client declares."""
    known = ctx.client_capabilities or ClientCapabilities()
    requests: dict[str, InputRequest] = {}
    if known.sampling is not None:
        requests["greeting"] = question("Generate a greeting", 50)
    if known.elicitation is not None:
        requests["user_name"] = NAME
    return asks(None, **requests) if requests and not ctx.input_responses else said("Done.")


async def test_streaming_elicitation(ctx: Ctx) -> Outcome:
    """Asks for a name by its result, never by a request of its own."""
    return await test_input_required_result_elicitation(ctx)


async def test_missing_capability(ctx: Ctx) -> Outcome:
    """Works only for clients that declare sampling."""
    known = ctx.client_capabilities
    if known is None or known.sampling is None:
        needed = ClientCapabilities(sampling=SamplingCapability())
        data = MissingRequiredClientCapabilityErrorData(required_capabilities=needed)
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This tool needs sampling.",
            data.model_dump(by_alias=True, exclude_none=True, mode="json"),
        )
    return said("Sampling is there.")


async def test_input_required_result_prompt(ctx: Ctx) -> str | InputRequiredResult:
    """A prompt that asks for its context first."""
    context = filled(ctx, "user_context", "context")
    if isinstance(context, str):
        return f"Use this context: {context}"
    return asks(user_context=form("What context should the prompt use?", context=STRING))


TOOLS = [
    test_input_required_result_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
    test_input_required_result_capabilities,
    test_streaming_elicitation,
    test_missing_capability,
]
