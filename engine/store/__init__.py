"""The store: the only place with SQL. Each verb is one transaction."""

from __future__ import annotations

from pathlib import Path

from .additions import adding, binding, recomputing
from .admission import busy
from .care import CareVerbs
from .connection import Fault
from .database import Chain, Database
from .examples import Added, ExampleVerbs
from .graph import GraphVerbs, Program
from .history import HistoryVerbs, StepRecord
from .ledger import LedgerVerbs
from .removal import RemovalVerbs
from .reports import ReportVerbs
from .rows import Fence
from .runs import Adds, Admitted, NewRun, RunVerbs
from .transfer import TransferVerbs
from .values import ValueVerbs

__all__ = [
    "Added",
    "Adds",
    "Admitted",
    "Chain",
    "Fence",
    "NewRun",
    "Program",
    "StepRecord",
    "Store",
    "adding",
    "binding",
    "busy",
    "recomputing",
]


class Store(
    GraphVerbs,
    ValueVerbs,
    ExampleVerbs,
    LedgerVerbs,
    HistoryVerbs,
    ReportVerbs,
    RunVerbs,
    RemovalVerbs,
    TransferVerbs,
    CareVerbs,
):
    """Everything durable, in one SQLite file that several processes may share."""

    def __init__(self, path: Path, fault: Fault | None = None) -> None:
        self.db = Database(path, fault)

    async def open(self) -> None:
        """Open, or create, the file. Raises StoreError."""
        await self.db.open()

    def hurry(self) -> None:
        """Do not put off any longer what may be written a moment later."""
        self.db.hurry()

    async def ping(self) -> None:
        """Raise StoreError unless the file can be read."""
        await self.db.ping()

    async def close(self) -> None:
        """Finish what is queued and let go of the file."""
        await self.db.close()
