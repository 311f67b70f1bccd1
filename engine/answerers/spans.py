"""A span around each completion, by OpenTelemetry's conventions for generative AI.

Only OpenTelemetry's API is used: a span costs next to nothing until whoever runs the engine sets
up an exporter. Words of prompts and replies stay out of it unless the environment asks for them
with OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT; keys, and what an endpoint says about an
error (it may quote the prompt), always do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind, StatusCode, get_tracer

from ...schemas.completions import Completion, CompletionRequest, Message
from . import Attempt

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURED = frozenset({"true", "1", "span_only", "span_and_event"})
_NUMBERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
tracer = get_tracer("textgrad-mcp")
"""Where our spans begin: with whatever keeps them in this process."""


class CompletionSpan:
    """The span of one completion: of all its attempts, with the pauses between them."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._attempts = 0
        self.outcome = ""

    def attempted(self, attempt: Attempt) -> Attempt:
        """Note one attempt, which is given back; a failed one becomes an event that says of which
        kind, in one word."""
        self._attempts += 1
        self._span.set_attribute("textgrad.attempts", self._attempts)
        if attempt.outcome != "ok":
            self.outcome = attempt.outcome
            facts: dict[str, str | float] = {"error.type": attempt.outcome}
            facts["textgrad.seconds"] = attempt.latency
            self._span.add_event("textgrad.attempt_failed", facts)
        return attempt

    def answered(self, completion: Completion) -> None:
        """Note what came back and how long it was, in tokens."""
        usage = completion.usage
        facts: dict[str, Any] = {"gen_ai.response.finish_reasons": [completion.finish]}
        if completion.model:
            facts["gen_ai.response.model"] = completion.model
        counts = {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        }
        self._span.set_attributes(facts | {name: n for name, n in counts.items() if n})
        if captures_words():
            said = _message("assistant", completion.text) | {"finish_reason": completion.finish}
            self._span.set_attribute("gen_ai.output.messages", _json([said]))


@contextmanager
def completion_span(
    request: CompletionRequest, body: Mapping[str, Any], base_url: str
) -> Iterator[CompletionSpan]:
    """A client span of a call that sends `body` to the endpoint at `base_url`.

    An error leaves it marked with its kind alone.
    """
    with tracer.start_as_current_span(
        f"chat {body['model']}",
        kind=SpanKind.CLIENT,
        attributes=_asked(request, body) | _server(base_url),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        kept = CompletionSpan(span)
        try:
            yield kept
        except BaseException as error:
            span.set_attribute("error.type", kept.outcome or type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise


def captures_words() -> bool:
    """Whether the environment asks for the words of prompts and replies in spans."""
    return os.environ.get(CAPTURE, "").strip().lower() in _CAPTURED


def _asked(request: CompletionRequest, body: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.output.type": "text" if request.reply is None else "json",
        "gen_ai.request.model": body["model"],
        "textgrad.purpose": str(request.purpose),
    }
    for name, attribute in _NUMBERS.items():
        if type(body.get(name)) in (int, float):
            facts[attribute] = body[name]
    if captures_words():
        facts |= _words(request)
    return facts


def _server(base_url: str) -> dict[str, Any]:
    address = urlsplit(base_url)
    port = address.port or {"https": 443, "http": 80}.get(address.scheme)
    return {"server.address": address.hostname or "", "server.port": port or 0}


def _words(request: CompletionRequest) -> dict[str, str]:
    """The prompt; images are left out, since each may be megabytes long."""
    said = [m for m in request.messages if m.role != "system"]
    facts = {"gen_ai.input.messages": _json([_of(m) for m in said])}
    if request.system is not None:
        facts["gen_ai.system_instructions"] = _json([_text(request.system)])
    return facts


def _of(message: Message) -> dict[str, Any]:
    return _message(message.role, message.content)


def _message(role: str, words: str) -> dict[str, Any]:
    return {"role": role, "parts": [_text(words)]}


def _text(words: str) -> dict[str, str]:
    return {"type": "text", "content": words}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
