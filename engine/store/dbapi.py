"""What a job may use of a database, whichever it is: statements, and rows by name or by place.

The SQL of the store is what SQLite and PostgreSQL both understand, but for a few forms of SQLite's
that postgres/dialect.py rewrites: parameters, `json_each` over a list of numbers (`value`) or of
texts (`atom`), join orders and indexes that are forced, the clock, rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Args = Sequence[Any] | Mapping[str, Any]
Job = Callable[[Any], T]
"""One transaction's work: it is handed a Connection. It may be run again, so it changes nothing
else."""
ALL = 1 << 62
"""In place of a LIMIT: no limit."""


class Row(Protocol):
    """A row of a result."""

    def __getitem__(self, key: Any, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...

    def keys(self) -> list[str]:
        """The names of its columns."""
        ...


class Cursor(Protocol):
    """The result of a statement."""

    row_factory: Any

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    @property
    def description(self) -> Any:
        """The columns, their names first."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that were not read yet."""
        ...

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None:
        """Read no more of it."""
        ...


class Connection(Protocol):
    """What runs statements, within the transaction of a job."""

    unfit: tuple[type[Exception], ...]
    """What is raised for values that a table does not take."""

    def execute(self, sql: str, args: Args = (), /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, sql: str, args: Iterable[Args], /) -> object:
        """Run one statement for each of `args`."""
        ...

    def later(self, sql: str, args: Args = (), /) -> None:
        """Run one statement that nobody needs a result of: with the next one, or the commit."""
        ...

    def lock(self, name: str) -> None:
        """Let nobody else who locks `name` go on until this transaction has ended."""
        ...

    def lock_sessions(self, sessions: Sequence[int]) -> None:
        """Let nobody write to these sessions until this transaction has ended."""
        ...

    def arrival(self, table: str) -> str:
        """What puts a table's rows in the order they came in, as far as the database knows it."""
        ...

    def overwrite_deleted(self) -> None:
        """Overwrite what is deleted from now on, where the database leaves that to us."""
        ...

    def damage(self) -> list[str]:
        """What the database itself finds wrong, in words."""
        ...
