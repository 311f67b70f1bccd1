"""The process that runs one test: reads code, test and mark as JSON, prints the mark and a verdict.

The mark tells the verdict from whatever else the code prints. Imports nothing of ours.
"""

from __future__ import annotations

import ast
import json
import sys
import traceback
from typing import Any

SHOWN = 400


def main() -> None:
    """One test: `assert CALL == EXPECTED`."""
    job = json.loads(sys.stdin.buffer.read())
    verdict = judged(job["code"], job["test"])
    sys.stdout.write("\n" + job["mark"] + json.dumps(verdict))
    sys.stdout.flush()


def judged(code: str, test: str) -> dict[str, Any]:
    """Whether the test passes, and in words what came of it."""
    names: dict[str, Any] = {"__name__": "candidate"}
    try:
        exec("from typing import *\nimport math, heapq, bisect, collections, itertools", names)
        exec(compile(code, "code", "exec"), names)
        got, expected = (eval(side, names) for side in sides(test))
    except MemoryError:
        return {"passed": False, "said": "it ran out of memory"}
    except BaseException as error:  # noqa: BLE001 - whatever the code raises is its own
        return {"passed": False, "said": told(error)}
    if got == expected:
        return {"passed": True, "said": "passes"}
    return {"passed": False, "said": f"expected {cut(expected)} but got {cut(got)}"}


def sides(test: str) -> tuple[str, str]:
    """Both sides of `assert a == b`, as source."""
    [statement] = ast.parse(test).body
    assert isinstance(statement, ast.Assert)
    compared = statement.test
    assert isinstance(compared, ast.Compare)
    return ast.unparse(compared.left), ast.unparse(compared.comparators[0])


def told(error: BaseException) -> str:
    """The error with the line of the code that raised it."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == "code"]
    where = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{where}: {error}"[:SHOWN]


def cut(value: object) -> str:
    """A value as Python writes it, at most so long."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a repr may raise anything
        text = f"a value whose repr raises {type(error).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


if __name__ == "__main__":
    main()
