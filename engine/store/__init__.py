"""The store: the only place with SQL. Each verb is one transaction."""

from __future__ import annotations

from pathlib import Path

from .care import CareVerbs
from .database import Database, Fault
from .graph import Added, GraphVerbs, Program
from .history import HistoryVerbs, StepRecord
from .ledger import LedgerVerbs
from .reports import ReportVerbs
from .rows import Fence
from .runs import RunVerbs, busy
from .transfer import TransferVerbs

__all__ = ["Added", "Fence", "Program", "StepRecord", "Store", "busy"]


class Store(GraphVerbs, LedgerVerbs, HistoryVerbs, ReportVerbs, RunVerbs, TransferVerbs, CareVerbs):
    """Everything durable, in one SQLite file that several processes may share."""

    def __init__(self, path: Path, fault: Fault | None = None) -> None:
        self.db = Database(path, fault)

    async def open(self) -> None:
        """Open, or create, the file. Raises StoreError."""
        await self.db.open()

    async def ping(self) -> None:
        """Raise StoreError unless the file can be read."""
        await self.db.ping()

    async def close(self) -> None:
        """Finish what is queued and let go of the file."""
        await self.db.close()
