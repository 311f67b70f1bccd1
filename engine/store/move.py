"""All sessions of a database into another one: from a file to a server, or back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...schemas.database import Location
from ...schemas.errors import BadInput, Conflict
from . import Store, check_there


@dataclass(frozen=True)
class Moved:
    """How many sessions were copied, and how many were there already."""

    moved: int
    there: int


async def move(
    source: Location, target: Location, check: Callable[[dict[str, Any]], None] | None = None
) -> Moved:
    """Copy every session into `target`, each as its owner's, under its own id.

    One that is there already is left as it is, so that a move which was interrupted can be
    repeated. Raises NotFound, StoreError, BadInput; what was copied before stays.
    """
    if str(source) == str(target):
        raise BadInput(f"{source} is both.", "Name two databases.")
    check_there(source)
    old, new = Store(source), Store(target)
    await old.open()
    try:
        await new.open()
        try:
            return await _copied(old, new, check)
        finally:
            await new.close()
    finally:
        await old.close()


async def _copied(old: Store, new: Store, check: Callable[[dict[str, Any]], None] | None) -> Moved:
    busy = await old.maintenance.running()
    if busy:
        raise Conflict(
            f"Runs are under way in {', '.join(busy)}; what they do from now on would be left "
            "behind. Nothing was copied.",
            "Wait until they have ended, or cancel them (resume with cancel=true).",
        )
    moved = there = 0
    for one in await old.maintenance.every_session():
        if await new.maintenance.any_session(one.id) is not None:
            there += 1
            continue
        document = await old.export.export_session(one.pk)
        await new.export.import_session(one.owner, document, check)
        moved += 1
    return Moved(moved, there)
