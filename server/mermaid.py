"""A session's graph as a Mermaid flowchart, which many clients and pages draw."""

from __future__ import annotations

from collections.abc import Iterable

from ..schemas.graph import Kind, Operation, Variable
from .paint import one_line

SHAPES = {
    Kind.PARAMETER: ('[["', '"]]'),
    Kind.DEMONSTRATIONS: ('[["', '"]]'),
    Kind.CONSTANT: ('["', '"]'),
    Kind.FIELD: ('[/"', '"/]'),
    Kind.IMAGE: ('[/"', '"/]'),
    Kind.OUTPUT: ('("', '")'),
}
WIDTH = 60
STYLES = ("classDef parameter stroke-width:3px", "classDef loss stroke-dasharray:4")


def flowchart(variables: Iterable[Variable], operations: Iterable[Operation]) -> str:
    """The graph as Mermaid text: parameters doubly framed, losses dashed, inputs on the arrows."""
    made = {operation.output: operation for operation in operations}
    nodes: list[str] = []
    arrows: list[str] = []
    marks: dict[str, list[str]] = {"parameter": [], "loss": []}
    for variable in variables:
        operation = made.get(variable.id)
        nodes.append(_node(variable, operation))
        if variable.kind is Kind.PARAMETER:
            marks["parameter"].append(variable.id)
        if operation is not None:
            arrows += _arrows(operation)
            if operation.is_loss:
                marks["loss"].append(variable.id)
    classes = [f"class {','.join(ids)} {name}" for name, ids in marks.items() if ids]
    body = [*nodes, *arrows, *STYLES, *classes]
    return "\n".join(["flowchart TD", *(f"    {line}" for line in body)]) + "\n"


def _node(variable: Variable, operation: Operation | None) -> str:
    left, right = SHAPES[variable.kind]
    words = [f"{variable.id} {variable.name or variable.role}"]
    if variable.field:
        words.append(f"field {variable.field}")
    if operation is not None:
        words.append(operation.kind.value)
    elif variable.version > 1:
        words.append(f"version {variable.version}")
    return f"{variable.id}{left}{'<br>'.join(_escaped(word) for word in words)}{right}"


def _arrows(operation: Operation) -> list[str]:
    arrows = [
        f'{source} -->|"{_escaped(name)}"| {operation.output}'
        for name, source in operation.inputs.items()
    ]
    if operation.system:
        arrows.insert(0, f'{operation.system} -->|"system"| {operation.output}')
    return arrows


def _escaped(text: str) -> str:
    """Text that cannot end a label, start markup or become a link: all but plain characters as
    entities."""
    line = one_line(text, WIDTH)
    return "".join(c if c.isalnum() or c in " ,-_…" else f"#{ord(c)};" for c in line)
