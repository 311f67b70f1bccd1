"""A connection to a PostgreSQL server, and its transaction as a job of the store sees it.

Parameters are written into the statements here, quoted by libpq, and nothing is prepared on the
server: so one trip can carry several statements (what begins a transaction goes with the first of
its job), and a pooler between that hands out connections by the transaction is no matter.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import psycopg
from psycopg import ClientCursor
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg.rows import RowMaker

from ....schemas.database import PostgresAddress
from ..dbapi import Args
from .dialect import KEYS, statement

CONNECT_SECONDS = 5
LOCK_SECONDS, IDLE_SECONDS = 30, 20
"""How long a lock is waited for; how long a transaction may stand still before it is undone."""
CHUNK = 200
"""So many statements of one kind go together."""
_LIMITS = (
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"
)


class Row(tuple[Any, ...]):
    """A row by place and by name."""

    names: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names[key] if isinstance(key, str) else key)

    def keys(self) -> list[str]:
        """The names of its columns."""
        return list(self.names)


def _rows(cursor: Any) -> RowMaker[Any]:
    columns = cursor.description or []
    kind = type("Row", (Row,), {"names": {c.name: n for n, c in enumerate(columns)}})
    return lambda values: kind(values)


class _Truth(Loader):
    """A boolean as SQLite gives it: 1 or 0."""

    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


class _Sum(Loader):
    """What adds up whole numbers is a whole number."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


class Found:
    """The result of a statement."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.row_factory: Any = None  # rows are tuples whatever it says

    @property
    def said(self) -> str:
        """The server's own word for what the statement did ("UPDATE 1")."""
        return str(self._cursor.statusmessage)

    @property
    def rowcount(self) -> int:
        """How many rows were changed, or found."""
        return int(self._cursor.rowcount)

    @property
    def description(self) -> Any:
        """The columns, their names first."""
        return self._cursor.description

    def fetchall(self) -> list[Any]:
        """All rows that were not read yet."""
        return list(self._cursor.fetchall())

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        return self._cursor.fetchone()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def close(self) -> None:
        """Forget the rest."""
        self._cursor.close()


