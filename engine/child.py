"""What runs in an evaluator's own process, as a script: never imported by the server.

    child.py limit MEMORY_BYTES CPU_SECONDS PROGRAM [ARGUMENT ...]   sets limits, becomes PROGRAM
    child.py call MODULE:FUNCTION                                    calls a Python function

Setting limits here, after the start, spares the server a function that runs between fork and exec,
which is not safe beside threads.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from functools import reduce
from typing import Any

CANNOT_START = 127


def limit(memory: int, cpu: int, command: list[str]) -> None:
    """Becomes `command` with at most `memory` bytes of address space and `cpu` seconds."""
    for kind, wanted in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_CORE, 0),
    ):
        most = resource.getrlimit(kind)[1]
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (value, value))
    try:
        os.execv(command[0], command)  # noqa: S606 - the operator's program, no shell wanted
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        sys.exit(CANNOT_START)


def call(entry_point: str) -> None:
    """Calls the function with the inputs on stdin, and writes what it returns as JSON.

    The function takes a dict of texts and returns a score, a (score, feedback) pair or a dict with
    both. What it prints goes to stderr.
    """
    answer = os.dup(1)
    os.dup2(2, 1)
    module, _, name = entry_point.partition(":")
    function: Any = reduce(getattr, name.split("."), importlib.import_module(module))
    result = _plain(function(json.load(sys.stdin)["inputs"]))
    with os.fdopen(answer, "w", encoding="utf-8") as stdout:
        json.dump(result, stdout)


def _plain(result: Any) -> dict[str, Any]:
    if isinstance(result, dict):
        return {"score": float(result["score"]), "feedback": str(result.get("feedback", ""))}
    score, feedback = result if isinstance(result, tuple) else (result, "")
    return {"score": float(score), "feedback": str(feedback)}


if __name__ == "__main__":
    if sys.argv[1] == "limit":
        limit(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    else:
        call(sys.argv[2])
