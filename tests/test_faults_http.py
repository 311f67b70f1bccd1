"""A client over HTTP that goes away in the middle of a call that is paid for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from .helpers import Tools, served_by
from .standin import StandIn
from .test_http import SERVE
from .test_ledger import prompts

N = 6
WITH_SETTINGS = SERVE.replace(
    "Settings(database=Path(sys.argv[1]))", "Settings.model_validate_json(sys.argv[1])"
)


@contextmanager
def over_http(path: Path, endpoint: StandIn) -> Iterator[str]:
    """The address of a server process whose model the stand-in is."""
    settings = served_by(endpoint, path, minibatch=N).model_dump_json(exclude_defaults=True)
    command = [sys.executable, "-c", WITH_SETTINGS, settings, ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.mark.requirement("cancelled")
@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_what_was_under_way_for_a_client_that_hung_up_is_kept_for_the_next(
    tmp_path: Path, mode: Literal["legacy", "auto"]
) -> None:
    async def leave(url: str, endpoint: StandIn) -> str:
        async with Client(streamable_http_client(f"{url}/mcp"), mode=mode) as client:
            call = Tools(client)
            s = str((await call("create_variable", role="p", value="P"))["session_id"])
            await call("create_variable", session_id=s, role="q", example_field="q")
            made = {"operation": "llm", "system": "v1", "inputs": {"q": "v2"}}
            await call("forward", session_id=s, **made)
            rows = [{"q": f"q{n}"} for n in range(N)]
            await call("add_examples", session_id=s, split="train", examples=rows)
            begun = asyncio.create_task(call.raw("forward", {"session_id": s}))
            await asyncio.to_thread(endpoint.wait_for, lambda it: it.in_flight == N)
            begun.cancel()
            await asyncio.gather(begun, return_exceptions=True)
        return s

    async def go_on(url: str, s: str) -> int:
        async with Client(streamable_http_client(f"{url}/mcp"), mode=mode) as client:
            return len((await Tools(client)("resume", session_id=s))["values"])

    with StandIn(paused=True) as endpoint, over_http(tmp_path / "t.db", endpoint) as url:
        s = asyncio.run(leave(url, endpoint))
        endpoint.resume()
        assert asyncio.run(go_on(url, s)) == N
        assert sorted(prompts(endpoint)) == [f"q{n}" for n in range(N)]
