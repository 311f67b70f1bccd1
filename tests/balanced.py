"""Replicas as processes over one database, behind a balancer that knows no sessions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from textgrad_mcp.schemas.settings import Settings

from .users import served


class Balancer:
    """Hands each request to the next replica that is there, over a connection of its own.

    So no request comes to the replica of the one before it. `took` are all of them in order: which
    replica got it, and what it said. As a context manager it runs in a thread of its own.
    """

    def __init__(self, replicas: list[str]) -> None:
        self._ports = [urlsplit(url).port for url in replicas]
        self._next = 0
        self.took: list[tuple[int, bytes]] = []
        self.url = ""
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(timeout=10)

    def who_got(self, words: str) -> int:
        """The replica that got the last request in which these words stand."""
        return next(one for one, body in reversed(self.took) if words.encode() in body)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**24)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._over.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = (OSError, asyncio.IncompleteReadError)
        with contextlib.closing(writer), contextlib.suppress(*gone):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            kept = [line for line in lines if not line.lower().startswith("connection:")]
            lengths = [line.partition(":")[2] for line in kept if line.lower()[:15] == LENGTH]
            body = await reader.readexactly(int(lengths[0])) if lengths else b""
            whole = "\r\n".join([first, *kept, "connection: close", "", ""]).encode("latin-1")
            await self._handed_on(whole, body, reader, writer)

    async def _handed_on(
        self,
        head: bytes,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        for _ in self._ports:
            replica, self._next = self._next, (self._next + 1) % len(self._ports)
            with contextlib.suppress(ConnectionRefusedError):
                answers, asks = await asyncio.open_connection("127.0.0.1", self._ports[replica])
                break
        else:
            writer.write(NOBODY)
            return
        with contextlib.closing(asks):
            self.took.append((replica, body))
            asks.write(head + body)
            hung_up = asyncio.create_task(reader.read(1))
            answered = asyncio.create_task(_copy(answers, writer))
            await asyncio.wait({hung_up, answered}, return_when=asyncio.FIRST_COMPLETED)
            for task in (hung_up, answered):
                task.cancel()
            await asyncio.gather(hung_up, answered, return_exceptions=True)


LENGTH = "content-length:"
NOBODY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"


async def _copy(answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand an answer on; where the replica is gone before it began, say so."""
    begun = False
    with contextlib.suppress(ConnectionError):
        while found := await answers.read(65536):
            writer.write(found)
            await writer.drain()
            begun = True
    if not begun:
        writer.write(NOBODY)


class Replicas:
    """What serves: the balancer's address, and each replica's with its process."""

    def __init__(self, balancer: Balancer, each: list[tuple[str, subprocess.Popen[str]]]) -> None:
        self.balancer, self.each = balancer, each
        self.url = balancer.url

    def end(self, replica: int, how: signal.Signals = signal.SIGKILL) -> None:
        """End one: at once, as `kill -9` does, or as it is told to."""
        os.kill(self.each[replica][1].pid, how)
        self.each[replica][1].wait(timeout=20)


@contextmanager
def balanced(
    settings: Settings, tokens: Path | None = None, *, count: int = 2, **options: Any
) -> Iterator[Replicas]:
    """So many replicas with the same settings, behind a balancer. `options` are those of HTTP."""
    with ExitStack() as stack:
        each = [stack.enter_context(served(settings, tokens, **options)) for _ in range(count)]
        balancer = stack.enter_context(Balancer([url for url, _ in each]))
        yield Replicas(balancer, each)
