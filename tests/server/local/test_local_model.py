"""A local model is an endpoint on loopback that lives exactly as long as it is wanted."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from textgrad_mcp.schemas.errors import BadInput, EndpointDown
from textgrad_mcp.server.local import engine, model

SMALL = "qwen2.5-coder-0.5b"
needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="the extra `local` is missing"
)
needs_weights = pytest.mark.skipif(
    all(model.path_of(name) is None for name in model.models()),
    reason="textgrad-mcp model pull first",
)


@needs_engine
def test_missing_weights_are_refused_with_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTGRAD_MCP_CACHE", str(tmp_path))
    command = f"textgrad-mcp model pull --model {SMALL}"
    with pytest.raises(BadInput, match=command), engine.running(SMALL):
        pass


def test_a_missing_engine_is_refused_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # as if it were not installed
    with pytest.raises(BadInput, match=r"pip install 'textgrad-mcp\[local\]'"), engine.running():
        pass


@needs_engine
def test_a_file_that_is_no_model_ends_in_a_plain_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTGRAD_MCP_CACHE", str(tmp_path))
    (tmp_path / model.MODELS[SMALL].file).write_bytes(b"GGUF, or so it says")
    with pytest.raises(EndpointDown, match="TEXTGRAD_MCP_MODEL_LOG"), engine.running(SMALL):
        pass


def weights() -> str:
    """The smallest model that is here."""
    return next(name for name in reversed(model.models()) if model.path_of(name))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[engine.Endpoint]:
    with engine.running(weights(), slots=2) as running:
        yield running


def ask(endpoint: engine.Endpoint, **more: object) -> str:
    body = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": "Name a colour."}],
        "max_tokens": 40,
        "temperature": 0,
    }
    reply = httpx2.post(f"{endpoint.base_url}/chat/completions", json=body | more, timeout=120)
    return str(reply.raise_for_status().json()["choices"][0]["message"]["content"])


@pytest.mark.slow
@needs_engine
@needs_weights
def test_it_answers_and_keeps_to_a_json_schema(endpoint: engine.Endpoint) -> None:
    assert ask(endpoint).strip()
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "c", "strict": True, "schema": schema}}
    assert json.loads(ask(endpoint, response_format=shape))["colour"] in ("red", "green")


@pytest.mark.slow
@needs_engine
@needs_weights
def test_it_is_gone_when_the_block_ends() -> None:
    with engine.running(weights(), slots=1) as endpoint:
        assert endpoint.process.poll() is None
    assert endpoint.process.poll() == 0
    with pytest.raises(httpx2.ConnectError):
        ask(endpoint)


HOLDS_A_MODEL = """
import sys
from textgrad_mcp.server.local.engine import running
with running(sys.argv[1], slots=1) as endpoint:
    print(endpoint.process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@needs_engine
@needs_weights
def test_it_dies_with_a_parent_that_was_killed_and_its_stdout_stays_clean() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_MODEL, weights()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())  # the first thing on stdout, so nothing else was
        watch = os.pidfd_open(child)
        parent.kill()
        assert parent.stdout.read() == b""
    _wait_for_end(watch, child)


def _wait_for_end(watch: int, child: int) -> None:
    """Until the process behind the descriptor has ended, which makes it readable."""
    try:
        ready, _, _ = select.select([watch], [], [], 60)
        if not ready:
            os.kill(child, signal.SIGKILL)
        assert ready, "the model outlived the process that held it"
    finally:
        os.close(watch)
