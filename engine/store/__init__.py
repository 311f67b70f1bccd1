"""The store: the only place with SQL. Each verb is one transaction."""

from __future__ import annotations

from pathlib import Path

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
from .runs import RunVerbs, busy
from .transfer import TransferVerbs
from .values import ValueVerbs

__all__ = ["Added", "Chain", "Fence", "Program", "StepRecord", "Store", "busy"]


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
