"""JSON schemas without padding: every token of a tool's definition is paid in every session."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from ...schemas.results import Result

_WORDS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}

KEPT = ("properties", "required", "type")
UNTOLD = ("answered", "pending_total", "by_model")
"""Fields that a result may have and no model plans with: how far a run has come, and what a note
says, too."""


def compact(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of arguments, which takes no others, without titles, limits of numbers, null
    alternatives and null defaults. What the tool is for is said beside it.

    An optional field is one that may be left out; nothing is lost by not saying that it may be
    null as well. Where a limit means something, the description says it.
    """
    schema: dict[str, Any] = _clean(model.model_json_schema())
    kept = {key: value for key, value in schema.items() if key in KEPT}
    return kept | {"additionalProperties": False}


def outline(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a result in outline: the names and types of its own fields, nested objects left
    open; `Result` alone tells those that all have. Raises KeyError for a type without a word.

    A model needs no more to read a result; what a result holds is checked against its full model
    before it leaves.
    """
    common = {} if model is Result else Result.model_fields
    own = {n: f for n, f in model.model_fields.items() if n not in common and n not in UNTOLD}
    fields = {name: _outlined(field.annotation) for name, field in own.items()}
    return {"type": "object", "properties": fields}


def _outlined(kind: Any) -> dict[str, Any]:
    arms = [arm for arm in get_args(kind) if arm is not NoneType]
    if get_origin(kind) is Literal:  # a status; its values stand in the instructions, once for all
        return {"type": _WORDS[type(arms[0])]}
    if get_origin(kind) is UnionType:
        [kind] = arms  # what may be left out as well
    return {"type": _WORDS[get_origin(kind) or kind]}


def _clean(node: Any) -> Any:
    if isinstance(node, list):
        return [_clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("title", "minimum", "maximum") and not isinstance(value, dict):
            continue
        if key == "additionalProperties" and value is True:  # so it is anyway
            continue
        if key == "properties":
            out[key] = {name: _clean(prop) for name, prop in value.items()}
        elif key not in ("default",) or value not in (None, "", [], {}):
            out[key] = _clean(value)
    return _without_null(out)


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    kinds = node.get("anyOf")
    if not isinstance(kinds, list):
        return node
    kept = [kind for kind in kinds if kind != {"type": "null"}]
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    if len(kept) > 1:  # what stands beside anyOf, some endpoints refuse
        return {"anyOf": [kept[0] | rest, *kept[1:]]}
    return {**kept[0], **rest}
