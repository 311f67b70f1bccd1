"""JSON schemas without padding: every token of a tool's definition is paid in every session."""

from __future__ import annotations

from typing import Any


def compact(schema: dict[str, Any], *, closed: bool = False) -> dict[str, Any]:
    """`schema` without titles, null alternatives and null defaults; `closed` refuses unknown keys.

    An optional field is one that may be left out; nothing is lost by not saying that it may be
    null as well.
    """
    out: dict[str, Any] = _clean(schema)
    if closed:
        out["additionalProperties"] = False
    return out


def outline(schema: dict[str, Any]) -> dict[str, Any]:
    """An output schema in outline: the names and types of its fields, nested objects left open.

    A model needs no more to read a result; what a result holds is checked against its full model
    before it leaves.
    """
    fields = _clean(schema).get("properties", {})
    return {"type": "object", "properties": {k: _outlined(v) for k, v in fields.items()}}


def _outlined(field: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: field[key] for key in ("type", "enum") if key in field}
    return {"enum": kept["enum"]} if "enum" in kept else kept


def _clean(node: Any) -> Any:
    if isinstance(node, list):
        return [_clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "title" and isinstance(value, str):
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
    if len(kept) == len(kinds):
        return node
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return {**kept[0], **rest} if len(kept) == 1 else {"anyOf": kept, **rest}
