"""The schema on a server: made and brought up to date by `migrate`, checked by whoever opens it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from ....schemas.database import PostgresAddress
from ....schemas.errors import StoreError
from ..dbapi import Connection
from ..migrations import MIGRATIONS
from .causes import explain
from .connection import Connected
from .dialect import schema_steps

ROLLING = 1
"""So many versions back a server still works with a schema, so that replicas are updated one by
one. A migration that the version before cannot live with sets this to 0."""
_MIGRATE = "Run `textgrad-mcp database migrate` with the same --database, and start again."
_OURS = """
CREATE TABLE IF NOT EXISTS textgrad_schema (version BIGINT NOT NULL, oldest BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS last_commits (
    writer TEXT PRIMARY KEY, transaction BIGINT NOT NULL, seen TIMESTAMPTZ NOT NULL);
DELETE FROM last_commits WHERE seen < now() - interval '7 days'
"""


def check_version(address: PostgresAddress) -> Callable[[Connection], None]:
    """A job that raises StoreError unless the database has a schema that this version can use."""

    def check(db: Connection) -> None:
        there = db.execute("SELECT to_regclass('textgrad_schema') AS ours").fetchall()[0]["ours"]
        if there is None:
            raise StoreError(f"The database {address} has no tables of textgrad-mcp yet.", _MIGRATE)
        [found] = db.execute("SELECT version, oldest FROM textgrad_schema").fetchall()
        known = len(MIGRATIONS)
        if found["version"] < known:
            raise StoreError(
                f"The database {address} has an older schema ({found['version']}; this version of "
                f"textgrad-mcp needs {known}).",
                _MIGRATE,
            )
        if found["oldest"] > known:
            raise StoreError(
                f"The database {address} has a newer schema ({found['version']}; this version of "
                f"textgrad-mcp knows {known}).",
                "Upgrade textgrad-mcp.",
            )

    return check


def migrate(address: PostgresAddress) -> tuple[int, int]:
    """Bring the schema up to date, or make it; gives its version before (0: none) and now.

    Who comes at the same time waits, and finds it done. Servers of the version before may go on.
    Raises StoreError, and changes nothing.
    """
    try:
        db = Connected(address)
    except psycopg.Error as error:
        raise explain(error, address) from None
    try:
        return _migrated(db, address)
    except psycopg.Error as error:
        raise explain(error, address) from error
    finally:
        db.close()


def _migrated(db: Connected, address: PostgresAddress) -> tuple[int, int]:
    db.plain("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('textgrad-mcp schema', 7))")
    _check_ours(db, address)
    db.plain(_OURS)
    found = db.plain("SELECT version FROM textgrad_schema").fetchall()
    before, known = (int(found[0]["version"]) if found else 0), len(MIGRATIONS)
    if before < known:
        for _, script in MIGRATIONS[before:]:
            for step in schema_steps(script):
                db.plain(step)
        db.plain("DELETE FROM textgrad_schema")
        db.plain(f"INSERT INTO textgrad_schema VALUES ({known}, {known - ROLLING})")
    db.commit()
    return before, max(before, known)


def _check_ours(db: Connected, address: PostgresAddress) -> None:
    said = "SELECT to_regclass('textgrad_schema') AS ours, to_regclass('sessions') AS other"
    [found] = db.plain(f"{said}, current_setting('server_encoding') AS encoding").fetchall()
    if found["encoding"] != "UTF8":
        raise StoreError(
            f"The database {address} keeps texts as {found['encoding']}.",
            "Make one with createdb --encoding=UTF8 --template=template0.",
        )
    if found["ours"] is None and found["other"] is not None:
        raise StoreError(
            f"The database {address} has a table `sessions` of another program; it was left as "
            "it is.",
            "Make a database of its own with createdb.",
        )
