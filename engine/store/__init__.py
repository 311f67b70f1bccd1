"""The store: the only place with SQL. Each method is one transaction."""

from __future__ import annotations

from pathlib import Path

from ...schemas.database import Location, PostgresAddress, located
from ...schemas.errors import BadInput, NotFound, StoreError
from .additions import adding, binding, recomputing
from .admission import busy
from .again import AgainRows, measuring_again
from .backend import Backend, Chain
from .calls import CallRows
from .connection import Fault, connect, schema_version
from .database import Database
from .evaluations import EvaluationRows
from .examples import Added, ExampleRows
from .export import Export
from .graph import GraphRows, Program
from .history import HistoryRows, StepRecord
from .maintenance import Maintenance
from .news import News
from .overview import OverviewRows
from .removal import Removal
from .rows import RunFence
from .runs import Adds, Admitted, NewRun, RunRows
from .sessions import SessionRows
from .values import ValueRows

__all__ = [
    "Added",
    "Adds",
    "Admitted",
    "Chain",
    "NewRun",
    "Program",
    "RunFence",
    "StepRecord",
    "Store",
    "adding",
    "binding",
    "busy",
    "measuring_again",
    "recomputing",
]


class Store:
    """Everything durable: in one SQLite file that the processes of a machine may share, or in a
    PostgreSQL database for many machines."""

    def __init__(self, path: Location, fault: Fault | None = None) -> None:
        self.db = backend(path, fault)
        self.sessions = SessionRows(self.db)
        self.graph = GraphRows(self.db)
        self.values = ValueRows(self.db)
        self.examples = ExampleRows(self.db)
        self.calls = CallRows(self.db)
        self.history = HistoryRows(self.db)
        self.evaluations = EvaluationRows(self.db)
        self.runs = RunRows(self.db)
        self.removal = Removal(self.db)
        self.export = Export(self.db)
        self.maintenance = Maintenance(self.db)
        self.overview = OverviewRows(self.db)
        self.again = AgainRows(self.db)
        self.news = News(self.db)

    async def open(self, *, fresh: bool = True) -> None:
        """Open the file, or create it if it may be a `fresh` one. Raises StoreError."""
        await self.db.open(fresh=fresh)

    def check_presence(self) -> None:
        """Raise StoreError when the file that is open is no longer the one that is there."""
        self.db.check_presence()

    def hurry(self) -> None:
        """Do not put off any longer what may be written a moment later."""
        self.db.hurry()

    def leave(self) -> None:
        """Wait for nobody for long any more: this process ends."""
        self.db.leave()

    async def ping(self) -> None:
        """Raise StoreError unless something can be stored. It is tried, and undone."""
        await self.db.ping()

    async def close(self) -> None:
        """Finish what is queued and let go of the file."""
        await self.db.close()


def backend(path: Location, fault: Fault | None = None) -> Backend:
    """The database at `path`, not open yet. Raises StoreError where its driver is missing."""
    try:
        path = located(path)
    except ValueError as error:
        raise BadInput(f"The database cannot be used: {error}.", "Mend its address.") from None
    if not isinstance(path, PostgresAddress):
        return Database(path, fault)
    try:
        from .postgres.database import PostgresDatabase
    except ImportError as error:
        raise missing(path) from error
    return PostgresDatabase(path, fault)


def check_there(path: Location) -> None:
    """Raise NotFound where there is no file; a server is asked when it is opened."""
    if isinstance(path, Path) and not path.exists():
        raise NotFound(f"There is no database {path}.", "Name one with --database.")


def migrate(path: Location) -> tuple[int, int]:
    """Bring a database's schema up to date; gives its version before (0: none) and now.

    A file's is brought up to date whenever it is opened. Raises StoreError, NotFound.
    """
    path = located(path)
    if isinstance(path, PostgresAddress):
        try:
            from .postgres.schema import migrate as migrated
        except ImportError as error:
            raise missing(path) from error
        return migrated(path)
    check_there(path)
    before = schema_version(path)
    connect(path, fresh=False).close()
    return before, schema_version(path)


def missing(address: PostgresAddress) -> StoreError:
    """What is said where psycopg is not installed."""
    return StoreError(
        f"The database {address} needs psycopg, which is not installed.",
        "pip install 'textgrad-mcp[postgres]' (or uvx --from 'textgrad-mcp[postgres]').",
    )
