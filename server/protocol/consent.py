"""Consent: a script that an assistant wrote is run as an evaluator only if a person agrees.

Asked is whoever sits at the client, by elicitation: as an input request of a multi-round-trip
result (2026-07-28), or over the back-channel of older sessions. Only where the client's person is
the operator's own, on a local server: others could agree to what they wrote themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ...schemas.errors import BadInput, Conflict, TextGradError
from . import shapes
from .calls import refusal
from .principal import LOCAL

if TYPE_CHECKING:  # imported when a tool is first called: it takes a fifth of the start
    from ...engine.engine import Engine

MARK = "textgrad-consent "
ASKED = "consent"
SHOWN = 8000
"""Characters of a script that the question shows."""
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "run": {"type": "boolean", "title": "Run this script", "default": False},
    },
    "required": ["run"],
}
TOOLS = ("compute_loss", "optimize_prompt")
Answer = CallToolResult | InputRequiredResult | None


async def ask(name: str, arguments: Mapping[str, Any], ctx: Context[Any, Any]) -> Answer:
    """Ask for what a call needs consent for; None where the call can go on."""
    given = arguments.get("evaluator")
    if name not in TOOLS or not isinstance(given, str):
        return None
    host = ctx.request_context.lifespan_context
    engine: Engine = await host.engine()
    script = shapes.bare(given)
    if not engine.parts.scripts.is_script(script):
        return None
    try:
        found, text = await asyncio.to_thread(engine.parts.scripts.read, script)
    except TextGradError:
        return None  # the tool says what is wrong with it
    how = engine.settings.workspace_evaluators
    if engine.parts.scripts.agreed(found) or how == "off":
        return None
    if how == "allow":
        engine.parts.scripts.agree(found, text)
        return None
    known = ctx.client_capabilities
    if known is None or known.elicitation is None or host.owner(ctx) != LOCAL:
        return None
    try:
        return await _asked(engine, ctx, found, text)
    except BadInput as error:
        return refusal(error)


async def _asked(engine: Engine, ctx: Context[Any, Any], found: str, text: str) -> Answer:
    words = _question(found, text)
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        if ctx.request_state != MARK + found:
            form = ElicitRequestFormParams(message=words, requested_schema=FORM)
            asked: dict[str, InputRequest] = {ASKED: ElicitRequest(params=form)}
            return InputRequiredResult(input_requests=asked, request_state=MARK + found)
        reply: Any = (ctx.input_responses or {}).get(ASKED)
    else:
        try:
            reply = await ctx.session.elicit_form(words, FORM, related_request_id=ctx.request_id)
        except MCPError as error:
            raise BadInput(
                "The client could not ask the person whether the script may be run.",
                "Run it yourself: compute_loss(kind='feedback', instruction=...).",
            ) from error
    if not _agrees(reply):
        why = Conflict(
            "The person did not agree that the script is run.",
            "Ask what is wrong with it; or measure another way, for example with kind='judge'.",
        )
        return refusal(why)
    engine.parts.scripts.agree(found, text)
    return None


def _question(found: str, text: str) -> str:
    path = found.rpartition("@")[0]
    more = f"\n[... {len(text) - SHOWN:,} more characters]" if len(text) > SHOWN else ""
    return (
        f"May textgrad run the script {path} of the workspace as a scorer, as it is now, until the "
        "server ends? It runs with your rights, within limits of time and memory, for every text "
        f"that is scored.\n\n{text[:SHOWN]}{more}"
    )


def _agrees(reply: Any) -> bool:
    if not isinstance(reply, ElicitResult) or reply.action != "accept":
        return False
    return (reply.content or {}).get("run") is True
