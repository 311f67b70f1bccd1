"""The store's contract is tried on each database it can be kept in.

A test (or a module, by `pytestmark`) with the mark `each_store` runs on SQLite, and once more,
marked `postgres`, with a database of a PostgreSQL server in the place of each file that a store
would be opened on. Those `about_the_file` in such a module do not.

What tests write lies in memory where there is room: on a disk they would mostly wait for it, for
SQLite has every commit written out. They run in more processes than there are cores, for many wait
for processes of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.engine import store
from textgrad_mcp.schemas.database import Location, PostgresAddress

from .helpers import MEMORY
from .postgres_server import shared, stop_shared

IN_MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that must be free there."""


def pytest_configure() -> None:
    """Choose where temporary folders lie, for this process and those of xdist."""
    if not IN_MEMORY.is_dir():
        return
    found = os.statvfs(IN_MEMORY)
    if found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three processes for two cores."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Twice what is marked so."""
    marked = metafunc.definition.get_closest_marker
    if marked("each_store") and not marked("about_the_file"):
        kinds = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
        metafunc.parametrize("store_kind", kinds, indirect=True)


def pytest_sessionfinish() -> None:
    """The server was started by whoever needed it first."""
    stop_shared()


@pytest.fixture(autouse=True)
def store_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """On which database the stores of a test are opened."""
    kind: str = getattr(request, "param", "sqlite")
    if kind != "postgres":
        yield kind
        return
    with pytest.MonkeyPatch.context() as patch:
        opened = OnPostgres(store.backend)
        patch.setattr(store, "backend", opened)
        yield kind
        opened.give_back()


class OnPostgres:
    """Opens a database of the server in the place of each file, the same for the same file."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._known: dict[Path, PostgresAddress] = {}
        self._server, self._lent = shared(), list[str]()

    def __call__(self, path: Location, fault: Any = None) -> Any:
        """A database for what would be at `path`."""
        if isinstance(path, Path):
            made = self._known.get(path)
            if made is None:
                self._lent.append(self._server.lend())
                made = PostgresAddress(self._server.url(self._lent[-1]))
                if path != MEMORY:
                    self._known[path] = made
            path = made
        return self._backend(path, fault)

    def give_back(self) -> None:
        """Everything is closed now."""
        for name in self._lent:
            self._server.back(name)
