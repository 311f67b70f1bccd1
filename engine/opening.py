"""Opening an engine, for programs that use it without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from ..schemas.database import Location, located
from ..schemas.settings import Settings
from .answerers import Answerer, made
from .answerers.limiter import Limiters
from .engine import Engine
from .store import Store


@asynccontextmanager
async def open_engine(
    database: Location | str,
    settings: Settings | None = None,
    answerers: Mapping[str, Answerer] | None = None,
) -> AsyncIterator[Engine]:
    """An engine on a database's file (":memory:" is kept nowhere) or at an address of PostgreSQL,
    closed at the end.

    `answerers` write the completions of the roles forward and backward, and of further models by
    their names, instead of those that `settings` name. Raises BadInput for settings that do not
    fit, StoreError for a file that cannot be used.
    """
    settings = settings or Settings()
    limiters = Limiters()
    chosen = dict(answerers or {})
    for name, one in settings.answering.items():
        if name not in chosen:
            chosen[name] = made(one.answered_by, one, limiters)
    place = located(database)
    store = Store(Path(place) if isinstance(place, str) else place)
    await store.open()
    engine = Engine(settings, store, chosen)
    try:
        yield engine
    finally:
        await engine.close()
