"""How views of a session show variables, operations and calls: in a few lines each."""

from __future__ import annotations

from typing import Any

from ...schemas.graph import Operation, Value, Variable
from .results import VALUE, cut

DRAWN = 2600
"""Characters of operations in one page of the graph."""


def said(was: dict[str, Any]) -> dict[str, Any]:
    """What there is to say of a thing that was taken out: columns that hold something, cut."""
    shown = {k: v for k, v in was.items() if v not in (None, "", 0, [], {})}
    return {k: cut(v, VALUE)[0] if isinstance(v, str) else v for k, v in shown.items()}


def call_line(call: dict[str, object]) -> dict[str, object]:
    """A call of a model in a line, without the figures that are 0 or as usual."""
    return {
        key: value
        for key, value in call.items()
        if value not in (None, 0, "", "stop") and key != "created"
    }


TOLD = {"feedback": "function", "score": "score"}
"""What a measurement found when it was told, by its place in the spec."""


def is_told(operation: Operation) -> bool:
    """Whether a loss is a measurement that somebody told, of the texts as they were then."""
    return operation.is_loss and "function" in operation.spec


def whole(operation: Operation, now: Value | None) -> dict[str, Any]:
    """An operation with all its fields. A measurement that somebody told shows what was told
    first, and its value `now` (None where none is known of the present texts)."""
    view: dict[str, Any] = operation.model_dump(exclude_none=True, mode="json")
    if not is_told(operation):
        return view
    spec = view["spec"]
    first = {shown: spec.pop(name) for shown, name in TOLD.items() if name in spec}
    if now is None:
        return view | {"told_first": first, "now": "forward computes it for the texts as they are"}
    present = {"feedback": cut(now.text, VALUE)[0], "score": now.score}
    return view | {"told_first": first, "now": present}


def drawn(operation: Operation) -> dict[str, Any]:
    """An operation in a few lines: long templates and instructions are cut."""
    shown = operation.model_dump(exclude_none=True, exclude_defaults=True, mode="json")
    if "spec" in shown:
        left_out = TOLD.values() if is_told(operation) else ()
        spec = [(k, v) for k, v in shown["spec"].items() if k not in left_out]
        shown["spec"] = {k: cut(v, 120)[0] if isinstance(v, str) else v for k, v in spec}
    return shown


def fitting(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first entries that fit on one page together; at least one."""
    used = 0
    page: list[dict[str, Any]] = []
    for item in items:
        used += len(str(item))
        if page and used > DRAWN:
            break
        page.append(item)
    return page


def line(v: Variable, most: int = 120, *, text: bool = True) -> dict[str, Any]:
    """A variable in a line, without its `text` where that is shown beside it."""
    shown: dict[str, Any] = {"id": v.id, "kind": v.kind.value, "role": cut(v.role, most)[0]}
    if v.name:
        shown["name"] = v.name
    if v.value is not None:
        if text:
            shown["text"] = cut(v.value, most)[0]
        shown["version"] = v.version
    if v.file:
        shown["file"] = v.file.path
    if v.field:
        shown["field"] = v.field
    if v.reference:
        shown["reference"] = True
    return shown
