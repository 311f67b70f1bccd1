"""Behind PgBouncer, which hands a connection of its own to each transaction."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from textgrad_mcp.engine.store import migrate
from textgrad_mcp.schemas.database import PostgresAddress

from ....many_writers import Work, check_totals, processes, write_calls
from ....postgres_server import USER, Server, as_postgres, free_port, shared
from .test_exactly_once import sessions_of

pytestmark = pytest.mark.postgres
CONFIG = """
[databases]
* = host=127.0.0.1 port={target} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
"""


def program() -> str | None:
    """PgBouncer, if it is installed."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextmanager
def pooler(server: Server) -> Iterator[int]:
    """PgBouncer before the server, with three connections to it; gives its port."""
    found = program()
    if found is None:
        pytest.skip("there is no PgBouncer on this machine")
    folder = Path(tempfile.mkdtemp(prefix="textgrad-pooler-"))
    port = free_port()
    config = folder / "pgbouncer.ini"
    config.write_text(CONFIG.format(target=server.port, port=port, user=USER))
    folder.chmod(0o755)
    command = [*as_postgres(), str(found), str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _listening(port)
            yield port
        finally:
            process.terminate()
            process.wait(20)
            shutil.rmtree(folder)


def _listening(port: int) -> None:
    for _ in range(1000):
        with closing(socket.socket()) as found:
            if found.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.02)
    raise AssertionError("PgBouncer does not listen")


@pytest.mark.requirement("fleet-pooler")
def test_a_pooler_by_the_transaction_is_no_matter() -> None:
    server = shared()
    name = server.empty()
    with pooler(server) as port:
        url = server.url(name, port)
        assert migrate(PostgresAddress(url))[0] == 0
        made = sessions_of(url, 4)
        with processes(write_calls, [Work(url, made, 5) for _ in range(4)]) as finished:
            assert finished() == [20] * 4
    assert check_totals(server.url(name)) == 80
