"""A client whose model writes what is asked by sampling, and settings that ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ErrorData,
    TextContent,
)
from textgrad_mcp.schemas.settings import RoleSettings, Settings
from textgrad_mcp.server.protocol.app import build

from .helpers import Tools
from .tour import SUMS

Mode = Literal["legacy", "auto"]
BOTH = pytest.mark.parametrize("mode", ["legacy", "auto"])
EXACT = {"kind": "metric", "metric": "exact_match", "inputs": {"output": "v4", "answer": "v3"}}
Answer = CreateMessageResult | ErrorData


class Model:
    """A client's model: does sums as told, and refuses when scripted.

    It answers nothing before `wanted` requests were under way at once, and keeps the `most`.
    """

    def __init__(self, fail_after: int | None = None, wanted: int = 1) -> None:
        self.asked: list[CreateMessageRequestParams] = []
        self.at_once = 0
        self.most = 0
        self.fail_after = fail_after
        self.wanted = wanted
        self.enough = asyncio.Event()

    async def __call__(
        self, context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> Answer:
        """Its answer, or its refusal."""
        self.asked.append(params)
        if self.fail_after is not None and len(self.asked) > self.fail_after:
            return ErrorData(code=-1, message="The user declined.")
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        if self.at_once >= self.wanted:
            self.enough.set()
        await self.enough.wait()
        self.at_once -= 1
        return said(self.reply(params))

    def reply(self, params: CreateMessageRequestParams) -> str:
        """What it says."""
        prompt = prompt_of(params)
        if prompt in SUMS:
            return SUMS[prompt] if "digits" in (params.system_prompt or "") else "Two, I say."
        if '"value"' in prompt:
            return '{"value": "Answer with digits only."}'
        return '{"v1": "Ask for digits only."}'


def prompt_of(params: CreateMessageRequestParams) -> str:
    """The last message's text."""
    content = params.messages[-1].content
    assert isinstance(content, TextContent)
    return content.text


def said(text: str, stop: str = "endTurn") -> CreateMessageResult:
    """A reply of the client's model."""
    return CreateMessageResult(
        role="assistant",
        content=TextContent(type="text", text=text),
        model="the client's",
        stop_reason=stop,
    )


def sampled(tmp_path: Path, **fields: Any) -> Settings:
    """Settings in which the client answers everything, but for what `fields` say."""
    role = RoleSettings(answerer="sampling")
    given: dict[str, Any] = {"database": tmp_path / "t.db", "forward": role, "backward": role}
    return Settings(**(given | fields))


def drive(
    main: Callable[[Tools], Awaitable[None]], settings: Settings, mode: Mode, model: Model | None
) -> None:
    """Run `main` with a client in memory that samples by `model`, or does not sample."""

    async def run() -> None:
        async with Client(build(settings), mode=mode, sampling_callback=model) as client:
            await main(Tools(client))

    asyncio.run(run())
