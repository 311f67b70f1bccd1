"""Child processes that leave nothing behind: the whole group is killed, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

_STDERR_KEPT = 8192  # bytes, the last ones
_GRACE = 5.0  # seconds for the pipes of a killed group to close


@dataclass(frozen=True)
class Finished:
    """How a child ended: its exit code (negative: the signal), its stdout, and stderr's end."""

    code: int
    stdout: bytes
    stderr: str


class Stopped(Exception):
    """The child was killed before it ended. `stderr` is the end of what it printed there."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr)
        self.stderr = stderr


class TimedOut(Stopped):
    """It took too long."""


class TooMuchOutput(Stopped):
    """It printed too much on stdout."""


async def run(
    command: Sequence[str],
    stdin: bytes,
    *,
    cwd: str,
    env: Mapping[str, str],
    timeout: float,
    max_output: int,
) -> Finished:
    """Runs `command` in a session of its own, feeds it `stdin`, and waits for its end.

    When it ends, times out (seconds), prints more than `max_output` bytes, or the caller is
    cancelled, every process left in its group is killed.
    Raises TimedOut, TooMuchOutput, and OSError where it cannot be started.
    """
    loop = asyncio.get_running_loop()
    transport, child = await loop.subprocess_exec(
        lambda: _Child(max_output), *command, cwd=cwd, env=dict(env), start_new_session=True
    )
    try:
        feed = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
        feed.write(stdin)
        feed.write_eof()
        async with asyncio.timeout(timeout):
            await asyncio.shield(child.closed)
    except TimeoutError:
        raise TimedOut(child.error_text) from None
    finally:
        child.kill()
        await _settled(transport, child)
    if child.flooded:
        raise TooMuchOutput(child.error_text)
    return Finished(transport.get_returncode() or 0, bytes(child.out), child.error_text)


async def _settled(transport: asyncio.SubprocessTransport, child: _Child) -> None:
    """Waits until a killed child is reaped and its pipes are closed.

    A process that left the group can hold the pipes open: after a grace they are closed here.
    """
    try:
        await asyncio.wait([child.closed], timeout=_GRACE)
    finally:
        transport.close()


class _Child(asyncio.SubprocessProtocol):
    """Collects what a child prints; kills the rest of its group when it ends or floods us."""

    def __init__(self, max_output: int) -> None:
        self.out, self._err = bytearray(), bytearray()
        self.flooded = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._max_output = max_output
        self._group = 0

    @property
    def error_text(self) -> str:
        """The end of stderr."""
        return self._err.decode("utf-8", "replace")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._group = cast(asyncio.SubprocessTransport, transport).get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._err += data
            del self._err[:-_STDERR_KEPT]
        elif len(self.out) + len(data) <= self._max_output:
            self.out += data
        elif not self.flooded:
            self.flooded = True
            self.kill()

    def process_exited(self) -> None:
        self.kill()  # what it left running would keep the pipes open
        self._group = 0  # from now on the number may be somebody else's

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def kill(self) -> None:
        """Kills every process in the group; none left is fine."""
        if self._group:  # 0 would mean our own group
            with suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
