"""Evaluators that are small Python programs, and what comes of running them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TextIO

import pytest
from textgrad_mcp.engine.evaluator_reply import is_failure
from textgrad_mcp.engine.evaluators import Evaluators
from textgrad_mcp.schemas.errors import EndpointRefused, ProgramFailed
from textgrad_mcp.schemas.graph import Value
from textgrad_mcp.schemas.settings import EvaluatorSettings

PRELUDE = "import json, os, signal, subprocess, sys, time\n"


def program(source: str, *arguments: str, **settings: object) -> Evaluators:
    """One evaluator, `it`, that runs Python source as a command."""
    command = [sys.executable, "-c", PRELUDE + source, *arguments]
    return Evaluators({"it": EvaluatorSettings.model_validate({"command": command, **settings})})


def score(found: Evaluators, **inputs: str) -> Value:
    return asyncio.run(found.score("it", inputs))


def refusal(found: Evaluators, **inputs: str) -> str:
    """Why the program cannot be run, whatever it is given."""
    with pytest.raises(EndpointRefused) as caught:
        score(found, **inputs)
    return caught.value.message


def failure(found: Evaluators, **inputs: str) -> str:
    """How the program failed on these inputs."""
    with pytest.raises(ProgramFailed) as caught:
        score(found, **inputs)
    assert is_failure(Value(text=caught.value.message, score=0.0))
    return caught.value.message


def fifo_reader(path: Path) -> TextIO:
    """The reading end of a named pipe that reports its end when the last writer is gone."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor)
