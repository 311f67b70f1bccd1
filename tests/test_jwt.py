"""JWTs: only what the issuer signed, for us, and still good, lets anybody in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from starlette.requests import HTTPConnection
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


def part_of(text: str) -> str:
    """A part of a token that holds any text."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


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
    "not yet made": lambda it: it.sign(sound() | {"iat": int(time.time()) + 600}),
    "no subject": lambda it: it.sign(without("sub")),
    "an empty subject": lambda it: it.sign(sound() | {"sub": ""}),
    "a blank subject": lambda it: it.sign(sound() | {"sub": " \u3000"}),
    "a subject that drives a terminal": lambda it: it.sign(sound() | {"sub": "a\x1b[2J"}),
    "a subject that cannot be stored": lambda it: it.sign(sound() | {"sub": "a\0"}),
    "half a character for a subject": lambda it: it.sign(sound() | {"sub": "\ud800"}),
    "an endless subject": lambda it: it.sign(sound() | {"sub": "a" * 10_000}),
    "an expiry without end": lambda it: it.sign(sound() | {"exp": float("inf")}),
    "a header without end": lambda it: part_of("[" * 5000) + "." + it.sign(sound()),
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


@pytest.mark.requirement("tokens")
def test_clocks_may_differ_by_the_leeway_and_no_more(tmp_path: Path) -> None:
    """Also for whoever asks once more whether the token has expired, as the SDK does."""
    issuer, now = Issuer(), int(time.time())
    path = str(publish(tmp_path / "jwks.json", issuer))
    shown = {
        claim: issuer.sign(sound() | {claim: now + late})
        for claim, late in (("exp", -100), ("nbf", 100), ("iat", 100))
    }

    async def let_in(leeway: float, token: str) -> bool:
        backend = BearerAuthBackend(JwtTokens(path, ISSUER, [AUDIENCE], leeway))
        header = (b"authorization", f"Bearer {token}".encode())
        found = await backend.authenticate(HTTPConnection({"type": "http", "headers": [header]}))
        return found is not None

    for token in shown.values():
        assert asyncio.run(let_in(300, token))
        assert not asyncio.run(let_in(0, token))
        assert not asyncio.run(let_in(30, token))


@pytest.mark.requirement("tokens")
def test_a_published_secret_lets_nobody_in(tmp_path: Path) -> None:
    secret = "this is in the list of keys, for all to read"
    made = {"kty": "oct", "k": part_of(secret), "kid": "k1"}
    for more in ({}, {"alg": "HS256"}, {"alg": "RS256"}):
        (tmp_path / "jwks.json").write_text(json.dumps({"keys": [made | more]}))
        check = JwtTokens(str(tmp_path / "jwks.json"), ISSUER, [AUDIENCE])
        assert owner(check, jwt.encode(sound(), secret, "HS256", headers={"kid": "k1"})) is None


class Go(threading.Event):
    """Whether a server may go on; `stuck` says that somebody found that it may not."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = threading.Event()


@contextmanager
def stuck_issuer(issuer: Issuer) -> Iterator[tuple[str, list[str], Go]]:
    """An issuer's server that answers only when it may go on; what it was asked."""
    asked: list[str] = []
    go = Go()
    go.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if not go.is_set():
                go.stuck.set()
            go.wait(30)
            body = json.dumps({"keys": [issuer.published()]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/keys", asked, go
        finally:
            go.set()
            server.shutdown()
            serving.join()


@pytest.mark.requirement("tokens")
def test_whoever_shows_a_known_key_waits_for_nobody_elses_unknown_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = Issuer()
    good, bad = issuer.sign(sound()), issuer.sign(sound(), kid="invented")

    async def main(source: str, asked: list[str], go: Go) -> None:
        check = JwtTokens(source, ISSUER, [AUDIENCE])
        assert await check.verify_token(good)
        assert len(asked) == 1
        assert await check.verify_token(bad) is None
        assert len(asked) == 1  # too soon to ask again
        monkeypatch.setattr("textgrad_mcp.server.jwt.RETRY_SECONDS", -1.0)
        go.clear()
        strangers = [asyncio.create_task(check.verify_token(bad)) for _ in range(20)]
        assert await asyncio.to_thread(go.stuck.wait, 30)
        for _ in range(20):
            assert await check.verify_token(good)
        assert not any(one.done() for one in strangers)
        go.set()
        assert await asyncio.gather(*strangers) == [None] * 20
        assert len(asked) == 2  # one reading for all of them

    with stuck_issuer(issuer) as (source, asked, go):
        asyncio.run(main(source, asked, go))


@pytest.mark.requirement("tokens")
def test_old_keys_are_good_while_new_ones_are_read_and_very_old_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer, next_one = Issuer("old"), Issuer("new")

    async def main(source: str, asked: list[str], go: Go) -> None:
        check = JwtTokens(source, ISSUER, [AUDIENCE])
        token = issuer.sign(sound())
        assert await check.verify_token(token)
        for name in ("FRESH_SECONDS", "RETRY_SECONDS"):
            monkeypatch.setattr(f"textgrad_mcp.server.jwt.{name}", -1.0)
        go.clear()
        assert await check.verify_token(token)  # while the reading it began is stuck
        monkeypatch.setattr("textgrad_mcp.server.jwt.STALE_SECONDS", -1.0)
        issuer.published = next_one.published  # type: ignore[method-assign]
        waiting = asyncio.create_task(check.verify_token(token))
        assert await asyncio.to_thread(go.stuck.wait, 30)
        go.set()
        assert await waiting is None

    with stuck_issuer(issuer) as (source, asked, go):
        asyncio.run(main(source, asked, go))


@pytest.mark.requirement("tokens")
def test_an_issuer_who_cannot_be_reached_shuts_nobody_out_who_was_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = Issuer()
    path = publish(tmp_path / "jwks.json", issuer)

    async def main() -> None:
        check = JwtTokens(str(path), ISSUER, [AUDIENCE])
        assert await check.verify_token(issuer.sign(sound()))
        for name in ("FRESH_SECONDS", "STALE_SECONDS", "RETRY_SECONDS"):
            monkeypatch.setattr(f"textgrad_mcp.server.jwt.{name}", -1.0)
        path.unlink()
        for _ in range(3):
            assert await check.verify_token(issuer.sign(sound()))

    asyncio.run(main())
