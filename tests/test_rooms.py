"""Which room may import which: only those on the floors below its own, and nothing in a circle."""

from __future__ import annotations

from .rooms import Graph, circle, modules, rooms, sources

FLOORS = """
    server.auth server.cli
    server.http
    server.demo server.protocol
    server.logs server.page server.telemetry
    server.local server.settings server.edited_file server.terminal server.version
    engine.opening
    engine.engine
    engine.tools
    engine.optimizer
    engine.views
    engine.evaluation
    engine.program
    engine.constraints
    engine.runs
    engine.store
    engine.answerers
    engine.evaluators engine.metrics engine.replies
    engine.data engine.prompts engine.workers
    engine.extensions
    schemas
"""
"""From the top to the ground. A new room gets its place here."""

HEIGHT = {room: -depth for depth, floor in enumerate(FLOORS.split("\n")) for room in floor.split()}
TEXTS = sources()
MODULES = modules(TEXTS)
MOST_LINES = 400


def upwards(graph: Graph) -> list[str]:
    """Imports of a room that does not stand lower."""
    return [
        f"{room} imports {to}"
        for room, imported in graph.items()
        for to in imported
        if HEIGHT[to] >= HEIGHT[room]
    ]


def test_every_room_has_its_floor() -> None:
    assert set(rooms(MODULES)) == set(HEIGHT)


def test_a_room_imports_only_what_stands_lower() -> None:
    assert upwards(rooms(MODULES)) == []


def test_no_module_comes_back_to_itself_by_its_imports() -> None:
    assert circle(MODULES) == []


def test_an_import_upwards_and_a_circle_are_seen() -> None:
    files = {
        "engine/store/rows.py": "from ..runs.ledger import Ledger",
        "engine/runs/ledger.py": "def late():\n    from ..store import rows",
    }
    assert upwards(rooms(modules(files))) == ["engine.store imports engine.runs"]
    assert len(circle(modules(files))) == 3


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    lines = {path: text.count("\n") for path, text in TEXTS.items()}
    assert {path: n for path, n in lines.items() if n > MOST_LINES} == {}
