"""Connections over HTTP: how many there may be, and how long one may take.

The server below has no limit on how long a request may take to come, nor on how long its reader
may let it wait. So a connection here is given up when a header or a body is not whole in time, or
when its reader stops. Where there are as many as may be, a newcomer takes the place of whichever
has waited longest without a request under way: whoever sends a whole request at once gets in,
however many send halves.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .addresses import Network, caller_of, within

log = logging.getLogger(__name__)
HEADER_SECONDS, BODY_SECONDS = 10.0, 60.0
"""How long a header, and a whole body, may take to come."""
READ_SECONDS, READ_BYTES = 20.0, 16 * 1024
"""A reader who takes less than so many bytes in so many seconds has stopped reading."""
HEADER_BYTES = 32 * 1024
MOST = 4096
RESERVED = 128
"""Open files that are no connections: the database, endpoints, programs, and newcomers not yet
counted."""
ACCEPTED = 16
"""Connections accepted at a stretch. Those are open before they can be counted, and where files
run out each further attempt is logged."""
BACKLOG = 1024
"""Connections that may wait to be accepted."""
_BUSY = -32000


def room() -> int:
    """How many connections this process may hold, after asking the system for enough files."""
    try:
        import resource
    except ImportError:  # Windows counts no files
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, max(ACCEPTED, soft - RESERVED))


class Gate:
    """The connections there are: at most `most`, and `per_address` of one address.

    A proxy stands for many callers, so only the whole counts for its connections.
    """

    def __init__(self, most: int, per_address: int, proxies: Iterable[Network] = ()) -> None:
        self.most = most
        self.per_address = max(1, min(per_address, most // 2))
        self._proxies = tuple(proxies)
        self._open: dict[Connection, str] = {}
        self._count: Counter[str] = Counter()
        self._waiting: dict[str, dict[Connection, None]] = {}
        self._all_waiting: dict[Connection, None] = {}

    def enter(self, connection: Connection, host: str | None) -> bool:
        """Let a connection in, in the place of one that waits if need be; False if none does."""
        caller = "" if within(host, self._proxies) else caller_of(host)
        if caller and self._count[caller] >= self.per_address:
            if not _give_up(self._waiting.get(caller, {})):
                return False
        elif len(self._open) >= self.most and not _give_up(self._all_waiting):
            return False
        self._open[connection] = caller
        self._count[caller] += 1
        self.waits(connection)
        return True

    def waits(self, connection: Connection) -> None:
        """Note that a connection has no request under way, or none any more."""
        caller = self._open.get(connection)
        if caller is not None:
            self._waiting.setdefault(caller, {})[connection] = None
            self._all_waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """Note that a connection has sent a whole request, which is being answered."""
        self._all_waiting.pop(connection, None)
        caller = self._open.get(connection, "")
        waiting = self._waiting.get(caller, {})
        waiting.pop(connection, None)
        if not waiting:
            self._waiting.pop(caller, None)

    def leave(self, connection: Connection) -> None:
        """Note that a connection is closed. To say so twice does no harm."""
        self.works(connection)
        caller = self._open.pop(connection, None)
        if caller is not None:
            self._count[caller] -= 1
            if not self._count[caller]:
                del self._count[caller]


def _give_up(waiting: dict[Connection, None]) -> bool:
    """Close the connection that has waited longest; whether there was one."""
    oldest = next(iter(waiting), None)
    if oldest is not None:
        oldest.give_up("it made room for another")
    return oldest is not None


class Connection(H11Protocol):
    """One connection, with limits on its time."""

    gate: Gate
    _phase = ""
    _deadline: asyncio.TimerHandle | None = None
    _unread = 0
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, if there is room."""
        super().connection_made(transport)
        host = self.client[0] if self.client else None
        if self.gate.enter(self, host):
            self._expect("header", HEADER_SECONDS)
            return
        log.warning("too many connections: one from %s was turned away", caller_of(host))
        transport.write(TOO_MANY)
        transport.close()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        state = self.conn.their_state
        if state is h11.IDLE:
            self._expect("header", HEADER_SECONDS)
        elif state is h11.SEND_BODY:
            self._expect("body", BODY_SECONDS)
        else:
            self._expect("", 0)
            self._begun()

    def on_response_complete(self) -> None:
        """A request has been answered; its answer may not have been read."""
        self.gate.waits(self)
        self._watch_reader()
        super().on_response_complete()
        self._begun()  # the next one may have come already

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than the answer comes."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Note that the client has read what was waiting."""
        super().resume_writing()
        self._unwatch_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._expect("", 0)
        self._unwatch_reader()
        self.gate.leave(self)

    def give_up(self, why: str) -> None:
        """Close it at once, whatever it waits for."""
        log.info("a connection was closed: %s", why)
        self.gate.leave(self)
        self.transport.abort()

    def _begun(self) -> None:
        """Note a request that is whole and not yet answered, if there is one."""
        whole = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        if whole and self.cycle is not None and not self.cycle.response_complete:
            self.gate.works(self)
            if not self.flow.write_paused:
                self._unwatch_reader()

    def _expect(self, phase: str, seconds: float) -> None:
        """Give up unless the next part of the request is reached in time; "" when all is there."""
        if phase == self._phase:
            return
        self._phase = phase
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if phase:
            self._deadline = self.loop.call_later(seconds, self.give_up, f"its {phase} took long")

    def _watch_reader(self) -> None:
        """Look at the reader again in a while, if there is something it has not read."""
        self._unread = self.transport.get_write_buffer_size()
        if self._unread and self._reading is None:
            self._reading = self.loop.call_later(READ_SECONDS, self._look_at_reader)

    def _unwatch_reader(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _look_at_reader(self) -> None:
        self._reading = None
        left = self.transport.get_write_buffer_size()
        if left and self._unread - left < READ_BYTES:
            self.give_up("its reader has stopped")
        else:
            self._watch_reader()


def connections_of(gate: Gate) -> type[Connection]:
    """The kind of connection that `gate` counts."""
    return type("CountedConnection", (Connection,), {"gate": gate})


def _turned_away() -> bytes:
    words = "Too many connections are open; close some, or come back in a few seconds."
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": _BUSY, "message": words}}
    body = json.dumps(error).encode()
    lines = [
        "HTTP/1.1 503 Service Unavailable",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "retry-after: 5",
        "connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


TOO_MANY = _turned_away()
