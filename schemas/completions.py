"""A completion: what is asked of a model (or of whoever runs a black box), and what came back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Purpose(StrEnum):
    """Why a completion is needed. `forward` and `external` run the program; the rest improve it."""

    FORWARD = "forward"
    EXTERNAL = "external"
    JUDGE = "judge"
    GRADIENT = "gradient"
    REDUCE = "reduce"
    UPDATE = "update"
    COMPARE = "compare"


Role = Literal["forward", "backward"]
"""Who serves a call: the program's own model, or the one that criticises and rewrites."""


def role_of(purpose: Purpose) -> Role:
    """The answerer's role that serves `purpose`."""
    return "forward" if purpose in (Purpose.FORWARD, Purpose.EXTERNAL) else "backward"


class Message(BaseModel):
    """One chat message. `images` are data URLs, sent after the text."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str
    images: tuple[str, ...] = ()


class CompletionRequest(BaseModel):
    """What is asked. Two requests with the same key are answered once within a session.

    `reply` is the JSON schema of the reply, or None where any text will do; `sample` tells
    apart several answers to the same words; `by` names the further model that is to answer, where
    that is not the role's own; `about` is for people and is not part of the key.
    """

    model_config = ConfigDict(frozen=True)

    purpose: Purpose
    messages: tuple[Message, ...]
    model: str = ""
    params: dict[str, Any] = Field(default_factory=dict)
    reply: dict[str, Any] | None = None
    sample: int = 0
    by: str = Field(default="", exclude_if=lambda name: not name)
    about: str = ""

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> CompletionRequest:
        """A copy with changes, whose key is computed anew."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("key", None)
        return copy

    @cached_property
    def key(self) -> str:
        """A digest of everything that can change the answer."""
        content = self.model_dump(mode="json", exclude={"about"})
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def answers(self) -> str:
        """Who is to answer, as settings name them: a further model, or the role."""
        return self.by or role_of(self.purpose)

    @property
    def system(self) -> str | None:
        """The system prompt, if there is one."""
        return next((m.content for m in self.messages if m.role == "system"), None)

    @property
    def prompt(self) -> str:
        """Everything but the system prompt, as one text."""
        rest = [m for m in self.messages if m.role != "system"]
        if len(rest) == 1:
            return rest[0].content
        return "\n\n".join(f"[{m.role}]\n{m.content}" for m in rest)


class Usage(BaseModel):
    """What a completion cost. Tokens as the endpoint counted them; `cost` where prices are set."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = None


class Completion(BaseModel):
    """What came back. `finish` is the endpoint's finish reason; `latency` is in seconds.

    `reasoning` is what a reasoning model thought before its answer, which is `text`; `notes` are
    things to know about the endpoint, which are told and not kept.
    """

    text: str
    finish: str = "stop"
    model: str = ""
    usage: Usage = Field(default_factory=Usage)
    latency: float = 0.0
    refusal: str | None = None
    reasoning: str = ""
    notes: tuple[str, ...] = ()


class Pending(BaseModel):
    """A completion nobody has supplied yet: send `system` and `prompt` to a model, or, for an
    external function, run it; hand the text back through `resume` under `id`."""

    id: str
    purpose: str
    system: str | None = None
    prompt: str