class Connected:
    """A connection, which never waits for the server but in `execute` and `commit`."""

    unfit: tuple[type[Exception], ...] = (psycopg.IntegrityError, psycopg.DataError)

    def __init__(self, address: PostgresAddress) -> None:
        """Connect. Raises psycopg.Error."""
        given: dict[str, Any] = {"password": address.secret} if address.secret else {}
        self._raw = psycopg.connect(
            address.url,
            autocommit=True,
            row_factory=_rows,
            prepare_threshold=None,
            connect_timeout=CONNECT_SECONDS,
            client_encoding="utf8",
            keepalives_idle=30,
            fallback_application_name=f"textgrad-mcp {socket.gethostname()}:{os.getpid()}"[:63],
            **given,
        )
        self._raw.adapters.register_loader("bool", _Truth)
        self._raw.adapters.register_loader("numeric", _Sum)
        self.writer, self.transaction = secrets.token_hex(8), 0
        self._first: list[str] = []
        self._unsaid = False
        self.trips = 0

    @property
    def lost(self) -> bool:
        """Whether the connection is of no use any more."""
        return bool(self._raw.closed or self._raw.broken)

    def _cursor(self) -> ClientCursor[Any]:
        return ClientCursor(self._raw)

    @property
    def _open(self) -> bool:
        return self._raw.info.transaction_status != TransactionStatus.IDLE

    def begin_reading(self) -> None:
        """One moment's view of everything, from the next statement on."""
        self._first = ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"]

    def read_only(self) -> None:
        """The next statement is one by itself, and writes nothing."""
        self._first = ["SET TRANSACTION READ ONLY"]

    def begin_writing(self, session: int | None) -> None:
        """A transaction, from the next statement on, that nobody else writes to `session` in.

        It leaves its number under the connection's name: so it can be told later whether it was
        committed, also after a crash, in which the server itself may forget about it.
        """
        self.transaction += 1
        mark = (
            f"INSERT INTO last_commits VALUES ('{self.writer}', {self.transaction}, now()) "
            "ON CONFLICT (writer) DO UPDATE SET transaction = excluded.transaction, "
            "seen = excluded.seen"
        )
        self._first = ["BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", _LIMITS, mark]
        if session is not None:
            self.lock_sessions([session])

    def execute(self, sql: str, args: Args = (), /) -> Found:
        """Run one statement of the store."""
        cursor = self._cursor()
        given: Any = args if isinstance(args, dict) else tuple(args)
        return self._sent(cursor, cursor.mogrify(statement(sql), given))

    def later(self, sql: str, args: Args = (), /) -> None:
        """Run one statement on the next trip: with the next one, or the commit."""
        given: Any = args if isinstance(args, dict) else tuple(args)
        self._first.append(self._cursor().mogrify(statement(sql), given))
        self._unsaid = True

    def plain(self, sql: str) -> Found:
        """Run statements of PostgreSQL's own."""
        return self._sent(self._cursor(), sql)

    def _sent(self, cursor: ClientCursor[Any], sql: str) -> Found:
        said, self._first, self._unsaid = "; ".join([*self._first, sql]), [], False
        self.trips += 1
        cursor.execute(said.encode())
        while cursor.nextset():
            pass
        return Found(cursor)

    def executemany(self, sql: str, args: Iterable[Args], /) -> None:
        """Run one statement for each of `args`, many on one trip."""
        cursor, text, left = self._cursor(), statement(sql), iter(args)
        while some := list(islice(left, CHUNK)):  # by and by: the server undoes what stands still
            given: list[Any] = [one if isinstance(one, dict) else tuple(one) for one in some]
            self._sent(cursor, "; ".join(cursor.mogrify(text, one) for one in given))

    def commit(self) -> None:
        """What was written is kept. Raises psycopg.Error; it may be kept all the same then."""
        if not self._open and not self._unsaid:
            self._first = []  # nothing was ever said
        elif self.plain("COMMIT").said != "COMMIT":
            raise psycopg.errors.InFailedSqlTransaction("a statement of it had failed")

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""
        self._first, self._unsaid = [], False
        if not self.lost and self._open:
            self.plain("ROLLBACK")

    def committed(self, writer: str, transaction: int) -> bool:
        """Whether a connection's last transaction was committed; waits while that is open.

        Raises psycopg.Error.
        """
        asked = self.plain(
            f"BEGIN; {_LIMITS}; INSERT INTO last_commits VALUES ('{writer}', 0, now()) "
            "ON CONFLICT (writer) DO UPDATE SET seen = now() RETURNING transaction"
        )
        found = asked.fetchone()
        self.plain("COMMIT")
        return bool(found["transaction"] == transaction)

    def lock(self, name: str) -> None:
        """Let nobody else who locks `name` go on until this transaction has ended."""
        self._first.append(
            self._cursor().mogrify("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))", (name,))
        )

    def lock_sessions(self, sessions: Sequence[int]) -> None:
        """Let nobody write to these sessions until this transaction has ended."""
        which = ", ".join(str(int(one)) for one in sessions) or "NULL"
        self._first.append(
            f"SELECT 1 FROM sessions WHERE pk IN ({which}) ORDER BY pk FOR NO KEY UPDATE"
        )

    def arrival(self, table: str) -> str:
        """The order of numbers or keys; only where there are none the rows remember theirs."""
        return KEYS.get(table, "n")

    def overwrite_deleted(self) -> None:
        """Nothing to do: what becomes of deleted rows is the server's own business."""

    def damage(self) -> list[str]:
        """Nothing: a server is checked by its own tools."""
        return []

    def close(self) -> None:
        """Let go of the connection."""
        self._raw.close()
