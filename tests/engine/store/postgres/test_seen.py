"""What a database server's operator sees of us."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from textgrad_mcp.engine.store import Store
from textgrad_mcp.engine.store.dbapi import Connection
from textgrad_mcp.schemas.database import PostgresAddress

from ....postgres_server import shared


@pytest.mark.postgres
@pytest.mark.requirement("metrics")
@pytest.mark.parametrize("named", [False, True])
def test_a_connection_tells_the_server_which_process_it_is_of_unless_the_address_does(
    named: bool,
) -> None:
    name, query = shared().lend(), "?application_name=mine" if named else ""

    def job(db: Connection) -> str:
        return str(db.execute("SELECT current_setting('application_name')").fetchone()[0])

    async def main() -> str:
        store = Store(PostgresAddress(shared().url(name) + query))
        await store.open()
        try:
            return await store.db.read(job, single=True)
        finally:
            await store.close()

    ours = f"textgrad-mcp {socket.gethostname()}:{os.getpid()}"[:63]
    assert asyncio.run(main()) == ("mine" if named else ours)
    shared().back(name)
