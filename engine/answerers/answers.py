"""The answer in what an endpoint sent: apart from the thoughts, and where a parser misplaced it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...schemas.completions import Completion, CompletionRequest
from ..endings import Ending, ending
from ..reasoning import apart, parted
from ..replies import Malformed, parse_object

_SWITCHES = ("/no_think", "/nothink")
_OFF = (False, 0, "none", "off", "disabled", "disable")


def settled(
    completion: Completion, request: CompletionRequest, params: Mapping[str, Any]
) -> Completion:
    """`completion` with its thoughts apart, and with its answer even where the endpoint took that
    for a thought."""
    if not completion.text.strip() and completion.reasoning:
        completion = _found(completion, request, params)
    return apart(completion, request)


def _found(
    completion: Completion, request: CompletionRequest, params: Mapping[str, Any]
) -> Completion:
    """The answer that a reasoning parser put among the thoughts, where it surely is one."""
    if ending(completion.finish) is not Ending.WHOLE:
        return completion
    parts = parted(completion.reasoning)
    if parts.answer != completion.reasoning and parts.answer.strip():
        return completion.model_copy(update={"text": parts.answer, "reasoning": parts.thoughts})
    if _is_whole_object(completion.reasoning, request) or _thinks_not(request, params):
        return completion.model_copy(update={"text": completion.reasoning, "reasoning": ""})
    return completion


def _is_whole_object(text: str, request: CompletionRequest) -> bool:
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    return bare[:1] == "{" and bare[-1:] == "}" and _fits(bare, request)


def _fits(text: str, request: CompletionRequest) -> bool:
    if request.reply is None:
        return False
    try:
        parse_object(text, request.reply)
    except Malformed:
        return False
    return True


def _thinks_not(request: CompletionRequest, params: Mapping[str, Any]) -> bool:
    """Whether this call switches thinking off, so that whatever came back is the answer."""
    said = " ".join(m.content[-200:] for m in request.messages)
    return any(switch in said for switch in _SWITCHES) or _is_off(params)


def _is_off(params: Mapping[str, Any]) -> bool:
    for name, value in params.items():
        if isinstance(value, Mapping):
            about = "think" in name or "reason" in name
            off = about and (value.get("type") in _OFF or value.get("enabled") in _OFF)
            if off or value.get("effort") == "none" or _is_off(value):
                return True
        elif ("think" in name or "reason" in name) and value in _OFF:
            return True
    return False


def of_generation(generation: str, request: CompletionRequest, model: str) -> Completion | None:
    """The completion in what a model wrote and its endpoint refused, where it can be read."""
    if not generation or not _fits(generation, request):
        return None
    return Completion(text=generation, model=model)
