"""A small model on this machine as an OpenAI-compatible endpoint on loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...schemas.errors import BadInput, EndpointDown
from .model import DEFAULT, path_of

SLOTS = 4
CONTEXT = 4096
"""Tokens that each of the slots has room for."""
_CHILD = str(Path(__file__).with_name("child.py"))


@dataclass(frozen=True)
class Endpoint:
    """Where the model answers, under which name, and the process it runs in."""

    base_url: str
    model: str
    process: subprocess.Popen[bytes] = field(repr=False)


@contextlib.contextmanager
def running(name: str = DEFAULT, *, port: int = 0, slots: int = SLOTS) -> Iterator[Endpoint]:
    """The model `name` behind an endpoint, until the block ends (or this process dies).

    Raises BadInput when the engine or the weights are missing, EndpointDown when it cannot start.
    """
    settings = {
        "path": str(_weights(name)),
        "name": name,
        "port": port,
        "slots": slots,
        "context": CONTEXT,
        "threads": os.cpu_count() or 1,
    }
    command = [sys.executable, "-I", _CHILD, json.dumps(settings)]
    log = Path(os.environ.get("TEXTGRAD_MCP_MODEL_LOG", os.devnull))
    with log.open("ab") as said:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
    try:
        yield Endpoint(f"{_address(process)}/v1", name, process)
    finally:
        _stop(process)


def serve(name: str = DEFAULT, *, port: int = 8080) -> int:
    """Serve a model until interrupted; prints its address.

    Gives the exit code: 0 after Ctrl-C, 1 when the model's process ended by itself. Raises as
    `running` does.
    """
    with running(name, port=port) as endpoint:
        print(f"{endpoint.model} answers at {endpoint.base_url} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            endpoint.process.wait()
            return 1
    return 0


def _weights(name: str) -> Path:
    if importlib.util.find_spec("xllamacpp") is None:
        raise BadInput(
            "The engine for local models is not installed.",
            "Run: pip install 'textgrad-mcp[local]' (from a clone: pip install '.[local]').",
        )
    found = path_of(name)
    if found is None:
        raise BadInput(
            f"The weights of {name} are not on this machine.",
            f"Run: textgrad-mcp model pull --model {name}",
        )
    return found


def _address(process: subprocess.Popen[bytes]) -> str:
    """The address the child prints once the model is loaded."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise EndpointDown(
            f"The local model could not be started (exit code {process.wait(timeout=30)}).",
            "Set TEXTGRAD_MCP_MODEL_LOG to a file and try again to see what it says.",
        )
    return str(json.loads(line)["address"])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let go of the child's standard input, which ends it; kill it if it does not end."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)
