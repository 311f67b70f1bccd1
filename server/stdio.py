"""Standard input and output, where a message that cannot be read is answered, too.

The SDK drops such a line, and whoever sent it waits for an answer until its client gives up.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, RequestId
from pydantic import ValidationError

_PART = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)


async def serve(server: MCPServer[Any]) -> None:
    """Serve one client until it hangs up."""
    low = server._lowlevel_server
    send, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    async with stdio_server() as (incoming, outgoing), anyio.create_task_group() as tasks:
        tasks.start_soon(_relay, incoming, send, outgoing)
        await low.run(received, outgoing, low.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _relay(
    incoming: Any, send: MemoryObjectSendStream[SessionMessage | Exception], outgoing: Any
) -> None:
    """Hand on what can be read; answer the rest."""
    async with send:
        async for item in incoming:
            if isinstance(item, SessionMessage):
                await send.send(item)
            elif (refused := await asyncio.to_thread(_refused, item)) is not None:
                await outgoing.send(SessionMessage(refused))


def _refused(error: Exception) -> JSONRPCError | None:
    """The answer to a line that is no JSON; None where it names no request to be answered."""
    [problem, *_] = error.errors() if isinstance(error, ValidationError) else [None]
    if problem is None or problem["type"] != "json_invalid":
        return None
    request = request_in(str(problem["input"]))
    if request is None:
        return None
    why = str(problem.get("ctx", {}).get("error", "it is no JSON"))
    words = f"This message cannot be read: {why}. Send it again without what is odd in it."
    return JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=PARSE_ERROR, message=words))


def request_in(line: str) -> RequestId | None:
    """The id of the request in a line that may be broken further on; None if there is none."""
    depth, last = 0, ["", ""]
    for found in _PART.finditer(line):
        part = found[0]
        if depth == 1 and last == ['"id"', ":"]:
            return _as_id(part)
        depth += (part in "{[") - (part in "}]")
        last = [last[1], part]
    return None


def _as_id(part: str) -> RequestId | None:
    try:
        value = json.loads(part)
        str(value).encode()
    except ValueError:
        return None
    return value if isinstance(value, str) or type(value) is int else None
