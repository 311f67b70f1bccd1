"""Streamable HTTP for many users: who may come in, how often, and how it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from mcp.server.auth.routes import create_protected_resource_routes
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ...schemas.errors import BadInput, TextGradError
from ...schemas.settings import OPEN_QUOTA_BYTES, Settings
from ..protocol.app import TextGradServer, build
from . import metrics
from .addresses import networks
from .jwt_tokens import LEEWAY_SECONDS, JwtTokens
from .older_sessions import OlderSessions
from .rate_limit import AT_ONCE, PER_ADDRESS, Buckets, RateLimit
from .revocation import Recheck, Verifier
from .stateless import Stateless
from .tokens import FileTokens

if TYPE_CHECKING:
    from .shutdown import GracefulServer

log = logging.getLogger(__name__)
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
OPEN = ("/healthz", "/readyz")
GRACE_SECONDS, LAST_WORDS_SECONDS = 3, 1
"""How long calls under way may take to end by themselves, and to answer once they are stopped."""
IDLE_SECONDS = 1800.0
READY_SECONDS = 3.0
"""For how long a store may be busy and still count as one that can be written."""


@dataclass(frozen=True)
class HttpOptions:
    """How to listen and whom to let in.

    `tokens` is a token file; `jwks` a file or address of an issuer's keys, whose tokens may be
    `jwt_leeway` seconds early or late. `allowed_hosts` and `allowed_origins` add to those of
    loopback. `public_url` is where clients see /mcp; with JWTs it is told to clients that ask where
    to get a token. What X-Forwarded-For says is believed of `proxies` alone, which are addresses or
    networks. `connections` may be open from one address. `stateless`: clients of older protocols
    have no session here, so that any replica can answer them. `metrics` is the owner who may read
    /metrics (`metrics_by_owner`: with whose calls they were), "" for whoever is on loopback.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tokens: Path | None = None
    jwks: str | None = None
    jwt_issuer: str = ""
    jwt_audience: tuple[str, ...] = ()
    jwt_leeway: float = LEEWAY_SECONDS
    public_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    connections: int = PER_ADDRESS
    max_body_mb: float = 8.0
    per_minute: float = 600.0
    burst: float = 100.0
    stateless: bool = False
    metrics: str | None = None
    metrics_by_owner: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def verifier(options: HttpOptions) -> Verifier | None:
    """Who checks tokens; None where anybody on this machine may come in.

    Raises BadInput, also when others could reach the server and nothing would stop them.
    """
    if options.tokens and options.jwks:
        raise BadInput("Token file and JWTs exclude each other.", "Give --tokens or --jwks.")
    if options.tokens:
        return FileTokens(options.tokens)
    if options.jwks:
        return JwtTokens(options.jwks, options.jwt_issuer, options.jwt_audience, options.jwt_leeway)
    if not options.is_loopback:
        raise BadInput(
            f"{options.host} can be reached from other machines, and nothing would stop anybody.",
            "Give --tokens FILE (made with `textgrad-mcp token new OWNER`) or --jwks, or listen on "
            "127.0.0.1.",
        )
    return None


def security(options: HttpOptions) -> TransportSecuritySettings:
    """Which Host and Origin headers are let in: those of loopback and what the operator adds."""
    hosts = [*LOOPBACK_HOSTS, *options.allowed_hosts]
    origins = [f"http://{host}" for host in LOOPBACK_HOSTS] + list(options.allowed_origins)
    return TransportSecuritySettings(
        allowed_hosts=[*hosts, *(f"{h}:*" for h in hosts if not _has_port(h))],
        allowed_origins=[*origins, *(f"{o}:*" for o in origins if not _has_port(o))],
    )


def _has_port(name: str) -> bool:
    return name.rpartition("]")[2].rpartition("//")[2].count(":") > 0


def http_app(settings: Settings, options: HttpOptions) -> Starlette:
    """The ASGI application: /mcp, /healthz and /readyz. Raises BadInput."""
    return _app(build(bounded(settings, options)), options, AT_ONCE)


def bounded(settings: Settings, options: HttpOptions) -> Settings:
    """The settings as they hold: strangers are let in, so what each may store has a limit."""
    if settings.quota_bytes is not None or not (options.tokens or options.jwks):
        return settings
    return settings.model_copy(update={"quota_bytes": OPEN_QUOTA_BYTES})


