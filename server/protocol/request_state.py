"""The key that seals what a client carries from one round of a call to the next.

It lies beside the database, so that a round that began before a restart can end after it.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from mcp.server.mcpserver import RequestStateSecurity

from ...schemas.database import PostgresAddress
from ...schemas.settings import Settings
from ..settings.load import default_database, resolve

log = logging.getLogger(__name__)
TTL_SECONDS = 3600.0


def security(settings: Settings) -> RequestStateSecurity | None:
    """How rounds are sealed; None (a key of this process alone) where no role is sampling."""
    if "sampling" not in (resolve(settings.forward), resolve(settings.backward)):
        return None
    database = settings.database or default_database()
    if isinstance(database, PostgresAddress):
        log.warning("rounds will not survive a restart, nor go on at another server")
        return RequestStateSecurity.ephemeral(ttl=TTL_SECONDS)
    path = database.with_suffix(".state-key")
    try:
        key = kept_key(path)
    except OSError as error:
        log.warning("%s: rounds will not survive a restart (%s)", path, error)
        return RequestStateSecurity.ephemeral(ttl=TTL_SECONDS)
    return RequestStateSecurity(keys=[key], ttl=TTL_SECONDS)


def kept_key(path: Path) -> str:
    """The key in the file at `path`, which only its owner can read; made if there is none.

    Processes that start at the same moment agree on one. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    if not path.exists():
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            _install(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    key = path.read_text(encoding="ascii").strip()
    if len(key) < 64:
        raise OSError(f"it holds no key; delete it: {path}")
    return key


def _install(draft: Path, path: Path) -> None:
    """Give `path` the draft's content unless another process was first."""
    try:
        os.link(draft, path)
    except FileExistsError:
        log.debug("another process made %s first", path)
