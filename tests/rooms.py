"""The map of the code: which room imports which, and how long its files are.

    python -m tests.rooms            # as it stands here
    python -m tests.rooms 3b8d2d6    # as it stood in a commit

A room is a package of `engine` or `server`, or a module that stands beside them.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = ("schemas", "engine", "server")
Sources = dict[str, str]
Graph = dict[str, set[str]]


def sources(commit: str | None = None) -> Sources:
    """The text of every module of the product by its path, here or in a commit."""
    if commit is None:
        found = (path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
        return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in found}
    packed = subprocess.run(
        ["git", "archive", commit, *LAYERS], cwd=ROOT, check=True, capture_output=True
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        files = [(m.name, tar.extractfile(m)) for m in tar if m.name.endswith(".py")]
        return {name: file.read().decode() for name, file in files if file is not None}


def modules(texts: Sources) -> Graph:
    """What each module imports of ours, wherever it says so; a package stands for its __init__."""
    names = {path: _name(path) for path in texts}
    known = set(names.values())
    return {
        name: {to for to in _imports(path, texts[path], known) if to != name}
        for path, name in names.items()
    }


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(path: str, text: str, known: set[str]) -> Iterator[str]:
    folders = path.split("/")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folders[: len(folders) - node.level + 1]
            module = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in known else module


def room(module: str) -> str:
    """The room of a module: all of `schemas` is one."""
    return ".".join(module.split(".")[: 1 if module.startswith("schemas") else 2])


def rooms(graph: Graph) -> Graph:
    """What each room imports of the others."""
    found: Graph = {}
    for module, imported in graph.items():
        found.setdefault(room(module), set()).update(map(room, imported))
    return {name: to - {name} for name, to in found.items() if "." in name or name == "schemas"}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The way round, if imports lead back to where they began."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def floors(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The rooms by height: each stands one floor above the highest that it imports."""
    height: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        height[name] = 1 + max((height[to] for to in graph.get(name, ())), default=-1)
    return [sorted(n for n in height if height[n] == h) for h in range(max(height.values()) + 1)]


def main(commit: str | None = None) -> None:
    """Print floors, arrows and the longest file of each layer."""
    texts = sources(commit)
    graph = rooms(modules(texts))
    for layer in LAYERS[1:]:
        inside = {n: {t for t in to if t.startswith(layer)} for n, to in graph.items()}
        inside = {n: to for n, to in inside.items() if n.startswith(layer)}
        lengths = {p: t.count("\n") for p, t in texts.items() if p.startswith(layer)}
        longest = max(lengths, key=lengths.__getitem__)
        around = circle(inside)
        print(
            f"{layer}: {len(inside)} rooms, {sum(map(len, inside.values()))} arrows, "
            f"{len(lengths)} files, the longest {longest} with {lengths[longest]} lines"
        )
        if around:
            print(f"  a circle: {' -> '.join(around)}")
            continue
        for height, names in reversed(list(enumerate(floors(inside)))):
            print(f"  floor {height}: {', '.join(n.partition('.')[2] for n in names)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
