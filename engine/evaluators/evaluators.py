"""Evaluators: programs that the operator registered, used as losses.

A program gets `{"inputs": {name: text}}` as JSON on stdin and prints `{"score": 0..1, "feedback":
"..."}` on stdout. It runs without a shell, beneath a supervisor and in an empty temporary directory
of its own, with limits on time, memory, disk and output, and sees only the environment variables
that the operator named (HOME and TMPDIR are that directory). This keeps accidents in; it is no
prison for hostile programs, which is why only the operator can register one.

Two kinds of failure are told apart: ProgramFailed, on these texts, which may be their fault; and
EndpointRefused, when it cannot be run at all, so that no text is to blame.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from ...schemas.errors import BadInput, ProgramFailed
from ...schemas.graph import Value
from ...schemas.near import nearest
from ...schemas.settings import EvaluatorSettings
from ..extensions.table import Table
from . import command as commands
from . import reply as replies
from .launcher import CANNOT_START
from .process import Finished, Limits, OverLimit, TimedOut, run

MAX_OUTPUT = 1 << 20
"""Bytes that a program may print on stdout."""


ADDED: Table[Any] = Table("evaluator", "evaluators", {})
"""Functions in installed packages. Nothing is loaded here: each runs in a process of its own."""


class Evaluators:
    """The evaluators of one server, by name.

    How many of their programs run at once is limited: those without `slots` of their own share
    `at_once` of them (as many as the machine has cores, if None). `scored` counts by name how often
    each gave a score.
    """

    def __init__(
        self, settings: Mapping[str, EvaluatorSettings], at_once: int | None = None
    ) -> None:
        self._own = dict(settings)
        self._shared = asyncio.Semaphore(at_once or os.cpu_count() or 1)
        self._slots = {n: asyncio.Semaphore(s.slots) for n, s in settings.items() if s.slots}
        self.scored: Counter[str] = Counter()

    @property
    def _settings(self) -> Mapping[str, EvaluatorSettings]:
        """Those that the operator registered, and what packages add that the operator installed."""
        return {name: _installed(point) for name, point in ADDED.added.items()} | self._own

    @property
    def listed(self) -> str:
        """Their names with what they measure, in one line; empty where there are none."""
        return commands.listed(self._settings)

    def knows(self, name: str) -> bool:
        """Whether there is an evaluator of this name."""
        return name in self._settings

    def register(self, name: str, settings: EvaluatorSettings) -> None:
        """Take in an evaluator while the server runs."""
        self._own[name] = settings

    def check(self, name: str) -> EvaluatorSettings:
        """The settings of an evaluator that can be tried. Raises BadInput."""
        found = self._own.get(name) or self._settings.get(name)
        if found is None:
            raise BadInput(*self._unknown(name))
        commands.check(name, found)
        return found

    async def score(
        self, name: str, inputs: Mapping[str, str], go: Callable[[], None] = lambda: None
    ) -> Value:
        """The program's score (0 to 1) of `inputs`, with its feedback.

        `go` is called when it is the program's turn, and raises if it should not run any more.
        Raises ProgramFailed when it fails on these inputs, EndpointRefused when it cannot be run
        at all, BadInput as `check`.
        """
        settings = self.check(name)
        async with self._slots.get(name, self._shared):
            go()
            value = await _run(name, settings, inputs)
        self.scored[name] += 1
        return value

    def _unknown(self, name: str) -> tuple[str, str]:
        script, at, _ = name.partition(".py@")
        if at:
            return (
                f"Nobody has agreed in this server process that the script {script}.py is run: "
                f"compute_loss(kind='evaluator', evaluator='{script}.py', ...) asks for it again.",
                "Drop what waits with resume(cancel=true) first.",
            )
        if not self._settings:
            return (
                f"There is no evaluator {name!r}: none is registered.",
                "Use a metric or a judge.",
            )
        near = nearest(name, self._settings)
        hint = f" Did you mean {near}?" if near else ""
        what = f"There is no evaluator {name!r}.{hint}" if name else "Name an evaluator."
        return what, f"Evaluators: {self.listed}."


def _installed(point: EntryPoint) -> EvaluatorSettings:
    package = point.dist
    folder = Path(str(package.locate_file(""))) if package is not None else None
    said = f"of the package {package.name}" if package is not None else ""
    return EvaluatorSettings(entry_point=point.value, folder=folder, description=said)


async def _run(name: str, settings: EvaluatorSettings, inputs: Mapping[str, str]) -> Value:
    """One run of the program. Raises ProgramFailed, EndpointRefused."""
    environment = commands.environment_of(settings)
    try:
        finished = await _finished(name, settings, inputs, environment)
        value = replies.value_of(name, finished, settings.memory_mb << 20)
    except ProgramFailed as failure:
        said = commands.scrubbed(failure.message, environment)
        raise ProgramFailed(said, failure.next) from failure
    return value.model_copy(update={"text": commands.scrubbed(value.text, environment)})


async def _finished(
    name: str,
    settings: EvaluatorSettings,
    inputs: Mapping[str, str],
    environment: Mapping[str, str],
) -> Finished:
    command = commands.command_of(name, settings)
    memory, disk = settings.memory_mb << 20, settings.disk_mb << 20
    limits = Limits(settings.timeout, memory, disk, MAX_OUTPUT)
    payload = json.dumps({"inputs": dict(inputs)}).encode()
    try:
        finished = await run(command, payload, env=environment, limits=limits)
    except TimedOut as late:
        how = f"it did not finish within {settings.timeout:g} s and was stopped"
        raise replies.failure(name, how, late.stderr) from late
    except OverLimit as over:
        raise replies.failure(name, replies.stopped(over, memory, disk), over.stderr) from over
    except OSError as error:
        raise commands.cannot_run(name, str(error)) from error
    if settings.entry_point and finished.code == CANNOT_START:
        raise commands.cannot_run(name, commands.scrubbed(finished.stderr.strip(), environment))
    return finished
