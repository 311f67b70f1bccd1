"""A PostgreSQL server of the tests' own: on loopback, in a temporary folder, gone at the end.

Debian's package `postgresql` has one. Where there is none the tests that need it are skipped;
POSTGRES_REQUIRED=1 makes that a failure.
"""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest
from textgrad_mcp.engine.store.postgres.schema import migrate
from textgrad_mcp.schemas.database import PostgresAddress

REQUIRED = "POSTGRES_REQUIRED"
USER = "textgrad"
_numbers = count(1)
_EMPTY = """
SET lock_timeout = '1s'; DELETE FROM sessions; DELETE FROM owner_calls; DELETE FROM shared_keys;
DELETE FROM last_commits; ALTER TABLE sessions ALTER COLUMN pk RESTART
"""


@functools.cache
def programs() -> Path | None:
    """The folder with initdb and pg_ctl, of the newest version that is there."""
    found = shutil.which("pg_ctl")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parent.name)
    )
    return Path(found).parent if found else next(reversed(installed), None)


def absent(what: str) -> None:
    """Skip a test, or fail it where what it needs is required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{what}, and {REQUIRED} is set")
    pytest.skip(what)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def as_postgres() -> list[str]:
    """What stands before a command that root may not run."""
    if os.getuid():
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@dataclass
class Server:
    """A running server; `folder` is its own."""

    folder: Path
    port: int
    options: str = "-c fsync=off -c max_connections=200"
    template: str = field(default="", init=False)
    free: list[str] = field(default_factory=list, init=False)

    def run(self, program: str, *args: str) -> None:
        """Run one of the server's programs."""
        folder = programs()
        assert folder is not None
        command = [*as_postgres(), str(folder / program), *args]
        done = subprocess.run(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        """Start it, and wait until it can be connected to."""
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} {self.options}"
        data, log = str(self.folder / "data"), str(self.folder / "log")
        self.run("pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is a crash."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")

    def url(self, name: str, port: int | None = None) -> str:
        """The address of one of its databases, or of the same behind another `port`."""
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{name}"

    def empty(self) -> str:
        """The name of a new database without tables."""
        return self._made("")

    def database(self) -> str:
        """The name of a new database with the schema."""
        if not self.template:
            self.template = self.empty()
            migrate(PostgresAddress(self.url(self.template)))
        return self._made(f" TEMPLATE {self.template} STRATEGY FILE_COPY")

    def lend(self) -> str:
        """The name of a database with the schema and nothing else, to be given `back`."""
        return self.free.pop() if self.free else self.database()

    def back(self, name: str) -> None:
        """Empty a database that nobody uses any more: quicker than to make another."""
        try:
            with psycopg.connect(self.url(name), autocommit=True) as db:
                db.execute(_EMPTY)
        except psycopg.errors.LockNotAvailable:
            return  # something of the test still lives in it
        self.free.append(name)

    def _made(self, how: str) -> str:
        name = f"d{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}{how}")
        return name


@contextmanager
def server(options: str = "") -> Iterator[Server]:
    """A server; the test is skipped where none can be started."""
    if programs() is None:
        absent("there is no PostgreSQL server on this machine")
    folder = Path(tempfile.mkdtemp(prefix="textgrad-postgres-"))
    try:
        if not os.getuid():
            shutil.chown(folder, "postgres", "postgres")
        made = Server(folder, free_port())
        made.options = options or made.options
        data = str(folder / "data")
        made.run(
            "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        made.start()
        try:
            yield made
        finally:
            made.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_shared: list[tuple[Server, object]] = []


def shared() -> Server:
    """The server that the tests of one session share, started when it is first needed."""
    if not _shared:
        holder = server()
        _shared.append((holder.__enter__(), holder))
    return _shared[0][0]


def stop_shared() -> None:
    """Stop the shared server, if it was started."""
    while _shared:
        _, holder = _shared.pop()
        holder.__exit__(None, None, None)  # type: ignore[attr-defined]
