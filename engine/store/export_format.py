"""What a session is outside the database: the form of an exported file, and its checks.

The file holds the rows of a session as they are stored, except for what only means something
here (owner, leases, bound files) and what follows from the rest (edges, digests, totals).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from jsonschema import Draft202012Validator, validators

from ...schemas.completions import Purpose
from ...schemas.graph import Fate, Kind, Verdict
from ...schemas.text import unstorable
from ..extensions.operations import kinds
from .consistency import check_consistency, refusal

FORMAT = "textgrad-mcp session"
FORMAT_VERSION = 1
SESSION_ID = re.compile(r"tg_[A-Za-z0-9_-]{16,64}")
_TOOLS = ("forward", "compute_loss", "backward", "step", "evaluate", "optimize")
_SPLITS = ("train", "validation", "test")

# Column -> b 0 or 1, s text, i integer, f number, j any JSON, o JSON object, a JSON array;
# `?` may be null.
TABLES: dict[str, dict[str, str]] = {
    "variables": {
        **{"n": "i", "kind": "s", "role": "s", "name": "s", "value": "s?", "version": "i"},
        **{"requires_grad": "b", "reference": "b", "per_example": "b", "field": "s?"},
        **{"constraints": "a", "operation": "i?", "dirty": "b"},
    },
    "operations": {
        **{"n": "i", "kind": "s", "output": "i", "system": "i?", "inputs": "o", "spec": "o"},
    },
    "versions": {
        **{"variable": "i", "version": "i", "text": "s", "origin": "s", "step": "i?"},
        **{"created": "s"},
    },
    "examples": {"n": "i", "split": "s", "fields": "o"},
    "cells": {"variable": "i", "place": "i", "text": "s", "score": "f?"},
    "calls": {
        **{"n": "i", "key": "s", "purpose": "s", "about": "s", "run": "i?", "request": "o"},
        **{"answerer": "s", "status": "s", "text": "s?", "finish": "s?", "refusal": "s?"},
        **{"reasoning": "s", "model": "s", "prompt_tokens": "i", "completion_tokens": "i"},
        **{"cached_tokens": "i"},
        **{"cost": "f?", "latency": "f", "reserved_tokens": "i", "reserved_cost": "f"},
        **{"created": "s", "answered": "s?"},
    },
    "attempts": {"call": "i", "outcome": "s", "latency": "f", "detail": "s", "created": "s"},
    "gradients": {
        **{"n": "i", "variable": "i", "version": "i", "text": "s", "examples": "a", "batch": "a"},
        **{"operation": "s", "losses": "a", "exact": "b", "spent_by": "i?", "created": "s"},
    },
    "steps": {
        **{"n": "i", "accepted": "b", "gate": "s", "before": "f?", "after": "f?", "split": "s?"},
        **{"examples": "i", "created": "s", "gain": "f?", "error": "f?", "p": "f?"},
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
        **{"examples": "i", "gradients": "a", "created": "s"},
        **{"gain": "f?", "error": "f?", "p": "f?"},
    },
    "evaluations": {
        **{"n": "i", "loss": "i", "split": "s", "versions": "j", "mean": "f", "error": "f?"},
        **{"examples": "i", "created": "s", "scores": "j?"},
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
_GAIN = {"gain": None, "error": None, "p": None}
LATER: dict[str, dict[str, Any]] = {
    "calls": {"reasoning": ""},
    "steps": _GAIN,
    "proposals": _GAIN,
    "evaluations": {"scores": None},
}
"""Columns that files of earlier versions lack, with what that means."""
SESSION = {
    **{"title": "s", "created": "s", "updated": "s", "batch": "a", "budget": "o"},
    **{"test_reads": "i", "used_calls": "i", "used_tokens": "i", "used_cost": "f"},
}
LEFT_OUT = {
    "variables": {"file"},
    "examples": {"digest", "likeness"},
    "runs": {"owner", "lease", "stopped", "answerers", "taken"},
    "sessions": {"pk", "id", "owner", "bytes"},
}
"""Columns that stay behind, besides `session`."""
DERIVED = {"edges", "spent", "owner_calls", "quiet_runs", "shared_keys"}
"""Tables that are made anew from the others, belong to an owner or all and no session, or pass."""

_ENUMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("variables", "kind"): tuple(Kind),
    ("versions", "origin"): ("created", "step", "revert", "edit"),
    ("examples", "split"): _SPLITS,
    ("calls", "purpose"): tuple(Purpose),
    ("calls", "status"): ("pending", "answered", "unusable"),
    ("proposals", "verdict"): get_args(Verdict),
    ("proposals", "fate"): tuple(Fate),
    ("evaluations", "split"): _SPLITS,
    ("runs", "tool"): _TOOLS,
    ("removed", "kind"): ("variables", "operations", "examples"),
    ("runs", "status"): ("running", "needs_completions", "done", "failed", "cancelled"),
}
MOST_NUMBER = 10**11
"""No id in a file is larger, so that there is room for what comes after it (ids have 12 digits)."""
MOST_DEEP = 100
"""How deep lists and objects may stand in each other."""
_TYPES: dict[str, dict[str, Any]] = {
    "b": {"enum": [0, 1]},
    "s": {"type": "string"},
    "i": {"type": "integer", "minimum": 0, "maximum": 2**53},
    "n": {"type": "integer", "minimum": 1, "maximum": MOST_NUMBER},
    "f": {"type": "number", "minimum": -1e15, "maximum": 1e15},
    "j": {},
    "o": {"type": "object"},
    "a": {"type": "array"},
}


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_NUMBERS = {"type": "object", "additionalProperties": _TYPES["f"]}
_SPEC: dict[str, Any] = {
    **dict.fromkeys(("template", "function", "output", "instruction"), _TYPES["s"]),
    **dict.fromkeys(("metric", "evaluator"), _TYPES["s"]),
    "options": {"type": "object"},
    "score": {"type": "number", "minimum": 0, "maximum": 1},
    "graded": {"type": "boolean"},
    "weights": _NUMBERS,
    "models": {"type": "array", "items": _TYPES["s"], "minItems": 1, "uniqueItems": True},
    "worst": {"type": "boolean"},
}


def _ids(prefix: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "pattern": f"^{prefix}[0-9]{{1,12}}$"}}


_JSON_COLUMNS: dict[tuple[str, str], dict[str, Any]] = {
    ("variables", "constraints"): {"type": "array", "items": {"type": "string"}},
    ("operations", "inputs"): {"type": "object", "additionalProperties": _TYPES["n"]},
    ("operations", "spec"): {"type": "object", "properties": _SPEC},
    ("examples", "fields"): {**_TEXTS, "minProperties": 1},
    ("gradients", "examples"): _ids("e"),
    ("gradients", "batch"): _ids("e"),
    ("gradients", "losses"): _ids("v"),
    ("proposals", "gradients"): _ids("g"),
    ("evaluations", "versions"): {"type": "object", "additionalProperties": _TYPES["i"]},
    ("evaluations", "scores"): {
        "type": ["object", "null"],
        "additionalProperties": _TYPES["f"],
        "propertyNames": {
            "pattern": "^(0|[1-9][0-9]{0,11}|[a-z][a-z0-9_]*( [+] [a-z][a-z0-9_]*)*)$"
        },
    },
    ("sessions", "batch"): {"type": "array", "items": _TYPES["n"], "uniqueItems": True},
    ("sessions", "budget"): _NUMBERS,
}
"""What JSON in a column has to look like, where code reads it."""


def is_json(kind: str) -> bool:
    """Whether a column of this kind holds JSON."""
    return kind[0] in "joa"


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
    if (table, name) == ("operations", "kind"):
        return {"enum": kinds()}
    if (table, name) in _ENUMS:
        return {"enum": list(map(str, _ENUMS[table, name]))}
    if (table, name) in _JSON_COLUMNS:
        return _JSON_COLUMNS[table, name]
    one = _TYPES["n" if kind[0] == "i" and name in _NUMBERED else kind[0]]
    return {**one, "type": [one["type"], "null"]} if kind.endswith("?") else one


_NUMBERED = frozenset(
    "n variable operation output system run call step loss spent_by".split()  # noqa: SIM905
)
"""Columns that hold the number of a row."""


def _closed(properties: dict[str, Any], optional: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_types = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda _, value: _is_number(value),
    }
)
Strict = validators.extend(Draft202012Validator, type_checker=_types)  # type: ignore[no-untyped-call]
"""A validator to which 2.0 is no integer, and infinity no number."""


def check_file(data: Any) -> None:
    """Raises BadInput, saying where, unless `data` is a session that hangs together."""
    for where, value in _parts(data):
        if len(where) > MOST_DEEP:
            raise refusal(f"{_named(where[:3])} is nested too deep")
        if isinstance(value, float) and not math.isfinite(value):
            raise refusal(f"{_named(where)} is no ordinary number")
        if unstorable(value) and not _is_reply(where):
            raise refusal(f"{_named(where)} holds a NUL or half of a surrogate pair")
    check_schema(data, file_schema())
    check_consistency(data)


def check_schema(data: Any, schema: Mapping[str, Any], within: tuple[Any, ...] = ()) -> None:
    """Raises BadInput, saying where, unless `data`, which stands at `within`, fits `schema`."""
    problem = next(iter(Strict(schema).iter_errors(data)), None)
    if problem is not None:
        said = problem.message if len(problem.message) < 200 else f"{problem.message[:200]}..."
        raise refusal(f"{_named((*within, *problem.absolute_path))}: {said}")


def _named(where: tuple[Any, ...]) -> str:
    return ".".join(map(str, where))[:200] or "the file"


def _is_reply(where: tuple[Any, ...]) -> bool:
    """Whether a text is somebody's answer, of which only what cannot be stored is replaced."""
    return where[:1] in (("calls",), ("attempts",))


def _parts(data: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every key and every value that is no list or object, with where it stands."""
    stack: list[tuple[tuple[Any, ...], Any]] = [((), data)]
    while stack:
        where, value = stack.pop()
        if len(where) > MOST_DEEP:
            yield where, None
        elif isinstance(value, dict):
            yield from ((where, key) for key in value)
            stack += [((*where, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            stack += [((*where, n), item) for n, item in enumerate(value)]
        else:
            yield where, value
