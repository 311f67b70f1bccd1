"""The demo: a real MCP client drives the real server, which optimises a prompt with a real model.

Nothing is scripted: the scores are whatever the model makes of it, a failed run included.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from pydantic import SecretStr

from ...schemas.errors import TextGradError
from ...schemas.settings import RoleSettings, Settings
from ..local.engine import Endpoint, running
from .report import Outcome
from .screen import Screen
from .tasks import SPLITS, Task, task

SECONDS = 420
"""How long the search may take before it stops and reports."""


class DemoError(TextGradError):
    """A tool call of the demo failed."""


def run(
    name: str,
    settings: Settings,
    *,
    steps: int | None = None,
    seed: int = 0,
    seconds: float = SECONDS,
) -> Outcome:
    """Run the demo; gives what it came to.

    The local model is the one under optimisation. Where `settings` name an endpoint for the
    backward role, that one judges and rewrites; else the local model does that, too.
    """
    chosen = task(name)
    screen = Screen(sys.stderr)
    screen.say(f"textgrad-mcp demo: {chosen.title}")
    screen.say("starting the local model ...")
    with running() as endpoint, tempfile.TemporaryDirectory(prefix="textgrad-demo-") as folder:
        environment = _environment(endpoint, settings, Path(folder))
        try:
            work = _demo(chosen, environment, screen, steps or chosen.steps, seed, seconds)
            outcome = asyncio.run(work)
            page = asyncio.run(_page(Path(folder) / "demo.db", settings))
            return replace(outcome, page=page)
        except BaseExceptionGroup as group:
            raise _cause(group) from group


async def _page(database: Path, settings: Settings) -> str:
    """The address of a file that holds the session's page; it is kept."""
    from ...engine.store import Store
    from ..page.commands import page_of

    store = Store(database)
    await store.open()
    try:
        [session] = await store.maintenance.every_session()
        text = await page_of(store, session, settings, held_out=True)
    finally:
        await store.close()
    file = Path(tempfile.mkdtemp(prefix="textgrad-demo-")) / "page.html"
    file.write_text(text, encoding="utf-8")
    return file.as_uri()


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What the client's task groups wrapped: an error of ours in words, else the group itself."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, MCPError):
        return DemoError(f"The server could not be driven: {first}.", "Its message stands above.")
    return first if isinstance(first, TextGradError | KeyboardInterrupt) else group


def _environment(endpoint: Endpoint, settings: Settings, folder: Path) -> dict[str, str]:
    """What the server's process is told: the endpoints of both roles, a database of its own."""
    prefix = "TEXTGRAD_MCP_"
    told = {k: v for k, v in os.environ.items() if not k.startswith(prefix)}
    told |= {
        f"{prefix}DATABASE": str(folder / "demo.db"),
        f"{prefix}CONFIG": str(_no_configuration(folder)),
        **_role(f"{prefix}FORWARD", _local(endpoint, 0.0, 64, 4)),
    }
    other = settings.backward
    backward = other if other.base_url or other.model else _local(endpoint, 0.0, 300, 1)
    return told | _role(f"{prefix}BACKWARD", backward)


def _no_configuration(folder: Path) -> Path:
    """An empty configuration file: the demo must not depend on the user's."""
    path = folder / "config.toml"
    path.touch()
    return path


def _local(endpoint: Endpoint, temperature: float, tokens: int, slots: int) -> RoleSettings:
    """With one slot, the candidates of a step share it and their long prompt is read once."""
    return RoleSettings(
        base_url=endpoint.base_url,
        model=endpoint.model,
        params={"temperature": temperature, "max_tokens": tokens},
        update_params={"temperature": 0.8},
        concurrency=slots,
        api_key=SecretStr(f"{slots} slots"),  # which of two limits for one endpoint holds
        timeout=600,
    )


def _role(prefix: str, role: RoleSettings) -> dict[str, str]:
    told = {
        "BASE_URL": role.base_url,
        "MODEL": role.model,
        "API_KEY": role.api_key.get_secret_value() if role.api_key else "none",
        "PARAMS": json.dumps(role.params),
        "UPDATE_PARAMS": json.dumps(role.update_params),
        "CONCURRENCY": str(role.concurrency),
        "TIMEOUT": str(role.timeout),
    }
    return {f"{prefix}_{key}": value for key, value in told.items() if value is not None}


async def _demo(
    chosen: Task, environment: dict[str, str], screen: Screen, steps: int, seed: int, seconds: float
) -> Outcome:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "textgrad_mcp.server.cli"], env=environment
    )
    async with Client(server) as client:
        calls = Calls(client, screen)
        began = time.monotonic()
        await _build(calls, chosen)
        screen.phase("scoring the start on items the optimiser will not see")
        before = await calls("evaluate", split="test")
        screen.phase("optimising")
        found = await calls(
            "optimize",
            steps=steps,
            batch_size=chosen.batch_size,
            candidates=chosen.candidates,
            strategy="gradient",  # measured with this small model (docs/results.md)
            patience=steps,
            seed=seed,
            budget={"seconds": seconds},
        )
        screen.phase("scoring the result on the same unseen items")
        after = await calls("evaluate", split="test")
        session = await calls("inspect", what="report")
        screen.done()
        taken = time.monotonic() - began
        return Outcome(chosen, before, found, after, session["view"], taken)


async def _build(calls: Calls, chosen: Task) -> None:
    """The program: the prompt, two example fields, the model call, the score."""
    await calls("create_variable", role=chosen.role, value=chosen.prompt)
    await calls("create_variable", role="the input", example_field="input")
    await calls("create_variable", role="the right answer", example_field="answer", reference=True)
    for split in SPLITS:
        await calls("add_examples", split=split, examples=chosen.rows(split))
    calls.screen.phase("building the program")
    first = {"examples": ["e1"]}
    await calls("forward", operation="llm", system="v1", inputs={"input": "v2"}, **first)
    loss = {"output": "v4", "answer": "v3"}
    await calls("compute_loss", kind="metric", metric="exact_match", inputs=loss, **first)


class Calls:
    """Calls tools of one session, waits for long ones, and shows how far they are."""

    def __init__(self, client: Client, screen: Screen) -> None:
        self.client = client
        self.screen = screen
        self.session: dict[str, str] = {}

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured result of a call that is done. Raises DemoError."""
        found = await self._once(tool, self.session | arguments)
        while found.get("status") == "running":
            found = await self._once("resume", self.session)
        if found.get("status") != "done":
            raise DemoError(f"{tool}: {found.get('error') or found}", str(found.get("next", "")))
        self.session = {"session_id": found["session_id"]}
        return found

    async def _once(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments, progress_callback=self._progress)
        return dict(result.structured_content or {})

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.screen.progress(int(progress), int(total or 0), message or "")
