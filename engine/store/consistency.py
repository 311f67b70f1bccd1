"""Whether the rows of an exported session hang together: what each names is there, and fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...schemas.completions import CompletionRequest
from ...schemas.errors import BadInput
from ...schemas.graph import Kind, number
from ..answerers import PROGRAM
from ..extensions.operations import is_loss, primitive

Rows = Mapping[int, Mapping[str, Any]]


def refusal(what: str) -> BadInput:
    """The BadInput that tells why a file is not imported: `what` is wrong with it."""
    return BadInput(
        f"This is no usable export of a session; {what}. Nothing was imported.",
        "Export the session again with `textgrad-mcp sessions export`.",
    )


def check_consistency(data: Mapping[str, Any]) -> None:
    """Raises BadInput, saying where, for exported rows (which fit the schema) of which one names
    another that is not there, or does not fit it."""
    _check_references(data)
    _check_graph(data)
    _check_calls(data)


def _numbers(data: Mapping[str, Any], table: str) -> set[int]:
    return {row["n"] for row in data[table]}


def _removed(data: Mapping[str, Any], table: str) -> set[int]:
    return {row["n"] for row in data["removed"] if row["kind"] == table}


def _check_references(data: Mapping[str, Any]) -> None:
    known = {t: _numbers(data, t) for t in ("variables", "steps", "calls", "runs", "examples")}
    for table in ("variables", "operations", "examples"):
        again = _numbers(data, table) & _removed(data, table)
        if again:
            raise refusal(f"{table} has {min(again)}, which was removed")
    ever = {f"ever {t}": known[t] | _removed(data, t) for t in ("variables", "examples")}
    known |= ever
    for table, column, target in (
        ("versions", "variable", "ever variables"),
        ("versions", "step", "steps"),
        ("cells", "variable", "variables"),
        ("calls", "run", "runs"),
        ("attempts", "call", "calls"),
        ("gradients", "variable", "ever variables"),
        ("gradients", "spent_by", "steps"),
        ("proposals", "variable", "ever variables"),
        ("proposals", "step", "steps"),
        ("evaluations", "loss", "ever variables"),
    ):
        given = {row[column] for row in data[table]} - {None}
        _all_known(given, known[target], f"{table}.{column}")
    _all_known(data["session"]["batch"], known["examples"], "session.batch")
    places = {row["place"] for row in data["cells"]} - {0}
    _all_known(places, known["examples"], "cells.place")
    for column, prefix, target in (
        ("examples", "e", "ever examples"),
        ("batch", "e", "ever examples"),
        ("losses", "v", "ever variables"),
    ):
        named = (number(i, prefix) for row in data["gradients"] for i in row[column])
        _all_known(named, known[target], f"gradients.{column}")


def _all_known(given: Iterable[Any], known: set[int], where: str) -> None:
    wrong = [one for one in given if one not in known]
    if wrong:
        raise refusal(f"{where} names {wrong[0]!r}, which is not there")


def _check_graph(data: Mapping[str, Any]) -> None:
    """Outputs have their operations, which read only what was there before: no cycles."""
    operations = {row["n"]: row for row in data["operations"]}
    variables = {row["n"]: row for row in data["variables"]}
    for n, row in variables.items():
        operation = operations.get(row["operation"])
        if (row["kind"] == Kind.OUTPUT) != (operation is not None):
            raise refusal(f"variable v{n} and its operation do not fit")
        if operation is not None and operation["output"] != n:
            raise refusal(f"variable v{n} is not what its operation makes")
        _check_variable(row)
    for n, row in operations.items():
        if row["output"] not in variables or variables[row["output"]]["operation"] != n:
            raise refusal(f"operation op{n} makes nothing")
        for source in sources(row):
            if source not in variables or source >= row["output"]:
                raise refusal(f"operation op{n} reads {source!r}, which was not there before it")
        _check_operation(row, variables, operations)
    _check_versions(data, variables)


def sources(operation: Mapping[str, Any]) -> list[Any]:
    """The numbers of the variables that an exported operation reads, each once."""
    system = [operation["system"]] if operation["system"] is not None else []
    return list(dict.fromkeys([*system, *operation["inputs"].values()]))


def _check_variable(row: Mapping[str, Any]) -> None:
    """A leaf has a text and a version, or a field of the examples; an output has neither."""
    kind = row["kind"]
    has = {
        "value": row["value"] is not None,
        "version": row["version"] > 0,
        "field": bool(row["field"]),
        "requires_grad": bool(row["requires_grad"]),
    }
    text = kind not in (Kind.FIELD, Kind.OUTPUT)
    wanted = {
        "value": text,
        "version": text,
        "field": kind == Kind.FIELD,
        "requires_grad": kind == Kind.PARAMETER,
    }
    wrong = [name for name, there in has.items() if there != wanted[name]]
    if kind != Kind.OUTPUT and bool(row["per_example"]) != (kind == Kind.FIELD):
        wrong.append("per_example")
    if wrong:
        raise refusal(f"{wrong[0]} of variable v{row['n']} does not fit a variable of kind {kind}")


def _check_operation(row: Mapping[str, Any], variables: Rows, operations: Rows) -> None:
    """Its output depends on examples, and stands for right answers, as what it reads does."""
    read = [variables[source] for source in sources(row)]
    output, kind = variables[row["output"]], primitive(row["kind"])
    references = [f"v{v['n']}" for v in read if v["reference"]]
    expected = {
        "per_example": any(v["per_example"] for v in read),
        "reference": bool(references) and not is_loss(row["kind"]),
    }
    for name, value in expected.items():
        if bool(output[name]) != value:
            raise refusal(f"{name} of variable v{output['n']} does not fit what it is made from")
    if references and not kind.reads_answers:
        raise refusal(f"operation op{row['n']} reads {references[0]}, which is a right answer")
    if kind.of_losses:
        made_by = [operations[v["operation"]] for v in read if v["operation"] is not None]
        if len(made_by) < len(read) or not all(is_loss(o["kind"]) for o in made_by):
            raise refusal(f"operation op{row['n']} adds up what is no loss")


def _check_versions(data: Mapping[str, Any], variables: Rows) -> None:
    texts = {(row["variable"], row["version"]): row["text"] for row in data["versions"]}
    for n, row in variables.items():
        text = texts.get((n, row["version"]))
        if row["version"] and text != row["value"]:
            raise refusal(f"the value of v{n} is not that of its version {row['version']}")


def _check_calls(data: Mapping[str, Any]) -> None:
    for row in data["calls"]:
        try:
            request = CompletionRequest.model_validate(row["request"])
            keys = (request.key, f"{request.key}-{row['n']}")
        except (ValueError, TypeError, RecursionError):
            raise refusal(f"call c{row['n']} holds no request") from None
        if row["key"] not in keys:
            raise refusal(f"the request of call c{row['n']} was changed")
        if (row["status"] == "pending") != (row["text"] is None):
            raise refusal(f"call c{row['n']} is {row['status']}, which does not fit its text")
    answered = [row for row in data["calls"] if row["status"] != "pending"]
    paid = sum(not str(row["answerer"]).startswith(PROGRAM) for row in answered)
    if data["session"]["used_calls"] not in (paid, len(answered)):  # once, programs counted, too
        raise refusal(f"session.used_calls is not {paid}, the number of calls to models")
