"""A completion request as the protocol's sampling message, and its reply as a completion."""

from __future__ import annotations

from typing import Any

from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ImageContent,
    ModelHint,
    ModelPreferences,
    SamplingMessage,
    TextContent,
)

from ..schemas.completions import Completion, CompletionRequest, Message
from ..schemas.text import storable

MAX_TOKENS = 4096
"""Asked for where the settings name no max_tokens; the protocol wants a number."""
MODEL_CHARS = 200
FINISH = {"endTurn": "stop", "stopSequence": "stop", "maxTokens": "length"}


def message_request(request: CompletionRequest) -> CreateMessageRequest:
    """What the client's model is asked. A reply's form stands in words within the prompt."""
    params = request.params
    return CreateMessageRequest(
        params=CreateMessageRequestParams(
            messages=[m for message in request.messages for m in _messages(message)],
            system_prompt=request.system,
            max_tokens=_most(params),
            temperature=_number(params.get("temperature")),
            model_preferences=_preferences(request.model),
        )
    )


def completion_of(reply: CreateMessageResult | CreateMessageResultWithTools) -> Completion:
    """The text of a reply, fit to be stored, why it ended, and which model wrote it."""
    content = reply.content if isinstance(reply.content, list) else [reply.content]
    text = "".join(block.text for block in content if isinstance(block, TextContent))
    ended = reply.stop_reason or "endTurn"
    model = storable(reply.model[:MODEL_CHARS])
    return Completion(text=storable(text), finish=FINISH.get(ended, "stop"), model=model)


def _messages(message: Message) -> list[SamplingMessage]:
    """One message for the text and one for each image, as every revision of the protocol has it."""
    if message.role == "system":
        return []
    blocks: list[TextContent | ImageContent] = [TextContent(type="text", text=message.content)]
    blocks += [_image(url) for url in message.images]
    return [SamplingMessage(role=message.role, content=block) for block in blocks]


def _image(url: str) -> ImageContent:
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return ImageContent(type="image", data=data, mime_type=kind)


def _preferences(model: str) -> ModelPreferences | None:
    return ModelPreferences(hints=[ModelHint(name=model)]) if model else None


def _most(params: dict[str, Any]) -> int:
    for name in ("max_tokens", "max_completion_tokens"):
        if isinstance(params.get(name), int):
            return int(params[name])
    return MAX_TOKENS


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
