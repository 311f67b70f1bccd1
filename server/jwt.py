"""JSON Web Tokens of one issuer, verified against its published keys."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
from mcp.server.auth.provider import AccessToken

from ..schemas.errors import BadInput
from .auth import access

log = logging.getLogger(__name__)
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Only those where verifying needs no secret."""
FRESH_SECONDS = 600.0
RETRY_SECONDS = 30.0
LEEWAY_SECONDS = 30
FETCH_SECONDS = 5.0
MOST_BYTES = 1_000_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def checked_source(source: str) -> str:
    """A file's path, or an https address (http on loopback only). Raises BadInput."""
    parts = urlsplit(source)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return source
    if "://" in source:
        raise BadInput(f"{source} is no safe place for keys.", "Give an https address or a file.")
    return str(Path(source).expanduser())


class Keys:
    """An issuer's keys, from a file or an address; read again when old, or for an unknown key."""

    def __init__(self, source: str) -> None:
        self._source = checked_source(source)
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key called `kid`; the only one when a token names none."""
        async with self._reading:
            age = time.monotonic() - self._read_at
            if age > (FRESH_SECONDS if kid in self._keys else RETRY_SECONDS):
                await self._read()
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _read(self) -> None:
        """Keep the old keys when new ones cannot be had."""
        self._read_at = time.monotonic()
        try:
            content = json.loads(await asyncio.to_thread(_content, self._source))
            found = jwt.PyJWKSet.from_dict(content).keys
        except (OSError, ValueError, AttributeError, TypeError, jwt.PyJWTError) as error:
            log.error("the keys at %s cannot be read: %s", self._source, error)
            return
        self._keys = {key.key_id: key for key in found}


def _content(source: str) -> bytes:
    if "://" not in source:
        return Path(source).read_bytes()
    with urllib.request.urlopen(source, timeout=FETCH_SECONDS) as reply:  # noqa: S310 - checked
        content: bytes = reply.read(MOST_BYTES)
    return content


class JwtTokens:
    """Verifies signature, issuer, audience and expiry; the owner is issuer and subject together."""

    def __init__(self, source: str, issuer: str, audience: Sequence[str]) -> None:
        if not issuer or not any(audience):
            raise BadInput(
                "JWTs need an issuer and an audience.", "Give --jwt-issuer and --jwt-audience."
            )
        self._keys = Keys(source)
        self._issuer = issuer
        self._audience = list(audience)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose `token` is; None when it does not prove it."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.find(header.get("kid"))
            if key is None or header.get("alg") not in ALGORITHMS:
                return None
            claims = self._claims(token, key)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            log.info("a token was refused: %s", type(error).__name__)
            return None
        # Cannot be mistaken for a name in a token file, which holds no colon.
        return access(f"jwt:{self._issuer}#{claims['sub']}", int(claims["exp"]), iss=self._issuer)

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
