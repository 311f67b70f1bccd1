"""Who calls over HTTP: bearer tokens from a file of hashes, or JWTs of an issuer.

The file has one token a line, as `sha256 owner expiry note...`; the token itself is shown once,
when it is made, and kept nowhere. The file is read again when it changes, so a removed line shuts
its token out at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import Request

from ..schemas.errors import BadInput

log = logging.getLogger(__name__)
LOCAL = "local"
"""The owner of everything that is done without authentication: on stdio, whoever started it."""
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
NEVER = "never"


@dataclass(frozen=True)
class TokenLine:
    """One line of the file. `expires` is in seconds since 1970, None for never."""

    digest: str
    owner: str
    expires: int | None
    made: str = ""

    def __str__(self) -> str:
        until = NEVER if self.expires is None else str(self.expires)
        return f"{self.digest} {self.owner} {until} {self.made}".rstrip()


def digest_of(token: str) -> str:
    """The form in which a token is kept. Tokens are 256 random bits, so a plain hash will do."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def checked_owner(owner: str) -> str:
    """`owner`, if it can be one. Raises BadInput."""
    if not OWNER.fullmatch(owner):
        raise BadInput(
            f"{owner!r} cannot be an owner's name.",
            "Use up to 64 letters, digits and . _ @ + -, beginning with a letter or digit.",
        )
    return owner


def read_tokens(path: Path) -> dict[str, TokenLine]:
    """The lines of the file by digest. Raises BadInput for a file that cannot be used whole."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInput(
            f"The token file {path} cannot be read: {why}.",
            "Make it with `textgrad-mcp token new OWNER`.",
        ) from None
    found = {}
    for n, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            one = _parsed(line, f"{path}, line {n}")
            found[one.digest] = one
    return found


def _parsed(line: str, where: str) -> TokenLine:
    parts = line.split(maxsplit=3)
    good = len(parts) >= 2 and re.fullmatch(r"[0-9a-f]{64}", parts[0])
    until = parts[2] if len(parts) > 2 else NEVER
    if not good or not (until == NEVER or until.isdigit()):
        raise BadInput(
            f"{where} is no token line.", "A line is: SHA256 OWNER EXPIRY, expiry may be `never`."
        )
    expires = None if until == NEVER else int(until)
    return TokenLine(parts[0], checked_owner(parts[1]), expires, " ".join(parts[3:]))


def new_token(path: Path, owner: str, days: float | None = None) -> str:
    """A new token of `owner`, whose hash is added to the file. Raises BadInput.

    It expires after `days`, if given.
    """
    checked_owner(owner)
    if path.exists():
        read_tokens(path)
    token = f"tgm_{secrets.token_urlsafe(32)}"
    expires = None if days is None else int(time.time() + days * 86400)
    made = time.strftime("made %Y-%m-%d", time.gmtime())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8") as file:
        file.write(f"{TokenLine(digest_of(token), owner, expires, made)}\n")
    return token


def revoke(path: Path, which: str) -> int:
    """Remove the tokens of an owner, or the one whose hash begins with `which` (8 or more).

    Gives how many were removed. Raises BadInput.
    """
    kept = []
    lines = read_tokens(path).values()
    for one in lines:
        by_hash = len(which) >= 8 and one.digest.startswith(which)
        if not by_hash and one.owner != which:
            kept.append(f"{one}\n")
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(kept)
    draft.replace(path)
    return len(lines) - len(kept)


class FileTokens:
    """Verifies tokens against the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: object = None
        self._lines: dict[str, TokenLine] = {}
        self._lines, self._stamp = read_tokens(path), self._seen()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who holds `token`; None when nobody does (any more)."""
        self._refresh()
        line = self._lines.get(digest_of(token))
        if line is None or (line.expires is not None and line.expires <= time.time()):
            return None
        return access(line.owner, line.expires)

    def _seen(self) -> object:
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _refresh(self) -> None:
        """Read the file again if it changed; one that cannot be read lets nobody in."""
        try:
            stamp = self._seen()
            if stamp != self._stamp:
                self._lines, self._stamp = read_tokens(self._path), stamp
        except (OSError, BadInput) as error:
            log.error("nobody is let in: %s", error)
            self._lines, self._stamp = {}, None


def access(owner: str, expires: int | None, **claims: Any) -> AccessToken:
    """A principal as the SDK wants it; the token itself is not kept."""
    return AccessToken(
        token="", client_id=owner, subject=owner, scopes=[], expires_at=expires, claims=claims
    )


def principal(request: object) -> str:
    """The owner on whose behalf a request runs; LOCAL where nothing was to be proven.

    Requests without credentials, where they are needed, are stopped before they come here.
    """
    user = request.scope.get("user") if isinstance(request, Request) else None
    if isinstance(user, AuthenticatedUser):
        return user.access_token.subject or user.access_token.client_id
    return LOCAL
