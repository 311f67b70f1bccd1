"""How a process on stdio ends, by a signal or since its client hung up: replies under way are kept,
then it is gone, whatever is at work."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)
CLOSING_SECONDS = 5


def leave_on_signals(close: Callable[[], Awaitable[None]]) -> None:
    """From now on a signal ends this process: after `close`, the second one at once.

    Left to itself, Python would wait for a thread that reads standard input, which may never end.
    """
    if sys.platform == "win32":
        return
    loop = asyncio.get_running_loop()
    leaving: list[asyncio.Task[None]] = []

    def take(sent: signal.Signals) -> None:
        if leaving:
            _exit(sent)
        leaving.append(loop.create_task(_leave(close, sent)))

    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, take, one)


def leave_soon(seconds: float = CLOSING_SECONDS - 1) -> None:
    """From now on this process has so many seconds to end by itself.

    A thread that waits for ever would keep it, and nobody listens any more.
    """
    last = threading.Timer(seconds, _cut)
    last.daemon = True
    last.start()


def _cut() -> None:
    log.error("not everything could be closed in order")
    sys.stderr.flush()
    os._exit(1)


async def _leave(close: Callable[[], Awaitable[None]], sent: signal.Signals) -> None:
    try:
        async with asyncio.timeout(CLOSING_SECONDS):
            await close()
    except Exception:
        log.exception("not everything could be closed in order")
    finally:
        _exit(sent)


def _exit(sent: signal.Signals) -> None:
    sys.stderr.flush()
    os._exit(128 + sent)
