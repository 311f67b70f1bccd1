"""JWTs: only what the issuer signed, for us, and still good, lets anybody in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.server.jwt import JwtTokens

ISSUER, AUDIENCE = "https://issuer.example", "textgrad"
Claims = dict[str, Any]


class Issuer:
    """Signs tokens, and publishes its key under `kid`."""

    def __init__(self, kid: str = "k1") -> None:
        self.kid = kid
        self._key = ec.generate_private_key(ec.SECP256R1())

    def published(self) -> dict[str, Any]:
        key: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return key | {"kid": self.kid, "alg": "ES256", "use": "sig"}

    def pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: Claims, **header: str) -> str:
        return jwt.encode(claims, self._key, "ES256", headers={"kid": self.kid} | header)


def sound() -> Claims:
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 600}


def without(name: str) -> Claims:
    return {key: value for key, value in sound().items() if key != name}


def publish(path: Path, *issuers: Issuer) -> Path:
    path.write_text(json.dumps({"keys": [issuer.published() for issuer in issuers]}))
    return path


def owner(check: JwtTokens, token: str) -> str | None:
    found = asyncio.run(check.verify_token(token))
    return found.subject if found else None


def part(content: Claims) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")


def unsigned(issuer: Issuer) -> str:
    """A token that says itself that it needs no signature."""
    header = part({"alg": "none", "kid": issuer.kid})
    return (header + b"." + part(sound()) + b".").decode()


def confused(issuer: Issuer) -> str:
    """A token signed with the public key as if it were a shared secret."""
    body = part({"alg": "HS256", "kid": issuer.kid}) + b"." + part(sound())
    signature = hmac.new(issuer.pem(), body, hashlib.sha256).digest()
    return (body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def altered(issuer: Issuer) -> str:
    """A good token whose subject was changed."""
    header, _, signature = issuer.sign(sound()).split(".")
    return f"{header}.{part(sound() | {'sub': 'bob'}).decode()}.{signature}"


WRONG: dict[str, Callable[[Issuer], str]] = {
    "another issuer's key under the same name": lambda it: Issuer(it.kid).sign(sound()),
    "an unknown key": lambda it: it.sign(sound(), kid="k9"),
    "no signature": unsigned,
    "the public key as a secret": confused,
    "an altered subject": altered,
    "expired": lambda it: it.sign(sound() | {"exp": int(time.time()) - 60}),
    "not yet good": lambda it: it.sign(sound() | {"nbf": int(time.time()) + 600}),
    "another audience": lambda it: it.sign(sound() | {"aud": "another"}),
    "another issuer": lambda it: it.sign(sound() | {"iss": "https://evil.example"}),
    "no expiry": lambda it: it.sign(without("exp")),
    "no subject": lambda it: it.sign(without("sub")),
    "no audience": lambda it: it.sign(without("aud")),
    "no issuer": lambda it: it.sign(without("iss")),
    "nonsense": lambda _: "a.b.c",
    "nothing": lambda _: "",
    "half a character": lambda _: "\ud800.x.y",
}


@pytest.mark.requirement("tokens")
def test_a_sound_token_tells_whose_it_is(tmp_path: Path) -> None:
    issuer = Issuer()
    check = JwtTokens(str(publish(tmp_path / "jwks.json", issuer)), ISSUER, [AUDIENCE])
    assert owner(check, issuer.sign(sound())) == f"jwt:{ISSUER}#alice"


@pytest.mark.requirement("tokens")
@pytest.mark.parametrize("what", WRONG)
def test_any_other_token_is_nobodys(tmp_path: Path, what: str) -> None:
    issuer = Issuer()
    check = JwtTokens(str(publish(tmp_path / "jwks.json", issuer)), ISSUER, [AUDIENCE])
    assert owner(check, WRONG[what](issuer)) is None


@pytest.mark.requirement("tokens")
def test_a_new_key_of_the_issuer_is_found_and_keys_that_cannot_be_read_let_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textgrad_mcp.server.jwt.RETRY_SECONDS", -1.0)
    old, new = Issuer("old"), Issuer("new")
    path = publish(tmp_path / "jwks.json", old)
    check = JwtTokens(str(path), ISSUER, [AUDIENCE])
    assert owner(check, old.sign(sound()))
    assert owner(check, new.sign(sound())) is None
    publish(path, new)
    assert owner(check, new.sign(sound()))
    assert owner(check, old.sign(sound())) is None
    path.write_text("{")
    assert owner(JwtTokens(str(path), ISSUER, [AUDIENCE]), new.sign(sound())) is None


@pytest.mark.requirement("tokens")
@pytest.mark.parametrize(
    ("source", "issuer", "audience"),
    [
        ("http://issuer.example/keys", ISSUER, [AUDIENCE]),
        ("ftp://issuer.example/keys", ISSUER, [AUDIENCE]),
        ("keys.json", "", [AUDIENCE]),
        ("keys.json", ISSUER, []),
        ("keys.json", ISSUER, [""]),
    ],
)
def test_options_that_would_trust_anybody_are_refused(
    source: str, issuer: str, audience: list[str]
) -> None:
    with pytest.raises(BadInput):
        JwtTokens(source, issuer, audience)
