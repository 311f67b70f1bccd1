"""What a failure of the server means, in words, and whether trying again may help."""

from __future__ import annotations

import psycopg
from psycopg import errors

from ....schemas.database import PostgresAddress
from ....schemas.errors import StoreBusy, StoreError

AGAIN = (errors.DeadlockDetected, errors.SerializationFailure)
"""Undone by the server for the sake of another transaction: the same may succeed a moment later."""
_NOT_NOW = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.TooManyConnections,
    errors.IdleInTransactionSessionTimeout,
)
Words = tuple[str, str]
_WORDS: list[tuple[type[psycopg.Error], Words]] = [
    (errors.LockNotAvailable, ("is held up by another transaction", "Call again in a moment.")),
    (
        errors.InsufficientPrivilege,
        ("does not let this user do that", "Grant the user the rights to its tables."),
    ),
    (
        errors.UndefinedTable,
        ("has lost its tables", "Restore a backup, or name another with --database."),
    ),
    (errors.DiskFull, ("cannot grow: its disk is full", "Free some space and call again.")),
    (errors.ReadOnlySqlTransaction, ("is read-only", "Name the primary server, no standby.")),
    (
        errors.ForeignKeyViolation,
        ("has that session no more: it was deleted meanwhile", "Begin a new one."),
    ),
    (
        psycopg.DataError,
        (
            "cannot hold a value of this",
            "Take what is no text (NUL) out of it, and call again.",
        ),
    ),
    (
        psycopg.OperationalError,
        ("cannot be reached, or ended the connection", "Check that it runs, and call again."),
    ),
]


_REFUSALS: dict[str, str] = {
    "password": "Set PGPASSWORD or TEXTGRAD_MCP_DATABASE_PASSWORD, or mend ~/.pgpass.",
    "authentication": "Check the user, the password and the server's pg_hba.conf.",
    "pg_hba": "Let this machine and user in: the server's pg_hba.conf.",
    "does not exist": "Make it with createuser or createdb, or name another with --database.",
    "invalid connection option": "Mend the address: postgresql://user@host:5432/name.",
    "invalid URI": "Mend the address: postgresql://user@host:5432/name.",
    "invalid port": "Mend the address: postgresql://user@host:5432/name.",
}
"""What a server, or libpq, says when it will not connect whoever waits; and what to do."""


def passing(error: Exception) -> bool:
    """Whether the error undid the transaction for a reason that may be over soon (a deadlock, a
    lost connection), so that it is to be repeated."""
    return isinstance(error, AGAIN) or unreachable(error)


def unreachable(error: Exception) -> bool:
    """Whether there is no connection, at this moment."""
    if isinstance(error, _NOT_NOW):
        return True
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    )


def final(error: Exception) -> bool:
    """Whether a connection was refused for a reason that waiting does not mend."""
    return isinstance(error, psycopg.Error) and any(mark in str(error) for mark in _REFUSALS)


def explain(error: Exception, address: PostgresAddress) -> Exception:
    """What `error` means for the database, in words; errors of another kind as they are."""
    if isinstance(error, OSError):
        return StoreError(f"The database {address} could not be used: {error}.", "Call again.")
    if not isinstance(error, psycopg.Error):
        return error
    what, next_step = next(
        (words for kind, words in _WORDS if isinstance(error, kind)),
        (f"reported {type(error).__name__}", "Call again."),
    )
    if unreachable(error) or not error.sqlstate:
        next_step = next((do for mark, do in _REFUSALS.items() if mark in str(error)), next_step)
    kind = StoreBusy if isinstance(error, errors.LockNotAvailable) else StoreError
    return kind(f"The database {address} {what}{_said(error, address)}.", next_step)


def _said(error: psycopg.Error, address: PostgresAddress) -> str:
    """The server's own words, or libpq's, which hold no values: only about the connection."""
    if not isinstance(error, psycopg.OperationalError) or not unreachable(error):
        return ""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = lines[0].rstrip(".") if lines else ""
    if address.secret:
        words = words.replace(address.secret, "***")
    return f" ({words[:200]})" if words else ""
