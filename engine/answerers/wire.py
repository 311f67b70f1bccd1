"""Chat completions on the wire: a request as the endpoint's body, and the body it sends back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from ...schemas.completions import Completion, CompletionRequest, Message, Usage
from ...schemas.errors import BadInput
from ...schemas.settings import ReplyFormat, RoleSettings
from ...schemas.text import storable
from .bodies import Said, said_by

FORMATS: tuple[ReplyFormat, ...] = ("schema", "object", "text")
"""How a reply of a given shape can be asked for, from the strictest to the plainest."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = ("content-length", "content-type", "host", "connection", "transfer-encoding")
_ERRORS = frozenset({"errors", "detail", "message", "msg"})
"""Keys of a body without choices that hold an error."""
RESERVED = ("messages", "model", "n", "stream", "stream_options")


class MalformedError(Exception):
    """A body that is not a chat completion. `again` tells whether another try may get one."""

    def __init__(self, what: str, again: bool = True) -> None:
        super().__init__(what)
        self.again = again


class WrappedError(Exception):
    """An error that came with status 200, as some routers send them."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.words)
        self.said = said


class BrokenOffError(Exception):
    """A reply that ended for a `reason` of the endpoint's own, so that it is not whole.

    `known` tells whether that reason is known to mean so.
    """

    def __init__(self, reason: str, *, known: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.known = known


def check_params(params: Mapping[str, Any]) -> None:
    """Raise BadInput for sampling parameters that would change what is asked or how it returns."""
    for name in RESERVED:
        if name in params:
            raise BadInput(
                f"params may not hold {name!r}.", "Remove it: the server sets it for each call."
            )


def check_headers(headers: Mapping[str, SecretStr]) -> dict[str, str]:
    """The headers as they are sent. Raises BadInput for one that cannot be, without its value."""
    sent = {name.strip(): value.get_secret_value().strip() for name, value in headers.items()}
    for name, value in sent.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise BadInput(f"headers may not hold {name!r}.", "Name one that a gateway asks for.")
        if not (value.isascii() and value.isprintable()):
            raise BadInput(f"The header {name} cannot have this value.", "Copy it again.")
    return sent


def check_base_url(url: str) -> None:
    """Raise BadInput for an address that no call can be sent to."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise BadInput(
            "base_url must be an http or https address.",
            "Give it in full, for example http://127.0.0.1:8080/v1.",
        )


def body_of(
    request: CompletionRequest,
    settings: RoleSettings,
    form: ReplyFormat,
    messages: Sequence[Message] | None = None,
) -> dict[str, Any]:
    """The JSON body of `request`, or of these `messages` instead of its own.

    A `seed` moves with the sample, or all samples would be one.
    """
    params = {**settings.params, **request.params}
    if isinstance(params.get("seed"), int):
        params["seed"] += request.sample
    if request.reply is not None and form != "text":
        params["response_format"] = _response_format(request.reply, form)
    model = request.model or settings.model or "default"
    sent = [_message(message) for message in messages or request.messages]
    return {**params, "model": model, "messages": sent}


def _response_format(schema: dict[str, Any], form: ReplyFormat) -> dict[str, Any]:
    if form == "object":
        return {"type": "json_object"}
    named = {"name": "reply", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def _message(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.content}
    images = [{"type": "image_url", "image_url": {"url": url}} for url in message.images]
    return {"role": message.role, "content": [{"type": "text", "text": message.content}, *images]}


def completion_of(content: bytes, settings: RoleSettings) -> Completion:
    """The completion in a body, as it is: empty, cut-off and refused ones too.

    `latency` is left at 0. Raises MalformedError, or WrappedError for an error sent as a success.
    """
    body = _object(content)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MalformedError("a reply without choices")
    choice = choices[0]
    if choice.get("error"):
        raise WrappedError(said_by(choice["error"]))
    message = choice.get("message")
    if not isinstance(message, dict):
        raise MalformedError("a choice without a message")
    text, thoughts = _parts(message.get("content"))
    return Completion(
        text=text,
        reasoning=thoughts or _reasoning(message),
        finish=_finish(choice, message),
        model=str(body.get("model") or settings.model or ""),
        usage=_usage(body.get("usage"), settings),
        refusal=_refusal(message.get("refusal")),
    )


def _finish(choice: dict[str, Any], message: dict[str, Any]) -> str:
    """The finish reason; that of a call of tools only where there is one."""
    said = str(choice.get("finish_reason") or "stop")
    if said in ("tool_calls", "function_call") and not message.get("tool_calls"):
        return "stop"
    return said


def _object(content: bytes) -> dict[str, Any]:
    if content.lstrip()[:1] == b"<":
        raise MalformedError("a web page instead of JSON", again=False)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise MalformedError("a body that is not JSON") from None
    if isinstance(body, list) and body and isinstance(body[0], dict):
        body = body[0]
    if not isinstance(body, dict):
        raise MalformedError("a body that is not a JSON object")
    if _is_error(body):
        raise WrappedError(said_by(body))
    return body


def _is_error(body: dict[str, Any]) -> bool:
    """Whether a body tells of an error; beside choices only where that has a message."""
    error = body.get("error")
    if body.get("choices"):
        return isinstance(error, str | dict) and bool(said_by(error).words) and error != {}
    return bool(error) or not _ERRORS.isdisjoint(body)


def _parts(content: object) -> tuple[str, str]:
    """The text of a message's content, and what of it is marked as thoughts."""
    if not isinstance(content, list):
        return _text(content), ""
    if not all(isinstance(part, dict) for part in content):
        raise MalformedError("content that is not text", again=False)
    thoughts = [part for part in content if str(part.get("type")) in _THOUGHTS]
    texts = [str(part.get("text") or "") for part in content if part not in thoughts]
    return _text("".join(texts)), _text("".join(map(_thought, thoughts)))


_THOUGHTS = ("thinking", "reasoning", "thought", "redacted_thinking")


def _thought(part: object) -> str:
    """The text in a piece of thought, however deep in it."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(map(_thought, part))
    if isinstance(part, dict):
        return "".join(_thought(part.get(key)) for key in ("thinking", "reasoning", "text"))
    return ""


def _reasoning(message: dict[str, Any]) -> str:
    """The thoughts that stand in a field of their own."""
    for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details"):
        if said := _thought(message.get(name)):
            return _text(said)
    return ""


def _text(content: object) -> str:
    if content is None:
        return ""
    if not isinstance(content, str):
        raise MalformedError("content that is not text", again=False)
    return storable(content)


def _refusal(value: object) -> str | None:
    return _text(value) or None if isinstance(value, str) else None


def _usage(raw: object, settings: RoleSettings) -> Usage:
    if not isinstance(raw, dict):
        return Usage()
    details = raw.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    prompt, completion = _count(raw.get("prompt_tokens")), _count(raw.get("completion_tokens"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=_count(cached),
        cost=_cost(prompt, completion, settings),
    )


def _count(value: object) -> int:
    return min(value, 10**12) if type(value) is int and value > 0 else 0


def _cost(prompt: int, completion: int, settings: RoleSettings) -> float | None:
    """Dollars. None where no price is set; a price that is missing counts as 0."""
    if settings.price_prompt is None and settings.price_completion is None:
        return None
    prices = (settings.price_prompt or 0.0, settings.price_completion or 0.0)
    return (prompt * prices[0] + completion * prices[1]) / 1e6
