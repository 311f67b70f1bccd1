"""Programs run apart from the server, each beneath a supervisor that leaves nothing behind.

The supervisor (supervisor.py) holds one end of a socket, this process the other. Closing it ends
the program and all that it started; the system closes it should the server be killed.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))
"""The script that runs a program and ends all that it started."""
_STDERR_KEPT = 8192  # bytes, the last ones
_STDERR_MOST = 64 << 20  # reading without end would keep the loop from all else
_GRACE = 10.0  # seconds for a supervisor to end what it runs; it gives up after five


@dataclass(frozen=True)
class Limits:
    """What a run may use: `timeout` in seconds, the others in bytes.

    `memory` is what the program and all that it starts have resident, `disk` what their files in
    the working directory hold, `output` what is printed on stdout.
    """

    timeout: float
    memory: int
    disk: int
    output: int


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit code (negative: the signal), its stdout, the end of its
    stderr, and the most memory that it was seen to use, in bytes."""

    code: int
    stdout: bytes
    stderr: str
    memory: int


class Stopped(Exception):
    """The program was killed before it ended. `stderr` is the end of what it printed there."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr)
        self.stderr = stderr


class TimedOut(Stopped):
    """The program ran longer than its time limit."""


class OverLimit(Stopped):
    """The program used more than it may of `what`: memory, disk or output (`used` in bytes), or
    processes (`used` is their number)."""

    def __init__(self, what: str, used: int, stderr: str) -> None:
        super().__init__(stderr)
        self.what, self.used = what, used


async def run(
    command: Sequence[str], stdin: bytes, *, env: Mapping[str, str], limits: Limits
) -> Finished:
    """Runs `command` in a new directory, feeds it `stdin`, and waits for its end.

    When it ends, breaks a limit, or the caller is cancelled, every process that it started is
    killed and the directory removed (HOME and TMPDIR are that directory).
    Raises TimedOut, OverLimit, and OSError where it cannot be started.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    child = _Child(limits.output, ours)
    starting = asyncio.create_task(_start(child, command, env, limits, theirs))
    with ours:
        try:
            # Shielded: half-started, it could not be ended in order.
            transport = await asyncio.shield(starting)
            feed = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
            feed.write(stdin)
            feed.write_eof()
            async with asyncio.timeout(limits.timeout):
                await asyncio.shield(child.closed)
        except TimeoutError:
            raise TimedOut(child.error_text) from None
        finally:
            child.end()
            await _settled(await starting, child)
        report = _report(ours)
    if child.flooded:
        raise OverLimit("output", child.flooded, child.error_text)
    if "failed" in report:
        raise OSError(report["failed"])
    if "over" in report:
        raise OverLimit(report["over"], report["used"], child.error_text)
    return Finished(report["code"], bytes(child.out), child.error_text, report["memory"])


async def _start(
    child: _Child,
    command: Sequence[str],
    env: Mapping[str, str],
    limits: Limits,
    theirs: socket.socket,
) -> asyncio.SubprocessTransport:
    job = (theirs.fileno(), limits.memory, limits.disk, tempfile.gettempdir(), *command)
    with theirs:
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: child,
            *(sys.executable, "-I", "-S", SUPERVISOR, *map(str, job)),
            env=dict(env),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    return transport


async def _settled(transport: asyncio.SubprocessTransport, child: _Child) -> None:
    """Waits until the supervisor has ended everything, and itself.

    A process that it could not end can hold the pipes open: after a grace they are closed here.
    """
    try:
        await asyncio.wait([child.closed], timeout=_GRACE)
    finally:
        transport.close()


def _report(ours: socket.socket) -> dict[str, Any]:
    """What the supervisor said at its end; when it said nothing, it was killed."""
    try:
        said = ours.recv(1 << 16)
    except OSError:
        said = b""
    return dict(json.loads(said)) if said else {"code": -signal.SIGKILL, "memory": 0}


class _Child(asyncio.SubprocessProtocol):
    """Collects what a program prints; ends it when it prints more than `flooded` then says."""

    def __init__(self, max_output: int, life: socket.socket) -> None:
        self.out, self._err = bytearray(), bytearray()
        self.flooded = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._most, self._errors = max_output, 0
        self._life = life

    @property
    def error_text(self) -> str:
        """The end of stderr."""
        return self._err.decode("utf-8", "replace")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        most, before = (_STDERR_MOST, self._errors) if fd == 2 else (self._most, len(self.out))
        if before + len(data) > most:
            self.flooded = most
            self.end()
        elif fd == 2:
            self._errors += len(data)
            self._err += data
            del self._err[:-_STDERR_KEPT]
        else:
            self.out += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def end(self) -> None:
        """Has the supervisor end the program, all that it started, and itself."""
        with suppress(OSError):  # it may have ended
            self._life.shutdown(socket.SHUT_WR)
