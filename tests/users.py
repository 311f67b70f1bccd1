"""An HTTP server as a process, and users who show it their tokens."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from textgrad_mcp.schemas.settings import Settings

Mode = Literal["legacy", "auto"]
SERVE = """
import json, resource, sys, uvicorn, socket
from pathlib import Path
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server import connections
from textgrad_mcp.server.http import HttpOptions, server_of
settings, options, limits, files = map(json.loads, sys.argv[1:])
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
for name, value in limits.items():
    assert hasattr(connections, name)
    setattr(connections, name, value)
listening = socket.socket(proto=socket.IPPROTO_TCP)  # or asyncio would not switch Nagle off
listening.bind(("127.0.0.1", 0))
listening.listen(64)
port = listening.getsockname()[1]
given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
given["tokens"] = Path(options["tokens"]) if options["tokens"] else None
server = server_of(Settings.model_validate(settings), HttpOptions(port=port, **given))
print(f"http://127.0.0.1:{port}", flush=True)
server.run(sockets=[listening])
"""


@contextmanager
def served(
    settings: Settings,
    tokens: Path | None = None,
    errors: Path | None = None,
    *,
    files: int = 0,
    limits: Mapping[str, float] | None = None,
    **options: Any,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process with these settings, its address first; what it says goes to `errors`.

    `options` are those of HTTP, `limits` replace constants of its connections, and it may have so
    many `files` open.
    """
    given = {"per_minute": 60000, "burst": 1000, "tokens": str(tokens or "")} | options
    spoken = settings.model_dump(mode="json", exclude_defaults=True)
    told = [json.dumps(one) for one in (spoken, given, limits or {}, files)]
    with (
        open(errors or "/dev/null", "a") as said,
        subprocess.Popen(
            [sys.executable, "-c", SERVE, *told], stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()
            process.wait(timeout=20)


@asynccontextmanager
async def user(url: str, token: str, mode: Mode = "auto", **more: Any) -> AsyncIterator[Client]:
    """A client that shows `token`, of the older protocol with mode `legacy`."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode, **more) as client,
    ):
        yield client


def as_user(
    url: str, token: str, main: Callable[[Client], Awaitable[Any]], mode: Mode = "auto"
) -> Any:
    """What `main` gives with a client that shows `token`."""

    async def run() -> Any:
        async with user(url, token, mode) as client:
            return await main(client)

    return asyncio.run(run())
