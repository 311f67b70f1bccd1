"""Which way the code depends, where SQL may stand, and that no error leaves its reader alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from textgrad_mcp.schemas import errors

ROOT = Path(__file__).parent.parent
LAYERS = {"schemas": set[str](), "engine": {"schemas"}, "server": {"engine", "schemas"}}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s"
    r"|CREATE\s+(TABLE|INDEX|UNIQUE)|PRAGMA\s|BEGIN\s+IMMEDIATE)",
    re.DOTALL,
)
SERVER_ONLY = {"mcp", "mcp_types", "starlette", "uvicorn", "anyio", "argparse"}
ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.TextGradError)
}


def modules(layer: str) -> Iterator[Path]:
    """The source files of a layer."""
    yield from sorted((ROOT / layer).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """What a module imports: outside names as they are, ours as `layer.module`."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield ".".join([*base, *filter(None, [node.module])])


def test_the_folders_are_the_three_layers() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert found == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_itself_and_those_below(layer: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(layer)
        for name in imports(path)
        if name.split(".")[0] in LAYERS.keys() - LAYERS[layer] - {layer}
        or name.startswith("textgrad_mcp")
    ]
    assert wrong == []


@pytest.mark.parametrize("layer", ["schemas", "engine"])
def test_only_the_server_knows_a_protocol(layer: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(layer)
        for name in imports(path)
        if name.split(".")[0] in SERVER_ONLY
    ]
    assert wrong == []


def test_sql_stands_in_the_store_alone() -> None:
    store = ROOT / "engine" / "store"
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for layer in LAYERS
        for path in modules(layer)
        if store not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    assert wrong == []


def test_the_store_does_hold_sql() -> None:
    assert any(SQL.search(p.read_text()) for p in (ROOT / "engine" / "store").glob("*.py"))


@pytest.mark.requirement("errors-mapped")
@pytest.mark.parametrize("layer", LAYERS)
def test_every_error_says_what_to_do_next(layer: str) -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules(layer)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ERRORS
        and len(node.args) + len(node.keywords) < 2
        and not any(isinstance(arg, ast.Starred) for arg in node.args)
    ]
    assert bare == []
