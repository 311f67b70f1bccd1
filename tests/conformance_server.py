"""A test-only server: ours, with the fixtures that the official conformance suite calls.

python tests/conformance_server.py DATABASE
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    AudioContent,
    CallToolResult,
    CreateMessageResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SetLevelRequestParams,
    TextContent,
    TextResourceContents,
)
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.http import serve as http
from textgrad_mcp.server.protocol.app import TextGradServer, build

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests import conformance_rounds
from tests.conformance_rounds import Ctx, question, said

PAUSE = 0.05


def _png() -> bytes:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def _wav() -> bytes:
    """Eight silent samples."""
    data = b"\x80" * 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


PNG = _png()
IMAGE = ImageContent(type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png")
AUDIO = AudioContent(type="audio", data=base64.b64encode(_wav()).decode(), mime_type="audio/wav")


def _embedded(uri: str, mime: str, text: str) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=mime, text=text)
    return EmbeddedResource(type="resource", resource=contents)


async def test_simple_text() -> CallToolResult:
    """Returns text."""
    return said("This is a simple text response for testing.")


async def test_image_content() -> CallToolResult:
    """Returns an image."""
    return CallToolResult(content=[IMAGE])


async def test_audio_content() -> CallToolResult:
    """Returns a sound."""
    return CallToolResult(content=[AUDIO])


async def test_embedded_resource() -> CallToolResult:
    """Returns a resource."""
    text = "This is an embedded resource content."
    return CallToolResult(content=[_embedded("test://embedded-resource", "text/plain", text)])


async def test_multiple_content_types() -> CallToolResult:
    """Returns text, an image and a resource."""
    data = json.dumps({"test": "data", "value": 123})
    resource = _embedded("test://mixed-content-resource", "application/json", data)
    words = TextContent(type="text", text="Multiple content types test:")
    return CallToolResult(content=[words, IMAGE, resource])


async def test_tool_with_logging(ctx: Ctx) -> CallToolResult:
    """Sends three log messages."""
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", words, related_request_id=ctx.request_id)
        await asyncio.sleep(PAUSE)
    return said("Logged.")


async def test_logging_tool(ctx: Ctx) -> CallToolResult:
    """The same."""
    return await test_tool_with_logging(ctx)


async def test_error_handling() -> CallToolResult:
    """Always fails."""
    raise ToolError("This tool intentionally returns an error for testing")


async def test_tool_with_progress(ctx: Ctx) -> CallToolResult:
    """Reports progress three times."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await asyncio.sleep(PAUSE)
    return said("Done.")


async def test_sampling(ctx: Ctx, prompt: str) -> CallToolResult:
    """Asks the client's model over the back-channel."""
    known = ctx.client_capabilities
    if known is None or known.sampling is None:
        raise ToolError("This client offers no sampling.")
    related = ServerMessageMetadata(related_request_id=ctx.request_id)
    reply = await ctx.session.send_request(
        question(prompt, 100), CreateMessageResult, metadata=related
    )
    return said(f"LLM response: {reply.content.text if reply.content.type == 'text' else ''}")


async def _elicit(ctx: Ctx, message: str, schema: dict[str, Any]) -> str:
    known = ctx.client_capabilities
    if known is None or known.elicitation is None:
        raise ToolError("This client offers no elicitation.")
    reply = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"action={reply.action}, content={json.dumps(reply.content)}"


async def test_elicitation(ctx: Ctx, message: str) -> CallToolResult:
    """Asks the user for a name and an address."""
    fields = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return said(f"User response: {await _elicit(ctx, message, schema)}")


async def test_elicitation_sep1034_defaults(ctx: Ctx) -> CallToolResult:
    """Asks with a default for every kind of field."""
    fields = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "default": True},
    }
    schema = {"type": "object", "properties": fields, "required": []}
    return said(f"Elicitation completed: {await _elicit(ctx, 'Please check.', schema)}")


async def test_elicitation_sep1330_enums(ctx: Ctx) -> CallToolResult:
    """Asks with every kind of choice."""
    plain = ["option1", "option2", "option3"]
    titles = ("First", "Second", "Third")

    def titled(word: str) -> list[dict[str, str]]:
        return [{"const": f"value{n}", "title": f"{t} {word}"} for n, t in enumerate(titles, 1)]

    fields = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}},
    }
    schema = {"type": "object", "properties": fields, "required": []}
    return said(f"Elicitation completed: {await _elicit(ctx, 'Please choose.', schema)}")


async def test_trigger_tool_change(ctx: Ctx) -> CallToolResult:
    """Says that the tools changed."""
    await ctx.notify_tools_changed()
    return said("Said so.")


async def test_trigger_prompt_change(ctx: Ctx) -> CallToolResult:
    """Says that the prompts changed."""
    await ctx.notify_prompts_changed()
    return said("Said so.")


def test_simple_prompt() -> str:
    """A prompt without arguments."""
    return "This is a simple prompt for testing."


def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803
    """A prompt with a resource in it."""
    resource = _embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]


def test_prompt_with_image() -> list[UserMessage]:
    """A prompt with an image in it."""
    return [UserMessage(IMAGE), UserMessage("Please analyze the image above.")]


async def json_schema_2020_12_tool(ctx: Ctx) -> CallToolResult:
    """Carries a rich schema."""
    return said("Rich.")


async def test_custom_header(region: str) -> CallToolResult:
    """Has an argument that clients repeat in a header."""
    return said(region)


RICH = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
MIRRORED = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "json_schema_2020_12_tool": RICH,
    "test_custom_header": MIRRORED,
}
TOOLS: list[Callable[..., Any]] = [
    json_schema_2020_12_tool,
    test_custom_header,
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_tool_with_logging,
    test_logging_tool,
    test_error_handling,
    test_tool_with_progress,
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_trigger_tool_change,
    test_trigger_prompt_change,
    *conformance_rounds.TOOLS,
]
PROMPTS: list[Callable[..., Any]] = [
    test_simple_prompt,
    test_prompt_with_arguments,
    test_prompt_with_embedded_resource,
    test_prompt_with_image,
    conformance_rounds.test_input_required_result_prompt,
]


def _add_resources(server: TextGradServer) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        return PNG

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        return "Watched."

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002 - the suite's name
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


async def _set_level(ctx: ServerRequestContext[Any, Any], _: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()


def with_fixtures(settings: Settings) -> TextGradServer:
    """Our server, with what the suite calls."""
    server = build(settings)
    for tool in TOOLS:
        server.add_tool(tool, structured_output=False)
    for name, schema in SCHEMAS.items():
        if (added := server._tool_manager.get_tool(name)) is not None:
            added.parameters = schema
    for prompt in PROMPTS:
        server.add_prompt(Prompt.from_function(prompt))
    _add_resources(server)
    low = server._lowlevel_server
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, _set_level)
    return server


def main(database: Path) -> None:
    """Serve on loopback as the command line would, guards included; prints the address first."""
    vars(http)["build"] = with_fixtures  # the rest of the application is as it is
    options = http.HttpOptions(per_minute=1e6, burst=1e6)  # the suite is one busy caller
    server = http.server_of(Settings(database=database), options)
    with socket.create_server((options.host, 0)) as listener:
        print(f"http://{options.host}:{listener.getsockname()[1]}/mcp", flush=True)
        server.run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
