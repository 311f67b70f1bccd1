"""JSON Web Tokens of one issuer, verified against its published keys."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
from mcp.server.auth.provider import AccessToken

from ..schemas.errors import BadInput
from .auth import access

log = logging.getLogger(__name__)
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Only those where verifying needs no secret."""
FRESH_SECONDS = 600.0
STALE_SECONDS = 3600.0
"""Keys as old as this may have been withdrawn long ago: nobody comes in by them unasked."""
RETRY_SECONDS = 30.0
LEEWAY_SECONDS = 30.0
FETCH_SECONDS = 5.0
MOST_BYTES = 1_000_000
SUBJECT_CHARS = 255
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NOT_SOUND = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)


def checked_source(source: str) -> str:
    """A file's path, or an https address (http on loopback only). Raises BadInput."""
    parts = urlsplit(source)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return source
    if "://" in source:
        raise BadInput(f"{source} is no safe place for keys.", "Give an https address or a file.")
    return str(Path(source).expanduser())


class Keys:
    """An issuer's keys, from a file or an address; read again when old, or for an unknown key.

    One reading at a time, and seldom: whoever shows a known key does not wait for it.
    """

    def __init__(self, source: str) -> None:
        self._source = checked_source(source)
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key called `kid`; the only one when a token names none."""
        key = self._known(kid)
        reading = self._read_again(key is not None)
        if reading is not None and (key is None or self._must_be_confirmed()):
            await asyncio.wait({reading})
            key = self._known(kid)
        return key

    def _known(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _must_be_confirmed(self) -> bool:
        """Whether nobody looked for so long that keys may be withdrawn; an issuer who cannot be
        reached is no reason to turn everybody away."""
        failed = self._tried_at > self._read_at
        return not failed and time.monotonic() - self._read_at > STALE_SECONDS

    def _read_again(self, known: bool) -> asyncio.Task[None] | None:
        """The reading under way, begun now if it is time for one; None if it is not."""
        if self._reading is not None and not self._reading.done():
            return self._reading
        now = time.monotonic()
        old = not known or now - self._read_at > FRESH_SECONDS
        if not old or now - self._tried_at <= RETRY_SECONDS:
            return None
        self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        """Keep the old keys when new ones cannot be had."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                content = json.loads(await _content(self._source))
            found = jwt.PyJWKSet.from_dict(content).keys
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and the old stay
            why = str(error) or type(error).__name__
            log.error("the keys at %s cannot be read: %s", self._source, why)
            self._tried_at = time.monotonic()
        else:
            self._keys = {key.key_id: key for key in found if _verifies(key)}
            self._tried_at = self._read_at = time.monotonic()


def _verifies(key: jwt.PyJWK) -> bool:
    """Whether a key is for signatures, and its secret half not published with it."""
    return key.public_key_use != "enc" and key.algorithm_name in ALGORITHMS


async def _content(source: str) -> bytes:
    """What stands at a file or an address, which is not left for another one."""
    if "://" not in source:
        return await asyncio.to_thread(Path(source).read_bytes)
    content = b""
    async with httpx2.AsyncClient() as http, http.stream("GET", source) as reply:
        if not reply.is_success:
            raise ValueError(f"the answer is {reply.status_code}")
        async for part in reply.aiter_bytes():
            content += part
            if len(content) > MOST_BYTES:
                raise ValueError("there is too much")
    return content


class JwtTokens:
    """Verifies signature, issuer, audience and expiry; the owner is issuer and subject together."""

    def __init__(
        self,
        source: str,
        issuer: str,
        audience: Sequence[str],
        leeway: float = LEEWAY_SECONDS,
    ) -> None:
        if not issuer or not any(audience):
            raise BadInput(
                "JWTs need an issuer and an audience.", "Give --jwt-issuer and --jwt-audience."
            )
        self._leeway = leeway
        self._keys = Keys(source)
        self._issuer = issuer
        self._audience = list(audience)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose `token` is; None when it does not prove it."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                return None
            key = await self._keys.find(header.get("kid"))
            if key is None:
                return None
            claims = self._claims(token, key)
            # Who asks for `expires_at` again knows of no leeway.
            expires = int(claims["exp"] + self._leeway)
        except NOT_SOUND as error:
            log.info("a token was refused: %s", type(error).__name__)
            return None
        # Cannot be mistaken for a name in a token file, which holds no colon.
        return access(f"jwt:{self._issuer}#{claims['sub']}", expires, iss=self._issuer)

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        claims = jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            issuer=self._issuer,
            audience=self._audience,
            leeway=self._leeway,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        if not _is_subject(claims["sub"]):
            raise ValueError("a subject must be a name")
        return claims


def _is_subject(name: object) -> bool:
    """Whether somebody can be called so: some characters that can be read, and not endless."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= SUBJECT_CHARS
        and name.isprintable()
        and bool(name.strip())
    )
