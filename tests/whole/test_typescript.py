"""The TypeScript SDKs, both generations, drive a whole optimisation in both eras."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.app import build

from .. import npm
from ..client_model import sampled
from ..helpers import Facts, assisted, served_by
from ..standin import Body, StandIn, text_of
from ..tour import SERVE, SUMS, TOOLS, reply_to
from .test_eras import over_http

pytestmark = npm.needs_clients
SCRIPT = npm.CLIENTS / "typescript" / "optimise.mjs"
REVISION = {"legacy": "2025-11-25", "modern": "2026-07-28"}
EVERY_SDK = pytest.mark.parametrize(("sdk", "era"), [(1, "legacy"), (2, "legacy"), (2, "modern")])
EACH_ERA = pytest.mark.parametrize(("sdk", "era"), [(1, "legacy"), (2, "modern")])
EVERY_TRANSPORT = pytest.mark.parametrize("transport", ["stdio", "http"])


@contextmanager
def reached(transport: str, settings: Settings) -> Iterator[Facts]:
    """How the script is to reach a server with these settings."""
    if transport == "http":
        with over_http(build(settings)) as url:
            yield {"url": url}
    else:
        spoken = settings.model_dump_json(exclude_defaults=True)
        yield {"command": sys.executable, "args": ["-c", SERVE, spoken], "env": dict(os.environ)}


def endpoint_reply(body: Body) -> str:
    """The model of the tour behind an endpoint."""
    *system, prompt = [text_of(message) for message in body["messages"]]
    purpose = "forward" if prompt in SUMS else "update" if '"value"' in prompt else "gradient"
    said = reply_to(purpose, "".join(system), prompt)
    return said if isinstance(said, str) else json.dumps(said)


def optimised(home: Path, **job: Any) -> Facts:
    """What the script says of an optimisation that is a success."""
    done = npm.run(SCRIPT, [json.dumps(job)], home=home)
    assert done.returncode == 0, done.stderr
    said: Facts = json.loads(done.stdout)
    assert said["protocol"] == REVISION[job["era"]]
    on_stdio = "command" in job["server"]
    assert set(said["tools"]) == (TOOLS | {"show"} if on_stdio else TOOLS)
    assert (said["before"], said["after"]) == (0.0, 1.0)
    assert said["optimize"] == "done"
    assert said["accepted"] == 2
    assert said["calls"] > 5
    assert "digits" in said["text"]
    assert "digits" in said["page"]
    assert said["announced"]
    return said


@EVERY_SDK
@EVERY_TRANSPORT
def test_an_assistant_in_typescript_calls_every_tool_and_answers_the_prompts(
    tmp_path: Path, sdk: int, era: str, transport: str
) -> None:
    with reached(transport, assisted(tmp_path / "t.db")) as server:
        said = optimised(tmp_path, sdk=sdk, era=era, sample=False, server=server)
    assert set(said["used"]) == TOOLS
    assert said["answered"] > 5
    assert said["asked"] == 0


@EACH_ERA
@EVERY_TRANSPORT
def test_a_clients_model_in_typescript_is_asked_by_sampling(
    tmp_path: Path, sdk: int, era: str, transport: str
) -> None:
    with reached(transport, sampled(tmp_path)) as server:
        said = optimised(tmp_path, sdk=sdk, era=era, sample=True, server=server)
    assert said["asked"] > 5
    assert said["answered"] == 0


@EACH_ERA
def test_an_endpoint_answers_a_client_in_typescript(tmp_path: Path, sdk: int, era: str) -> None:
    with (
        StandIn(reply=endpoint_reply) as model,
        reached("stdio", served_by(model, tmp_path / "t.db")) as server,
    ):
        said = optimised(tmp_path, sdk=sdk, era=era, sample=False, server=server)
    assert said["asked"] == said["answered"] == 0
    assert set(said["used"]) == TOOLS - {"resume"}
    assert len(model.log) > 5
