"""Promises and tests are held to each other: none of either without the other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .requirements import PROMISES

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs" / "reliability.md"
KNOWN = {promise: area for area, promises in PROMISES.items() for promise in promises}
ALL_NAME_ONE = (
    *("kill", "database", "store", "runs", "http", "transfer", "openai_faults", "sampling_faults"),
    *("fuzz", "fence", "soak", "stdio", "owners", "limiter", "files", "ledger", "budgets"),
    *("stateful", "faults_endpoint", "faults_graph", "faults_kill"),
    *("faults_process", "faults_store", "contention", "ends", "jwt", "secrets", "second_user"),
    *("connections", "revocation", "older_sessions", "failures", "markdown", "logs"),
)
"""The modules about reliability and security, in which every test holds a promise."""


def promised(marks: list[ast.expr]) -> Iterator[str]:
    """The ids that the requirement marks among `marks` name; one that names none is an error."""
    for mark in marks:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.requirement":
            assert mark.args, f"line {mark.lineno}: a requirement without an id"
            for argument in mark.args:
                assert isinstance(argument, ast.Constant), f"line {argument.lineno}: no plain id"
                yield str(argument.value)


def named_in(source: str) -> dict[str, set[str]]:
    """Each test function in a module's source, with the ids it names."""
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    tests = [f for f in functions if f.name.startswith("test_")]
    return {f.name: set(promised(f.decorator_list)) for f in tests}


def collected() -> dict[str, dict[str, set[str]]]:
    """Module -> test -> the promises it names."""
    files = sorted(TESTS.glob("test_*.py"))
    return {f.stem.removeprefix("test_"): named_in(f.read_text(encoding="utf-8")) for f in files}


def test_the_collector_reads_the_marks_of_functions() -> None:
    mark = "@pytest.mark.requirement"
    found = named_in(
        f'{mark}("a", "b")\n@other\ndef test_x(): ...\ndef test_y(): ...\ndef z(): ...'
    )
    assert found == {"test_x": {"a", "b"}, "test_y": set()}
    for empty in ("()", "(name)"):
        with pytest.raises(AssertionError):
            named_in(f"{mark}{empty}\ndef test_x(): ...")


def test_every_promise_has_a_test() -> None:
    named = {p for tests in collected().values() for promises in tests.values() for p in promises}
    assert KNOWN.keys() - named == set()


def test_no_test_names_a_promise_that_nobody_made() -> None:
    for module, tests in collected().items():
        for test, promises in tests.items():
            assert promises <= KNOWN.keys(), f"test_{module}.py::{test}"


def test_every_test_of_reliability_and_security_names_a_promise() -> None:
    found = collected()
    bare = [f"test_{m}.py::{t}" for m in ALL_NAME_ONE for t, named in found[m].items() if not named]
    assert bare == [], "name one of the promises in tests/requirements.py, or add one"
    assert {m for m in found if m.startswith("faults_")} <= set(ALL_NAME_ONE)


def test_an_id_stands_for_one_promise() -> None:
    assert len(KNOWN) == sum(len(promises) for promises in PROMISES.values())


def test_the_page_on_reliability_counts_as_we_do() -> None:
    named = [promises for tests in collected().values() for promises in tests.values() if promises]
    rows = []
    for area, promises in PROMISES.items():
        tests = sum(not promises.keys().isdisjoint(some) for some in named)
        rows.append(f"| {area} | {len(promises)} | {tests} |")
    rows.append(f"| all | {len(KNOWN)} | {len(named)} |")
    page = DOCS.read_text(encoding="utf-8")
    assert [row for row in rows if row not in page] == [], "\n".join(rows)


def test_the_matrix_of_faults_names_promises_that_exist() -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.count("|") == 4]
    cells = [row.split("|")[3] for row in rows if "`" in row.split("|")[3]]
    named = {name for cell in cells for name in re.findall("`([^`]+)`", cell)}
    assert len(cells) > 20
    assert named <= KNOWN.keys()