def _app(server: TextGradServer, options: HttpOptions, at_once: int) -> Starlette:
    check = verifier(options)
    app = server.streamable_http_app(
        host=options.host,
        transport_security=security(options),
        max_request_body_size=int(options.max_body_mb * 1024 * 1024),
        session_idle_timeout=IDLE_SECONDS,
        stateless_http=options.stateless,
    )
    app.router.routes += _health(server)
    if options.metrics is not None:
        app.router.routes.append(_metrics(server, options))
    known_paths = frozenset(OPEN)
    if options.public_url and options.jwks:
        metadata = _metadata(options)
        app.router.routes += metadata
        known_paths |= {route.path for route in metadata}
    buckets = Buckets(options.per_minute, options.burst)
    guard = Middleware(
        RateLimit,
        needs_token=check is not None,
        buckets=buckets,
        open_paths=known_paths,
        at_once=at_once,
    )
    sessions = Middleware(Stateless) if options.stateless else Middleware(OlderSessions)
    app.user_middleware[:0] = (
        [guard, sessions]
        if check is None
        else [
            Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(check)),
            Middleware(AuthContextMiddleware),
            guard,
            Middleware(Recheck, check=check),
            sessions,
        ]
    )
    return app


def _metrics(server: TextGradServer, options: HttpOptions) -> Route:
    metrics.check_installed()
    told_apart = bool(options.tokens or options.jwks)
    if told_apart and not options.metrics:
        raise BadInput(
            "Whoever has a token could read /metrics, and how busy others are.",
            "Name the owner whose token may: --metrics OWNER.",
        )
    if options.metrics and not told_apart:
        raise BadInput(
            "Nobody shows a token here, so /metrics cannot be for one owner.",
            "Leave the owner out, or give --tokens FILE.",
        )
    reader, by_owner = options.metrics or "", options.metrics_by_owner
    return metrics.route(server, reader, security(options), owners=by_owner)


def _metadata(options: HttpOptions) -> list[Route]:
    try:
        return create_protected_resource_routes(
            AnyHttpUrl(options.public_url or ""), [AnyHttpUrl(options.jwt_issuer)]
        )
    except ValidationError:
        raise BadInput(
            "The public address and the issuer must be http(s) addresses.",
            "Leave --public-url out if clients need not be told where to get a token.",
        ) from None


class Readiness:
    """Whether calls can be served: a store that can be written, within a moment.

    Whoever asks meanwhile waits for the one try that is under way.
    """

    def __init__(self, server: TextGradServer) -> None:
        self._server = server
        self.trying: asyncio.Task[bool] | None = None

    async def look(self) -> bool:
        """False too when the file has been locked by others for READY_SECONDS."""
        if self.trying is None or self.trying.done():
            self.trying = asyncio.create_task(self._try())
        done, _ = await asyncio.wait({self.trying}, timeout=READY_SECONDS)
        if not done:
            log.error("not ready: the database has not answered for %g s", READY_SECONDS)
        return bool(done) and self.trying.result()

    async def _try(self) -> bool:
        host = self._server.host
        try:
            if host is not None:
                await (await host.engine()).store.ping()
        except TextGradError as error:
            log.error("not ready: %s", error)
            return False
        return host is not None


def _health(server: TextGradServer) -> list[Route]:
    readiness = Readiness(server)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        """Says no more than yes or no: anybody may ask."""
        if await readiness.look():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", status_code=503)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def serve_http(settings: Settings, options: HttpOptions) -> None:
    """Serve until SIGTERM or SIGINT; calls under way get a few seconds, runs stay resumable.

    Raises BadInput for options that would let anybody in, or that cannot be used.
    """
    server_of(settings, options).run()


def server_of(settings: Settings, options: HttpOptions) -> GracefulServer:
    """What `serve_http` runs. Raises BadInput."""
    import uvicorn

    from .connections import ACCEPTED, HEADER_BYTES, Gate, connections_of, room
    from .shutdown import GracefulServer, RequestCounter

    proxies = networks(options.proxies)
    gate = Gate(room(), options.connections, proxies)
    server, underway = build(bounded(settings, options)), RequestCounter()
    # One owner alone shall not hold every connection that others behind the same address need.
    shared = bool(options.tokens or options.jwks)
    app = _app(server, options, max(1, gate.per_address // (2 if shared else 1)))

    async def begin() -> None:
        """Take up what an earlier server left, before anybody calls."""
        try:
            if server.host is not None:
                await server.host.engine()
        except TextGradError as error:  # whoever calls is told, too
            log.error("the database cannot be used: %s", error)

    async def leave() -> None:
        server.watchers.hang_up()
        if not await underway.ended(GRACE_SECONDS) and server.host is not None:
            await server.host.stop()
            await underway.ended(LAST_WORDS_SECONDS)

    config = uvicorn.Config(
        underway.layer(app),
        host=options.host,
        port=options.port,
        http=connections_of(gate),
        ws="none",
        backlog=ACCEPTED,
        h11_max_incomplete_event_size=HEADER_BYTES,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=[str(one) for one in proxies],
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    return GracefulServer(config, begin, leave)
