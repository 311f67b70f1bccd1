"""What is installed is what is there: packages, data files, type markers, version."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LAYERS = ("engine", "schemas", "server")


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_packages_are_the_folders_with_an_init_file() -> None:
    folders = {
        ".".join(["textgrad_mcp", *path.parent.relative_to(ROOT).parts])
        for layer in LAYERS
        for path in (ROOT / layer).rglob("__init__.py")
    }
    assert sorted(folders) == project()["tool"]["setuptools"]["packages"]


def test_every_folder_with_code_is_a_package() -> None:
    bare = {
        str(path.parent.relative_to(ROOT))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    }
    assert bare == set()


def test_every_layer_says_that_it_is_typed() -> None:
    assert [layer for layer in LAYERS if not (ROOT / layer / "py.typed").exists()] == []


def test_every_data_file_is_installed() -> None:
    patterns = project()["tool"]["setuptools"]["package-data"]["*"]
    lost = [
        str(path.relative_to(ROOT))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix != ".py"
        and not any(path.match(pattern) for pattern in patterns)
    ]
    assert lost == []


def test_nothing_generic_is_installed_at_the_top() -> None:
    assert all(p.startswith("textgrad_mcp.") for p in project()["tool"]["setuptools"]["packages"])
