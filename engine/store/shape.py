"""What a session is outside the database: the form of an exported file, and its checks.

The file holds the rows of a session as they are stored, except for what only means something
here (owner, leases, bound files) and what follows from the rest (edges, digests, totals).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from jsonschema import Draft202012Validator

from ...schemas.completions import CompletionRequest, Purpose
from ...schemas.errors import BadInput
from ...schemas.graph import Fate, Kind, Op, Verdict
from ...schemas.results import (
    BackwardResult,
    EvaluateResult,
    ForwardResult,
    OptimizeResult,
    Result,
    StepResult,
)
from ...schemas.text import DEEPEST, unusable

FORMAT = "textgrad-mcp session"
FORMAT_VERSION = 1
SESSION_ID = re.compile(r"tg_[A-Za-z0-9_-]{16,64}")
_RESULTS: dict[str, type[Result]] = {
    "forward": ForwardResult,
    "compute_loss": ForwardResult,
    "backward": BackwardResult,
    "step": StepResult,
    "evaluate": EvaluateResult,
    "optimize": OptimizeResult,
}
_SPLITS = ("train", "validation", "test")

# Column -> s text, i integer, f number, o JSON object, a JSON array, `?` may be null; a second
# letter is the kind of all that an object or an array holds.
TABLES: dict[str, dict[str, str]] = {
    "variables": {
        **{"n": "i", "kind": "s", "role": "s", "name": "s", "value": "s?", "version": "i"},
        **{"requires_grad": "i", "reference": "i", "per_example": "i", "field": "s?"},
        **{"constraints": "as", "operation": "i?", "dirty": "i"},
    },
    "operations": {
        **{"n": "i", "kind": "s", "output": "i", "system": "i?", "inputs": "oi", "spec": "o"},
    },
    "versions": {
        **{"variable": "i", "version": "i", "text": "s", "origin": "s", "step": "i?"},
        **{"created": "s"},
    },
    "examples": {"n": "i", "split": "s", "fields": "os"},
    "cells": {"variable": "i", "place": "i", "text": "s", "score": "f?"},
    "calls": {
        **{"n": "i", "key": "s", "purpose": "s", "about": "s", "run": "i?", "request": "o"},
        **{"answerer": "s", "status": "s", "text": "s?", "finish": "s?", "refusal": "s?"},
        **{"reasoning": "s"},
        **{"model": "s", "prompt_tokens": "i", "completion_tokens": "i", "cached_tokens": "i"},
        **{"cost": "f?", "latency": "f", "reserved_tokens": "i", "reserved_cost": "f"},
        **{"created": "s", "answered": "s?"},
    },
    "attempts": {"call": "i", "outcome": "s", "latency": "f", "detail": "s", "created": "s"},
    "gradients": {
        **{"n": "i", "variable": "i", "version": "i", "text": "s", "examples": "as", "batch": "as"},
        **{"operation": "s", "losses": "as", "exact": "i", "spent_by": "i?", "created": "s"},
    },
    "steps": {
        **{"n": "i", "accepted": "i", "gate": "s", "before": "f?", "after": "f?", "split": "s?"},
        **{"examples": "i", "created": "s"},
    },
    "proposals": {
        **{"n": "i", "step": "i", "variable": "i", "parent": "i", "text": "s", "verdict": "s"},
        **{
            "fate": "s",
            "reason": "s",
            "version": "i?",
            "score": "f?",
            "parent_score": "f?",
            "split": "s?",
        },
        **{"examples": "i", "gradients": "as", "created": "s"},
    },
    "evaluations": {
        **{"n": "i", "loss": "i", "split": "s", "versions": "oi", "mean": "f", "error": "f?"},
        **{"examples": "i", "created": "s"},
    },
    "runs": {
        **{"n": "i", "tool": "s", "args": "o", "digest": "s", "status": "s", "state": "o"},
        **{"result": "o?", "error": "s", "created": "s", "updated": "s", "used_calls": "i"},
        **{"used_tokens": "i", "used_cost": "f", "began": "f"},
    },
    "removed": {"kind": "s", "n": "i", "was": "o", "created": "s"},
}
LATER_TABLES = ("removed",)
"""Tables that files of earlier versions do not have."""
SESSION = {
    **{"title": "s", "created": "s", "updated": "s", "batch": "ai", "budget": "of"},
    **{"test_reads": "i", "used_calls": "i", "used_tokens": "i", "used_cost": "f"},
}
LEFT_OUT = {
    "variables": {"file"},
    "examples": {"digest", "likeness"},
    "runs": {"owner", "lease", "stopped", "answerers", "taken"},
    "sessions": {"pk", "id", "owner"},
}
"""Columns that stay behind, besides `session`."""
LATER: dict[str, dict[str, Any]] = {"calls": {"reasoning": ""}}
"""Columns that files of earlier versions lack, with what that means."""
DERIVED = {"edges", "spent", "owner_calls", "quiet_runs"}
"""Tables that are made anew from the others, belong to an owner and no session, or pass."""

_ENUMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("variables", "kind"): tuple(Kind),
    ("operations", "kind"): tuple(Op),
    ("versions", "origin"): ("created", "step", "revert", "edit"),
    ("examples", "split"): _SPLITS,
    ("calls", "purpose"): tuple(Purpose),
    ("calls", "status"): ("pending", "answered", "unusable"),
    ("proposals", "verdict"): get_args(Verdict),
    ("proposals", "fate"): tuple(Fate),
    ("evaluations", "split"): _SPLITS,
    ("runs", "tool"): tuple(_RESULTS),
    ("removed", "kind"): ("variables", "operations", "examples"),
    ("runs", "status"): ("running", "needs_completions", "done", "failed", "cancelled"),
}
_TYPES: dict[str, dict[str, Any]] = {
    "s": {"type": "string"},
    "i": {"type": "integer", "minimum": 0, "maximum": 2**53},
    "f": {"type": "number"},
    "o": {"type": "object"},
    "a": {"type": "array"},
}


def is_json(kind: str) -> bool:
    """Whether a column of this kind holds JSON."""
    return kind[0] in "oa"


def file_schema() -> dict[str, Any]:
    """The JSON schema of an exported session."""
    tables = {name: {"type": "array", "items": _row(name, cols)} for name, cols in TABLES.items()}
    top = {
        "format": {"const": FORMAT},
        "version": {"const": FORMAT_VERSION},
        "id": {"type": "string", "pattern": f"^{SESSION_ID.pattern}$"},
        "session": _row("sessions", SESSION),
        **tables,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An exported session of textgrad-mcp",
    } | _closed(top)


def _row(table: str, columns: Mapping[str, str]) -> dict[str, Any]:
    properties = {name: _column(table, name, kind) for name, kind in columns.items()}
    return _closed(properties, LATER.get(table, {}))


def _column(table: str, name: str, kind: str) -> dict[str, Any]:
    if (table, name) in _ENUMS:
        return {"enum": list(map(str, _ENUMS[table, name]))}
    one, *inner = (_TYPES[letter] for letter in kind.removesuffix("?"))
    if inner:
        one = one | {"items" if kind[0] == "a" else "additionalProperties": inner[0]}
    return {"anyOf": [one, {"type": "null"}]} if kind.endswith("?") else one


def _closed(properties: dict[str, Any], optional: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def check_file(data: Any) -> None:
    """Raises BadInput, saying where, unless `data` is a session that hangs together."""
    if why := unusable(data, 2 * DEEPEST):  # what was taken in stands some levels down
        raise _bad(f"it {why}")
    problem = next(iter(Draft202012Validator(file_schema()).iter_errors(data)), None)
    if problem is not None:
        where = ".".join(map(str, problem.absolute_path)) or "the file"
        said = problem.message if len(problem.message) < 200 else f"{problem.message[:200]}..."
        raise _bad(f"{where}: {said}")
    _check_references(data)
    _check_graph(data)
    _check_calls(data)
    _check_results(data)


def _bad(what: str) -> BadInput:
    return BadInput(
        f"This is no usable export of a session; {what}. Nothing was imported.",
        "Export the session again with `textgrad-mcp sessions export`.",
    )


def _numbers(data: Mapping[str, Any], table: str) -> set[int]:
    return {row["n"] for row in data[table]}


def _removed(data: Mapping[str, Any], table: str) -> set[int]:
    return {row["n"] for row in data["removed"] if row["kind"] == table}


def _check_references(data: Mapping[str, Any]) -> None:
    known = {t: _numbers(data, t) for t in ("variables", "steps", "calls", "runs", "examples")}
    for table in ("variables", "operations", "examples"):
        again = _numbers(data, table) & _removed(data, table)
        if again:
            raise _bad(f"{table} has {min(again)}, which was removed")
    known["ever"] = known["variables"] | _removed(data, "variables")
    for table, column, target in (
        ("versions", "variable", "ever"),
        ("versions", "step", "steps"),
        ("cells", "variable", "variables"),
        ("calls", "run", "runs"),
        ("attempts", "call", "calls"),
        ("gradients", "variable", "ever"),
        ("gradients", "spent_by", "steps"),
        ("proposals", "variable", "ever"),
        ("proposals", "step", "steps"),
        ("evaluations", "loss", "ever"),
    ):
        given = {row[column] for row in data[table]} - {None}
        _all_known(given, known[target], f"{table}.{column}")
    _all_known(data["session"]["batch"], known["examples"], "session.batch")
    places = {row["place"] for row in data["cells"]} - {0}
    _all_known(places, known["examples"], "cells.place")


def _all_known(given: Iterable[Any], known: set[int], where: str) -> None:
    wrong = [one for one in given if not isinstance(one, int) or one not in known]
    if wrong:
        raise _bad(f"{where} names {wrong[0]!r}, which is not there")


def _check_graph(data: Mapping[str, Any]) -> None:
    """Outputs have their operations, which read only what was there before: no cycles."""
    operations = {row["n"]: row for row in data["operations"]}
    variables = {row["n"]: row for row in data["variables"]}
    for n, row in variables.items():
        operation = operations.get(row["operation"])
        if (row["kind"] == Kind.OUTPUT) != (operation is not None):
            raise _bad(f"variable v{n} and its operation do not fit")
        if operation is not None and operation["output"] != n:
            raise _bad(f"variable v{n} is not what its operation makes")
    for n, row in operations.items():
        if row["output"] not in variables or variables[row["output"]]["operation"] != n:
            raise _bad(f"operation op{n} makes nothing")
        for source in sources(row):
            if source not in variables or source >= row["output"]:
                raise _bad(f"operation op{n} reads {source!r}, which was not there before it")
    _check_versions(data, variables)


def sources(operation: Mapping[str, Any]) -> list[Any]:
    """The numbers of the variables that an exported operation reads, each once."""
    system = [operation["system"]] if operation["system"] is not None else []
    return list(dict.fromkeys([*system, *operation["inputs"].values()]))


def _check_versions(data: Mapping[str, Any], variables: Mapping[int, Any]) -> None:
    texts = {(row["variable"], row["version"]): row["text"] for row in data["versions"]}
    for n, row in variables.items():
        text = texts.get((n, row["version"]))
        if row["version"] and text != row["value"]:
            raise _bad(f"the value of v{n} is not that of its version {row['version']}")


def _check_calls(data: Mapping[str, Any]) -> None:
    for row in data["calls"]:
        try:
            request = CompletionRequest.model_validate(row["request"])
        except ValueError:
            raise _bad(f"call c{row['n']} holds no request") from None
        if row["key"] not in (request.key, f"{request.key}-{row['n']}"):
            raise _bad(f"the request of call c{row['n']} was changed")
        if (row["status"] == "pending") != (row["text"] is None):
            raise _bad(f"call c{row['n']} is {row['status']}, which does not fit its text")


def _check_results(data: Mapping[str, Any]) -> None:
    for row in data["runs"]:
        try:
            if row["result"] is not None:
                _RESULTS[row["tool"]].model_validate(row["result"])
        except ValueError:
            raise _bad(f"run r{row['n']} holds no result of {row['tool']}") from None
