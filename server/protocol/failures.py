"""Every failure reaches its caller in words: the one place where all requests pass."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver.exceptions import MCPServerError
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS
from pydantic import ValidationError
from pydantic_core import to_json

from ...schemas.arguments.base import misfits
from ...schemas.errors import BadInput, NotFound, TextGradError, fault
from ...schemas.text import unusable

log = logging.getLogger(__name__)
TAKEN_IN = ("arguments", "inputResponses")


async def in_words(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Serve a request; whatever is wrong with it comes back as a sentence and what to do.

    In the error's data they stand apart. Tools have results of their own for that.
    """
    if ctx.request_id is None:
        return await call_next(ctx)
    try:
        _check(ctx.method, ctx.params or {})
        result = await call_next(ctx)
        to_json(result)  # what cannot be written would take the connection with it
        return result
    except MCPError:
        raise
    except ValidationError as error:
        raise MCPError(INVALID_PARAMS, misfits(ctx.method, error)) from None
    except Exception as error:  # noqa: BLE001 - the last place that can put it into words
        told = explained(error, ctx.method)
        code = INVALID_PARAMS if isinstance(told, BadInput | NotFound) else INTERNAL_ERROR
        data = {"error": told.message, "next": told.next}
        uri = (ctx.params or {}).get("uri")
        if isinstance(uri, str) and not unusable(uri):
            data["uri"] = uri
        raise MCPError(code, str(told), data) from None


def _check(method: str, params: Mapping[str, Any]) -> None:
    """Raises BadInput for what could not even be quoted in an answer. What a tool takes in is its
    own to look at."""
    for key, value in params.items():
        if not (method == "tools/call" and key in TAKEN_IN) and (why := unusable(value)):
            raise BadInput(f"{method}: {key} {why}.", "Leave it out, or change it.")


def explained(error: Exception, doing: str) -> TextGradError:
    """`error`, raised while `doing` something, as one of ours.

    What nobody foresaw is logged whole, under an id that the words name.
    """
    cause = _cause(error)
    if isinstance(cause, TextGradError):
        return cause
    told = fault(doing)
    log.error("%s", told.message, exc_info=cause)
    return told


def _cause(error: BaseException) -> BaseException:
    """What is at the bottom of it, where a library wrapped it."""
    if isinstance(error, BaseExceptionGroup):
        return _cause(error.exceptions[0])
    if isinstance(error, MCPServerError) and error.__cause__ is not None:
        return _cause(error.__cause__)
    return error
