"""The page in a browser on this machine: loopback only, one key, nothing is ever written."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ...engine.store import Store
from ...engine.views.page import Page, whole_number
from ...engine.views.replay import Reader
from ...engine.views.several import compare, sessions
from ...engine.workers.pool import Workers
from ...schemas.database import Location
from ...schemas.errors import BadInput, NotFound, TextGradError
from ...schemas.graph import Session
from ...schemas.settings import Settings
from . import bundle

log = logging.getLogger(__name__)
HOST = "127.0.0.1"
MOST_COMPARED = 4
ENTRANCE = 'location.replace("/" + location.hash)'
"""Leaves the key behind: neither address bar nor history keep it, the fragment goes along."""
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Refused(Exception):
    """A request that is turned away: a status, and words that tell no secrets."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Viewer:
    """Serves the page of the sessions in one database, to whoever has the key.

    With `held_out`, rows of the test split are shown too. `owner` sees only their own sessions;
    without one, all are seen: the database is a file of this machine's user.
    """

    def __init__(
        self, store: Store, settings: Settings, *, held_out: bool = False, owner: str | None = None
    ) -> None:
        self.store = store
        self.workers = Workers()
        self.page = Page(Reader(store, settings, self.workers), held_out=held_out)
        self.owner = owner
        self.key = secrets.token_urlsafe(24)
        self.port = 0
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on loopback, on any free port by default. Raises BadInput."""
        try:
            listener = socket.create_server((HOST, port))
        except (OSError, OverflowError) as error:
            words = f"Port {port} cannot be listened on: {error}."
            raise BadInput(words, "Name another one, or none.") from None
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self, log_level="error", lifespan="off", server_header=False, access_log=False
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    def address(self, session_id: str | None = None) -> str:
        """Where the page is, with the key; a session's id stands in the part that is not sent."""
        place = f"#session={session_id}" if session_id else ""
        return f"http://{HOST}:{self.port}/enter/{self.key}{place}"

    async def ended(self) -> None:
        """Wait until it is told to end."""
        if self._task is not None:
            await self._task

    async def close(self) -> None:
        """Listen no more, and let go of the file."""
        if self._server is not None:
            self._server.should_exit = True
            self._server.force_exit = True
        await self.ended()
        await self.workers.close()
        await self.store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except Refused as error:
            response = JSONResponse({"error": error.words}, error.status)
        except TextGradError as error:
            status = 404 if isinstance(error, NotFound) else 400
            response = JSONResponse({"error": str(error)}, status)
        response.headers.update(ALWAYS)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        self._check(request)
        path = request.url.path
        if path.startswith("/enter/"):
            return self._enter(path.removeprefix("/enter/"))
        if not self._is_known(request.cookies.get(self._cookie, "")):
            raise Refused(401, "Open the address that the viewer printed; it holds the key.")
        if path == "/":
            headers = {"content-security-policy": _policy(bundle.policy_of("viewer"))}
            return HTMLResponse(bundle.html("viewer"), headers=headers)
        if path.startswith("/api/"):
            if request.headers.get("x-textgrad-page") != "1":
                raise Refused(401, "Only the page asks here.")
            return JSONResponse(await self._view(path.removeprefix("/api/"), request))
        raise Refused(404, "There is nothing here.")

    def _check(self, request: Request) -> None:
        """Turn away what no page of ours sends. Raises Refused."""
        names = [f"{host}:{self.port}" for host in (HOST, "localhost", "[::1]")]
        if request.headers.get("host", "") not in names:
            raise Refused(421, "This server goes by another name.")
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "Nothing can be changed here.")
        origin = request.headers.get("origin")
        if origin is not None and origin not in [f"http://{name}" for name in names]:
            raise Refused(403, "Pages of other origins may not ask.")
        # The first visit may come from a link in a chat: what lets it in is the key.
        entering = request.url.path.startswith("/enter/")
        if not entering and request.headers.get("sec-fetch-site", "none") not in (
            "same-origin",
            "none",
        ):
            raise Refused(403, "Other sites may not ask.")

    @property
    def _cookie(self) -> str:
        return f"tg_view_{self.port}"

    def _is_known(self, key: str) -> bool:
        return hmac.compare_digest(key.encode(), self.key.encode())

    def _enter(self, key: str) -> Response:
        if not self._is_known(key):
            raise Refused(401, "This key is none, or of a viewer that has ended.")
        digest = base64.b64encode(hashlib.sha256(ENTRANCE.encode()).digest()).decode()
        policy = f"default-src 'none'; script-src 'sha256-{digest}'; frame-ancestors 'none'"
        body = f"<!doctype html><title>textgrad</title><script>{ENTRANCE}</script>"
        response = HTMLResponse(body, headers={"content-security-policy": policy})
        response.set_cookie(self._cookie, self.key, httponly=True, samesite="strict", path="/")
        return response

    async def _view(self, name: str, request: Request) -> dict[str, Any]:
        try:
            args = json.loads(request.query_params.get("args", "{}"))
        except (ValueError, RecursionError):
            args = None
        if not isinstance(args, dict):
            raise BadInput("args must be a JSON object.", "Leave it out for none.")
        if name == "sessions":
            return await sessions(self.store, whole_number(args, "offset", 0), self.owner)
        if name == "compare":
            ids = args.get("ids")
            if not isinstance(ids, list) or not 2 <= len(ids) <= MOST_COMPARED:
                raise BadInput("Compare two to four sessions.", "Name their ids.")
            return await compare(self.store, [await self._session(str(one)) for one in ids])
        session = await self._session(request.query_params.get("session", ""))
        return await self.page.view(session, name, args)

    async def _session(self, session_id: str) -> Session:
        found = await self.store.maintenance.any_session(session_id)
        if found is None or self.owner not in (None, found.owner):
            raise NotFound("There is no such session.", "The list has those there are.")
        return found


def _policy(policy: str) -> str:
    """What only a header can say as well."""
    return f"{policy}; frame-ancestors 'none'"


class _Server(uvicorn.Server):
    """A server that leaves signals to the process it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def opened(
    settings: Settings,
    database: Location,
    *,
    held_out: bool = False,
    port: int = 0,
    owner: str | None = None,
) -> Viewer:
    """A viewer of a database, listening. Raises BadInput, StoreError."""
    store = Store(database)
    await store.open()
    await store.db.only_read()
    viewer = Viewer(store, settings, held_out=held_out, owner=owner)
    try:
        await viewer.start(port)
    except BaseException:
        await store.close()
        raise
    return viewer
