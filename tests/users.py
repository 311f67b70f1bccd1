"""An HTTP server as a process, and users who show it their tokens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from textgrad_mcp.schemas.settings import Settings

Mode = Literal["legacy", "auto"]
SERVE = """
import sys, uvicorn, socket
from pathlib import Path
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.http import HttpOptions, server_of
listening = socket.socket(proto=socket.IPPROTO_TCP)  # or asyncio would not switch Nagle off
listening.bind(("127.0.0.1", 0))
listening.listen(64)
port = listening.getsockname()[1]
tokens = Path(sys.argv[2]) if sys.argv[2] else None
rate = {"per_minute": float(sys.argv[3]), "burst": float(sys.argv[4])}
options = HttpOptions(port=port, tokens=tokens, **rate)
server = server_of(Settings.model_validate_json(sys.argv[1]), options)
print(f"http://127.0.0.1:{port}", flush=True)
server.run(sockets=[listening])
"""


@contextmanager
def served(
    settings: Settings,
    tokens: Path | None = None,
    errors: Path | None = None,
    per_minute: int = 60000,
    burst: int = 1000,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process with these settings, its address first; what it says goes to `errors`."""
    spoken = settings.model_dump_json(exclude_defaults=True)
    command = [sys.executable, "-c", SERVE, spoken, str(tokens or "")]
    command += [str(per_minute), str(burst)]
    with (
        open(errors or "/dev/null", "a") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
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
