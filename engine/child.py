"""Calls a Python function as an evaluator, as a script in a process of its own.

    child.py MODULE:FUNCTION [FOLDER]      FOLDER is searched for modules after all others

The function takes a dict of texts, which comes on stdin, and returns a score, a (score, feedback)
pair or a dict with both; that goes to stdout as JSON. What it prints itself goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from functools import reduce
from typing import Any

CANNOT_START = 127
"""The exit code where there is no such function: no text is to blame."""
_FEEDBACK = 100_000  # characters that are handed on


def call(entry_point: str) -> None:
    """Calls the function with the inputs on stdin, and writes what it returns."""
    answer = os.dup(1)
    os.dup2(2, 1)
    function = _loaded(entry_point)
    result = _plain(function(json.load(sys.stdin)["inputs"]))
    with os.fdopen(answer, "w", encoding="utf-8", errors="replace") as stdout:
        json.dump(result, stdout, ensure_ascii=False)


def _loaded(entry_point: str) -> Any:
    module, _, name = entry_point.partition(":")
    try:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    except Exception:  # noqa: BLE001 - whatever a module raises when it is imported
        traceback.print_exc()
        sys.exit(CANNOT_START)


def _plain(result: Any) -> dict[str, Any]:
    if isinstance(result, dict):
        return _plain((result["score"], result.get("feedback") or ""))
    score, feedback = result if isinstance(result, tuple) else (result, "")
    return {"score": float(score), "feedback": str(feedback)[:_FEEDBACK]}


if __name__ == "__main__":
    sys.path += sys.argv[2:]
    call(sys.argv[1])
