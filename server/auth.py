"""Who calls over HTTP: bearer tokens from a file of hashes, or JWTs of an issuer.

The file has one token a line, as `sha256 owner expiry note...`; the token itself is shown once,
when it is made, and kept nowhere. Lines that begin with # are the operator's own. The file is read
again when it changes, so a removed line shuts its token out at once.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import Request

from ..schemas.errors import BadInput
from .edited_file import alone_with, replace_whole

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
    found = {}
    for n, line in enumerate(_text(path).splitlines(), 1):
        if _is_token(line):
            one = _parsed(line, f"{path}, line {n}")
            found[one.digest] = one
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInput(
            f"The token file {path} cannot be read: {why}.",
            "Make it with `textgrad-mcp token new OWNER`.",
        ) from None


def _is_token(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _parsed(line: str, where: str) -> TokenLine:
    parts = line.split(maxsplit=3)
    good = len(parts) >= 2 and re.fullmatch(r"[0-9a-f]{64}", parts[0])
    until = parts[2] if len(parts) > 2 else NEVER
    if not good or not (until == NEVER or re.fullmatch(r"[0-9]{1,12}", until)):
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
    token = f"tgm_{secrets.token_urlsafe(32)}"
    expires = None if days is None else int(time.time() + days * 86400)
    made = time.strftime("made %Y-%m-%d", time.gmtime())
    line = TokenLine(digest_of(token), owner, expires, made)
    with alone_with(path) as file:
        before = ""
        if file.exists():
            read_tokens(file)
            before = _text(file)
        begun = before if before.endswith("\n") or not before else f"{before}\n"
        replace_whole(file, f"{begun}{line}\n")
    return token


def revoke(path: Path, which: str) -> int:
    """Remove the tokens of an owner, or the one whose hash begins with `which` (8 or more).

    Gives how many were removed. Raises BadInput.
    """
    with alone_with(path) as file:
        read_tokens(file)
        lines = _text(file).splitlines(keepends=True)
        kept = [line for line in lines if not (_is_token(line) and _is_meant(line, which))]
        if len(kept) < len(lines):
            replace_whole(file, "".join(kept))
    return len(lines) - len(kept)


def _is_meant(line: str, which: str) -> bool:
    digest, owner = line.split()[:2]
    return owner == which or (len(which) >= 8 and digest.startswith(which))


class FileTokens:
    """Verifies tokens against the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: object = None
        self._lines: dict[str, TokenLine] = {}
        with suppress(OSError):  # which the reading will tell
            self._stamp = self._seen()  # first, or an edit meanwhile would go unnoticed
        self._lines = read_tokens(path)

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
