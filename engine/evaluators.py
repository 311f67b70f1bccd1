"""Evaluators: programs that the operator registered, used as losses.

A program gets `{"inputs": {name: text}}` as JSON on stdin and prints `{"score": 0..1, "feedback":
"..."}` on stdout. It runs without a shell, in a process group and an empty temporary directory of
its own, with limits on time, memory and output, and sees only the environment variables that the
operator named (HOME and TMPDIR are that directory). This keeps accidents in; it is no prison for
hostile programs, which is why only the operator can register one.

Failures are AnswererErrors, since an evaluator answers what the graph asks: EndpointDown for a
time-out, which may pass on another try, and EndpointRefused for all else, since the program would
do the same again until somebody changes it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..schemas.errors import BadInput, EndpointDown, EndpointRefused
from ..schemas.graph import Value
from ..schemas.near import nearest
from ..schemas.settings import EvaluatorSettings
from .processes import Finished, TimedOut, TooMuchOutput, run

MAX_OUTPUT = 1 << 20
"""Bytes that a program may print on stdout."""
MAX_FEEDBACK = 10_000
"""Characters of feedback that are kept."""
_TAIL = 1000  # characters of stderr that an error shows
_CHILD = str(Path(__file__).with_name("child.py"))
_FIX = "Nothing was scored. The operator can fix the program or its settings; then try again."


class Evaluators:
    """The evaluators of one server. At most `at_once` programs run at the same time."""

    def __init__(
        self, settings: Mapping[str, EvaluatorSettings], at_once: int | None = None
    ) -> None:
        self._settings = dict(settings)
        self._slots = asyncio.Semaphore(at_once or os.cpu_count() or 1)

    @property
    def descriptions(self) -> dict[str, str]:
        """Name and description of each."""
        return {name: found.description for name, found in self._settings.items()}

    def check(self, name: str) -> EvaluatorSettings:
        """The settings of an evaluator that can be tried. Raises BadInput."""
        if name not in self._settings:
            raise BadInput(*_unknown(name, list(self._settings)))
        settings = self._settings[name]
        if bool(settings.command) == bool(settings.entry_point):
            raise BadInput(
                f"The evaluator {name} needs either `command` or `entry_point`.",
                "The operator must change its settings.",
            )
        module, colon, function = (settings.entry_point or "module:function").partition(":")
        if not (module and colon and function):
            raise BadInput(
                f"The entry_point of {name} must have the form module:function.",
                "The operator must change its settings.",
            )
        return settings

    async def score(self, name: str, inputs: Mapping[str, str]) -> Value:
        """The program's score (0 to 1) of `inputs`, with its feedback.

        Raises BadInput like `check`, EndpointDown on a time-out, and EndpointRefused if the
        program cannot be started, fails, or does not answer in the form above.
        """
        settings = self.check(name)
        async with self._slots:
            finished = await _finished(name, settings, inputs)
        if finished.code:
            how = f"exited with code {finished.code}" if finished.code > 0 else _signal(finished)
            raise _refused(name, how, finished.stderr)
        return _value(name, finished)


async def _finished(name: str, settings: EvaluatorSettings, inputs: Mapping[str, str]) -> Finished:
    payload = json.dumps({"inputs": dict(inputs)}).encode()
    command = _command(name, settings)
    with tempfile.TemporaryDirectory(prefix="evaluator-", ignore_cleanup_errors=True) as place:
        try:
            return await run(
                command,
                payload,
                cwd=place,
                env=_environment(settings, place),
                timeout=settings.timeout,
                max_output=MAX_OUTPUT,
            )
        except TimedOut as stopped:
            how = f"did not finish within {settings.timeout:g} s and was stopped"
            raise EndpointDown(_failed(name, how, stopped.stderr), _FIX) from stopped
        except TooMuchOutput as stopped:
            how = f"printed more than {MAX_OUTPUT:,} bytes and was stopped"
            raise _refused(name, how, stopped.stderr) from stopped
        except OSError as error:
            raise _refused(name, f"could not be started: {error}", "") from error


def _command(name: str, settings: EvaluatorSettings) -> list[str]:
    """The whole command line: our launcher, its limits, the program."""
    if os.name != "posix":
        raise _refused(name, "needs a POSIX system", "")
    if settings.entry_point:
        # -P: neither the temporary directory nor this script's is searched for modules
        program = [sys.executable, "-P", _CHILD, "call", settings.entry_point]
    else:
        program = _found(name, settings.command or [])
    memory = settings.memory_mb << 20
    seconds = math.ceil(settings.timeout * (os.cpu_count() or 1)) + 1  # should the server be killed
    return [sys.executable, "-I", "-S", _CHILD, "limit", str(memory), str(seconds), *program]


def _found(name: str, command: list[str]) -> list[str]:
    """`command` with the path of its program, which is looked up as the server would."""
    path = shutil.which(command[0])
    if path is None:
        raise _refused(name, f"could not be started: no program {command[0]!r} was found", "")
    return [str(Path(path).absolute()), *command[1:]]


def _environment(settings: EvaluatorSettings, place: str) -> dict[str, str]:
    named = {key: os.environ[key] for key in settings.env if key in os.environ}
    return {"HOME": place, "TMPDIR": place, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **named}


def _value(name: str, finished: Finished) -> Value:
    try:
        answer = json.loads(finished.stdout)
    except (ValueError, RecursionError) as error:
        how = f"printed something that is not JSON ({error}): {_shown(finished.stdout)}"
        raise _refused(name, how, finished.stderr) from error
    score = _score(answer)
    if score is None:
        how = f'must print {{"score": 0..1, "feedback": "..."}} but printed {_shown(answer)}'
        raise _refused(name, how, finished.stderr)
    feedback = str(answer.get("feedback") or f"{name} gave the score {score:.2f}.")
    return Value(text=_storable(feedback)[:MAX_FEEDBACK], score=score)


def _score(answer: Any) -> float | None:
    score = answer.get("score") if isinstance(answer, dict) else None
    return float(score) if isinstance(score, int | float) and 0 <= score <= 1 else None


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _shown(answer: Any) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else json.dumps(answer)
    text = text.strip()
    return (text if len(text) <= 200 else text[:199] + "…") or "nothing"


def _signal(finished: Finished) -> str:
    return f"was killed by signal {-finished.code}"


def _refused(name: str, how: str, stderr: str) -> EndpointRefused:
    return EndpointRefused(_failed(name, how, stderr), _FIX)


def _failed(name: str, how: str, stderr: str) -> str:
    tail = _storable(stderr.strip())
    if len(tail) > _TAIL:
        tail = "…" + tail[-_TAIL:]
    return f"The evaluator {name} {how}." + (f" Its stderr ends:\n{tail}\n" if tail else "")


def _unknown(name: str, known: list[str]) -> tuple[str, str]:
    if not known:
        return f"There is no evaluator {name!r}: none is registered.", "Use a metric or a judge."
    near = nearest(name, known)
    hint = f" Did you mean {near}?" if near else ""
    return f"There is no evaluator {name!r}.{hint}", f"Evaluators: {', '.join(known)}."
