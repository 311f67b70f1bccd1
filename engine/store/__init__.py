"""The store: the only place with SQL. Each method is one transaction."""

from __future__ import annotations

from pathlib import Path

from .additions import adding, binding, recomputing
from .admission import busy
from .again import AgainRows, measuring_again
from .calls import CallRows
from .connection import Fault
from .database import Chain, Database
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
    """Everything durable, in one SQLite file that several processes may share."""

    def __init__(self, path: Path, fault: Fault | None = None) -> None:
        self.db = Database(path, fault)
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

    async def ping(self) -> None:
        """Raise StoreError unless something can be stored. It is tried, and undone."""
        await self.db.ping()

    async def close(self) -> None:
        """Finish what is queued and let go of the file."""
        await self.db.close()
